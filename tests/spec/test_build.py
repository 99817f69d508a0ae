from __future__ import annotations

import pytest

from mimir.errors import SpecError
from mimir.spec.build import from_plain, to_dict
from mimir.spec.compose import explain_failure
from mimir.spec.signature import signature
from tests.support.specs import plain, spec

GROUPS = {
    "exfiltration": ["none", "direct", "relay_chain", "dns_tunnel"],
    "load": ["normal", "bursty", "viral", "cybermonday", "steady"],
    "detector": ["egress_volume", "allowlist", "pca_spe", "invariants"],
    "evaluation": ["default", "quick", "long"],
    "tracking": ["mlflow", "none"],
    "app": ["sockshop", "wordpress", "hipsterstore", "robotshop", "bookinfo", "trainticket", "generic"],
    "experiment": ["false_alarms", "wordpress_study"],
}


@pytest.mark.parametrize("override", [f"{g}={o}" for g, options in GROUPS.items() for o in options])
def test_every_option_composes_and_names_itself(override: str) -> None:
    group, option = override.split("=")
    built = spec([override])
    if group != "experiment":
        assert getattr(built, group).name == option


def test_spec_survives_the_way_through_json() -> None:
    built = spec()
    assert from_plain(to_dict(built)) == built


def problems(changes: dict[str, object]) -> list[str]:
    values = plain()
    for key, value in changes.items():
        node = values
        *parents, last = key.split(".")
        for parent in parents:
            node = node[parent]
        node[last] = value
    with pytest.raises(SpecError) as caught:
        from_plain(values)
    return [str(p) for p in caught.value.problems]


def test_all_type_errors_come_together_with_place_and_value() -> None:
    found = problems({"load.users": "many", "seed": "x", "detector.name": "magic", "reuse": "allways"})
    assert len(found) == 4
    assert any("load.users" in p and "'many'" in p and "conf/load/normal.yaml" in p for p in found)
    assert any("detector" in p and "invariants" in p for p in found)
    assert any("reuse" in p and "did you mean always" not in p and "auto" in p for p in found)


def test_broken_rules_are_told_beside_wrong_types() -> None:
    found = problems({
        "load.users": "many", "seed": -1, "capture.windows_s": ["x"], "capture.snaplen_bytes": 1, "evaluation.fit_s": "long",
        "evaluation.alerts_per_day": 0, "evaluation.test_s": 3,
    })  # fmt: skip
    told = {problem.split()[0] for problem in found}
    assert told == {
        "load.users", "capture.windows_s.0", "evaluation.fit_s",  # wrong types
        "seed", "evaluation.alerts_per_day",  # rules; those that need a wrong value stop there
    }  # fmt: skip
    assert "capture.snaplen_bytes" in {
        p.split()[0] for p in problems({"load.users": "many", "capture.snaplen_bytes": 1})
    }


def test_a_wrong_type_of_a_recorded_cluster_hides_no_rule() -> None:
    values = plain(["cluster=recorded", "app=generic", "exfiltration=none"])
    values["cluster"]["split"], values["seed"] = [0.9, 0.9, 0.9], "x"
    with pytest.raises(SpecError) as caught:
        from_plain(values, check=False)
    assert [p.where for p in caught.value.problems] == ["seed", "cluster", "cluster.split"]


def test_unknown_key_of_a_tagged_group_names_the_closest() -> None:
    (found,) = problems({"detector.famlies": ["I1"]})
    assert found.startswith("detector.famlies ")
    assert "did you mean detector.families?" in found


def test_cross_field_rules_come_together() -> None:
    found = problems({"seed": -1, "workers": 0, "capture.windows_s": [60, 60], "evaluation.fit_s": 10})
    assert [p.split()[0] for p in found] == [
        "seed",
        "workers",
        "capture.windows_s",
        "detector.windows_s",
        "evaluation.fit_s",
    ]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"cluster": {"name": "recorded"}}, "cluster.capture"),
        ({"detector.windows_s": [7]}, "detector.windows_s"),
        ({"capture.snaplen_bytes": 1}, "capture.snaplen_bytes"),
        ({"evaluation.alerts_per_day": 0}, "evaluation.alerts_per_day"),
        ({"evaluation.confidence": 1.5}, "evaluation.confidence"),
    ],
)
def test_rules_name_the_key_at_fault(changes: dict[str, object], where: str) -> None:
    assert any(p.startswith(where) for p in problems(changes))


