"""Scenarios that cannot be acted out: each problem is found and says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mimir.exfiltration.validate import problems
from mimir.spec.exfiltration import ExfiltrationSpec, PathClass
from tests.exfiltration.exfiltration_samples import CONF, EDGES, SERVICES, scenario, tunnel


def texts(spec: ExfiltrationSpec, duration_s: float | None = 7200) -> list[str]:
    return [str(problem) for problem in problems(spec, SERVICES, EDGES, duration_s)]


@pytest.mark.parametrize("option", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_option_is_fine_and_named_as_its_file(option: str) -> None:
    assert texts(scenario(option)) == []
    assert scenario(option).name == option


@pytest.mark.parametrize("option", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_option_can_be_acted_out_in_sock_shop_and_is_documented(option: str) -> None:
    app = yaml.safe_load((CONF.parent / "app" / "sockshop.yaml").read_text(encoding="utf-8"))
    edges = [(edge["client"], edge["server"]) for edge in app["edges"]]
    spec = scenario(option)
    assert problems(spec, app["services"], edges, 7200) == []
    page = (CONF.parents[1] / "docs" / "concepts" / "exfiltration.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{option}` |")]
    assert spec.technique in row
    assert f" {spec.rate_bytes_per_min:,.0f} |" in row
    assert option == "none" or f"`{spec.channel}`" in row


@pytest.mark.parametrize(
    ("option", "changes", "words"),
    [
        ("relay_chain", {"path": ["user-dbs", "outside"]}, ["names 'user-dbs'", "did you mean user-db?"]),
        ("relay_chain", {"path": ["user-db", "zzz", "outside"]}, ["names 'zzz'", "relay_chain.yaml"]),
        ("relay_chain", {"path": ["user-db", "user"]}, ["not a way out", "path=[user-db,user,front-end,outside]"]),
        ("relay_chain", {"path": []}, ["not a way out (got [])"]),
        ("relay_chain", {"path": ["user-db", "user", "user-db", "outside"]}, ["not a way out"]),
        ("relay_chain", {"path": ["user-db", "catalogue", "front-end", "outside"]},
         ["does not allow: user-db → catalogue", "choose one: exfiltration.path=[user-db,user,front-end,outside]"]),
        ("relay_chain", {"path": ["user-db", "kube-dns", "outside"]}, ["does not fit channel http_relay"]),
        ("relay_chain", {"path_class": PathClass.new_edge}, ["every hop is allowed", "allowed: allowed_chain"]),
        ("relay_chain", {"path_class": PathClass.none}, ["path_class is none, but channel is http_relay"]),
        ("direct", {"path_class": PathClass.dns}, ["does not fit channel raw_tcp and path_class dns"]),
        ("direct", {"port": None}, ["exfiltration.port must be set for user-db → outside"]),
        ("direct", {"port": 70_000}, ["exfiltration.port", "got 70000"]),
        ("dns_tunnel", {"path": ["user-db", "outside"]}, ["does not fit channel dns_tunnel"]),
        ("dns_tunnel", {"dns": None}, ["exfiltration.dns must say"]),
        ("direct", {"dns": tunnel().dns}, ["exfiltration.dns has no meaning for channel raw_tcp"]),
        ("direct", {"technique": "1048"}, ["exfiltration.technique is not a technique (got '1048')"]),
        ("direct", {"rate_bytes_per_min": 0.0}, ["exfiltration.rate_bytes_per_min must be > 0 (got 0)", "direct.yaml"]),
        ("direct", {"incidents": 20}, ["exfiltration.incidents do not fit", "at most 7 incidents"]),
        ("none", {"path_class": PathClass.dns}, ["channel none leaks nothing"]),
    ],
)  # fmt: skip
def test_one_problem_each(option: str, changes: dict[str, Any], words: list[str]) -> None:
    (text,) = texts(scenario(option, **changes))
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label_bytes": 64}, "exfiltration.dns.label_bytes is out of range (got 64) (allowed: 4 … 63)"),
        ({"label_bytes": 0}, "exfiltration.dns.label_bytes is out of range (got 0)"),
        ({"name_bytes": 254}, "exfiltration.dns.name_bytes is out of range (got 254)"),
        ({"name_bytes": 30}, "exfiltration.dns.name_bytes leaves no room"),
        ({"domain": "Not a domain"}, "exfiltration.dns.domain is not a domain"),
        ({"domain": "x" * 64 + ".example"}, "exfiltration.dns.domain is not a domain"),
    ],
)
def test_limits_of_names(changes: dict[str, Any], words: str) -> None:
    (text,) = texts(tunnel(**changes))
    assert words in text


def test_all_problems_come_at_once() -> None:
    broken = scenario("relay_chain", path=["user-dbs", "usr", "outside"], technique="x", rate_bytes_per_min=-1.0)
    assert len(texts(broken)) == 4


def test_without_a_duration_the_fit_is_not_judged() -> None:
    assert texts(scenario("direct", incidents=20), None) == []
