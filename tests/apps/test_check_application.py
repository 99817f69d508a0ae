"""The validator accepts the shipped applications and finds every kind of mistake, with the key that makes it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from mimir.apps import check_application
from mimir.spec.app import AppSpec
from tests.cluster.simulated_samples import CONF, option, toy_app


def build(plain: dict[str, Any]) -> AppSpec:
    return TypeAdapter(AppSpec).validate_python(plain)


SHIPPED = sorted(path.stem for path in (CONF / "app").glob("*.yaml") if option("app", path.stem)["services"])


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_applications_are_consistent(name: str) -> None:
    app = build(option("app", name))
    assert app.name == name
    assert check_application(app) == []


def test_the_page_on_applications_is_right() -> None:
    page = (CONF.parent / "docs" / "concepts" / "applications.md").read_text(encoding="utf-8")
    example = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    assert check_application(build(example)) == []
    for name in SHIPPED:
        services = option("app", name)["services"].values()
        apps, stores = (sum(s["kind"] == kind for s in services) for kind in ("app", "store"))
        hosts = [s["host"] for s in services if s["kind"] == "external"]
        pods = sum(s["replicas"] for s in services if s["kind"] != "external")
        assert f"| `{name}` | {apps} · {stores} · {hosts[0] if hosts else '–'} | {pods} |" in page


@pytest.mark.parametrize("change", [lambda p: None, lambda p: circle(p), lambda p: replicated(p), lambda p: scraped(p)])
def test_the_toy_is_consistent(change: Callable[[dict[str, Any]], None]) -> None:
    plain = toy_app()
    change(plain)
    assert check_application(build(plain)) == []


def buy(plain: dict[str, Any]) -> dict[str, Any]:
    endpoint: dict[str, Any] = plain["services"]["web"]["endpoints"]["buy"]
    return endpoint


def replace_call(plain: dict[str, Any], **changes: Any) -> None:
    buy(plain)["calls"][0][0].update(changes)


def add_edge(plain: dict[str, Any], client: str, server: str) -> None:
    edge = {"client": client, "server": server, "connection": "per_request", "keep": 0, "idle_s": 0}
    plain["edges"].append(edge)


def unreached_store(plain: dict[str, Any]) -> None:
    store = copy.deepcopy(plain["services"]["store"])
    plain["services"]["vault"] = store


def circle(plain: dict[str, Any]) -> None:
    """The store asks the web server for a page: services call each other, endpoints do not."""
    plain["services"]["store"]["kind"] = "app"
    plain["edges"].append({"client": "store", "server": "web", "connection": "per_request", "keep": 0, "idle_s": 0})
    plain["services"]["store"]["endpoints"]["read"]["calls"] = [[{"to": "web:page", "probability": 1, "count": [1, 1]}]]


def cycle(plain: dict[str, Any]) -> None:
    circle(plain)
    plain["services"]["web"]["endpoints"]["page"]["calls"] = [[{"to": "store:read", "probability": 1, "count": [1, 1]}]]


def replicated(plain: dict[str, Any], **changes: Any) -> None:
    usual = {"service": "store", "port": 4567, "endpoints": ["add"], "carries": 1, "frame": [100, 0], "reply": [50, 0],
             "every_s": 1, "beat": [60, 0]}  # fmt: skip
    plain["replication"] = [{**usual, **changes}]


def scraped(plain: dict[str, Any], **changes: Any) -> None:
    usual = {"client": "web", "server": "store", "port": 9104, "what": "metrics", "every_s": 15, "request": [200, 0],
             "response": [9000, 0]}  # fmt: skip
    plain["scrapes"] = [{**usual, **changes}]


def endless_trigger(plain: dict[str, Any]) -> None:
    trigger = {"service": "web", "to": "store:add", "probability": 1, "delay_ms": [0, 1]}
    plain["services"]["store"]["endpoints"]["add"]["triggers"] = [trigger]
    replace_call(plain, to="store:add")


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "unknown callee": (lambda p: replace_call(p, to="stor:read"), "buy.calls[0][0].to", "did you mean 'store'?"),
    "unknown endpoint": (lambda p: replace_call(p, to="store:raed"), "buy.calls[0][0].to", "did you mean 'read'?"),
    "call without an edge": (lambda p: p["edges"].pop(1), "buy.calls[0][0]", "no edge allows"),
    "unused edge": (lambda p: add_edge(p, "web", "web2"), "app.edges[3].server", "did you mean 'web'?"),
    "edge no call uses": (lambda p: buy(p)["calls"].pop(1), "app.edges[2]", "no call"),
    "store nothing reaches": (unreached_store, "app.services.vault", "not reached"),
    "cycle": (cycle, "app.services", "form a cycle"),
    "caller outside": (lambda p: p["edges"][0].update(connection="caller"), "app.edges[0].connection", "the users"),
    "replicated service": (lambda p: replicated(p, service="stor"), "app.replication[0].service", "mean 'store'?"),
    "replicated endpoint": (lambda p: replicated(p, endpoints=["ad"]), "replication[0].endpoints", "mean 'add'?"),
    "replicated outside": (lambda p: replicated(p, service="payments", endpoints=[]), "replication[0]", "no pods"),
    "replication port": (lambda p: replicated(p, port=0), "app.replication[0].port", "1 … 65535"),
    "replication sizes": (lambda p: replicated(p, frame=[0, 0]), "app.replication[0].frame", "median > 0"),
    "replication share": (lambda p: replicated(p, carries=-1), "app.replication[0].carries", "≥ 0"),
    "scraped service": (lambda p: scraped(p, server="stor"), "app.scrapes[0].server", "did you mean 'store'?"),
    "scraped outside": (lambda p: scraped(p, server="payments"), "app.scrapes[0].server", "has no pods"),
    "scrape clock": (lambda p: scraped(p, every_s=0), "app.scrapes[0].every_s", "> 0"),
    "leak path": (lambda p: p["leak_paths"].update(direct=["stor", "outside"]), "app.leak_paths.direct", "'store'?"),
    "endless trigger": (endless_trigger, "app.services", "store:add → store:add"),
    "probability": (lambda p: replace_call(p, probability=1.5), "buy.calls[0][0].probability", "0 … 1"),
    "count": (lambda p: replace_call(p, count=[3, 1]), "buy.calls[0][0]", "0 ≤ low ≤ high"),
    "store as client": (lambda p: add_edge(p, "store", "payments"), "app.edges[3]", "no app service"),
    "pool without room": (lambda p: p["edges"][1].update(keep=0), "app.edges[1]", "keep ≥ 1"),
    "duplicate edge": (lambda p: p["edges"].append(dict(p["edges"][1])), "app.edges[3]", "repeats web → store"),
    "unknown collection": (lambda p: p["collections"].pop("things"), "list.response.times", "unknown collection"),
    "bad size": (lambda p: buy(p).update(request=[0, 0]), "buy.request", "median > 0"),
    "unknown sensitive": (lambda p: p.update(sensitive=["stores"]), "app.sensitive[0]", "did you mean 'store'?"),
    "action nothing fills": (lambda p: buy(p).update(action="GET /{item}"), "users.session.item", "is missing"),
    "filling without a place": (
        lambda p: p["users"].update(session={"item": {"per": "request", "values": []}}), "users.session.item", "nothing"
    ),
    "entry without node port": (lambda p: p["services"]["web"].update(node_port=None), "web.node_port", "is missing"),
    "node port": (lambda p: p["services"]["web"].update(node_port=80), "web.node_port", "30000 … 32767"),
    "external without address": (lambda p: p["services"]["payments"].update(address=None), "payments", "both host and"),
    "external address": (lambda p: p["services"]["payments"].update(address="x"), "payments.address", "no address"),
    "no replicas": (lambda p: p["services"]["web"].update(replicas=0), "web.replicas", "≥ 1"),
    "port": (lambda p: p["services"]["web"].update(port=0), "web.port", "1 … 65535"),
    "unknown step": (lambda p: p["users"]["behaviours"]["shop"][0].update(request="pgae"), "behaviours.shop", "'page'"),
    "mix": (lambda p: p["users"].update(mix={"shop": 0.7}), "app.users.mix", "add up to 1"),
    "unknown behaviour": (lambda p: p["users"].update(mix={"shp": 1.0}), "app.users.mix", "did you mean 'shop'?"),
    "no way in": (lambda p: p["edges"].pop(0), "app.edges", "outside → web"),
    "background edge": (lambda p: p["background"].append({"client": "store", "server": "web", "what": "x", "every_s": 1,
                                                          "request": [1, 0], "response": [1, 0]}),
                        "app.background[0]", "no edge allows"),
    "lookup": (lambda p: p["lookups"].append({"services": ["wbe"], "name": "a.example", "every_s": 0}),
               "app.lookups[0].services", "did you mean 'web'?"),
    "reserved name": (lambda p: p["services"].update(outside=p["services"]["store"]), "services.outside", "reserved"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_found(mistake: str) -> None:
    plain = toy_app()
    make, where, text = MISTAKES[mistake]
    make(plain)
    found = [str(problem) for problem in check_application(build(plain))]
    assert any(where in line and text in line for line in found), found