def test_recorded_needs_one_capture_or_three() -> None:
    base = ["app=generic", "cluster=recorded", "exfiltration=none"]
    assert spec([*base, "cluster.capture=a.pcap"]).cluster.capture == "a.pcap"
    assert spec([*base, "cluster.fit=a", "cluster.calibrate=b", "cluster.test=c"]).cluster.test == "c"
    for wrong in (
        [],
        ["cluster.fit=a"],
        ["cluster.capture=a", "cluster.fit=a", "cluster.calibrate=b", "cluster.test=c"],
    ):
        with pytest.raises(SpecError, match="one capture"):
            spec([*base, *wrong])


def test_signature_says_what_not_how() -> None:
    base = signature(plain())
    same = ["workers=1", "reuse=never", "tracking=none", "paths.runs=elsewhere", "verbosity=quiet", "dry_run=true"]
    assert {signature(plain([o])) for o in same} == {base}
    other = ["seed=2", "load.users=99", "exfiltration=direct", "detector=allowlist", "evaluation.alerts_per_day=2"]
    assert len({base, *(signature(plain([o])) for o in other)}) == len(other) + 1


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("In 'config': Could not find 'detector/invarints'\n", "did you mean detector=invariants?"),
        ("Could not override 'load.usrs'.\nKey 'usrs' is not in struct", "did you mean load.users?"),
        ("Could not override 'sed'.\nKey 'sed' is not in struct", "did you mean seed?"),
    ],
)
def test_composing_failures_suggest_the_closest_name(message: str, hint: str) -> None:
    assert hint in explain_failure(message)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"load.users": "many"}, "load.users is not a whole number (got 'many') (allowed: a whole number such as 60)"),
        ({"load.users": 1.5}, "load.users is not a whole number (got 1.5)"),
        ({"evaluation.alerts_per_day": None}, "evaluation.alerts_per_day is not a number (got null)"),
        ({"capture.keep": "maybe"}, "capture.keep is neither true nor false (got 'maybe') (allowed: true, false)"),
        ({"detector.windows_s": 60}, "detector.windows_s is not a list (got 60) (allowed: a list such as [60,10])"),
        ({"evaluation.block_s": 0}, "evaluation.block_s is out of range (got 0) (allowed: ≥ 1)"),
        ({"load.mix": 5}, "load.mix is not a text (got 5)"),
        ({"load.users": True}, "load.users is not a number (got true)"),
        ({"load.mix": {"buy": "x"}}, "load.mix.buy is not a number (got 'x')"),
        ({"exfiltration.paths": "user-db"}, "(allowed: {store: …, max_hops: …, direction: …, count: …})"),
        ({"exfiltration.paths": {"stor": "a", "max_hop": 3, "direction": "mixed", "count": 1}},
         "exfiltration.paths.store, max_hops are missing, and there is no key stor, max_hop"),
        ({"exfiltration.paths": {"store": "a"}}, "exfiltration.paths.max_hops, direction, count are missing"),
        ({"detector.name": "invariantz"}, "did you mean detector=invariants?"),
        ({"detector.name": "nothing"}, "detector.name is not an option of conf/detector/ (got 'nothing')"),
        ({"detector": {"name": "KN", "params": {}, "windows_s": [60]}}, "did you mean detector.name=KNN?"),
        ({"cluster.name": "x"}, "(allowed: netns, recorded, simulated); choose one: cluster=NAME"),
    ],
)  # fmt: skip
def test_one_line_each_in_our_words(changes: dict[str, object], words: str) -> None:
    (found,) = problems(changes)
    assert words in found
    assert "nput should be" not in found
