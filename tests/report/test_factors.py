"""What sets runs apart."""

from typing import Any

from mimir.report.factors import factors, sort_key


def spec(seed: int = 1, detector: dict[str, Any] | None = None, **exfiltration: Any) -> dict[str, Any]:
    return {
        "app": {"name": "sockshop", "description": f"words {seed}", "sensitive": ["user-db"]},
        "cluster": {"name": "simulated"},
        "exfiltration": {"name": "relay_chain", "rate_bytes_per_min": 1000, "dns": None} | exfiltration,
        "detector": detector or {"name": "allowlist", "windows_s": [60]},
        "evaluation": {"name": "quick", "expect": {"f1": f">{seed}"}},
        "seed": seed,
        "paths": {"runs": f"runs-{seed}"},
        "workers": seed,
        "experiment": None,
    }


def test_seeds_words_and_places_do_not_set_runs_apart() -> None:
    a, b = factors([spec(1), spec(2)])
    assert a == b == {"app": "sockshop", "exfiltration": "relay_chain", "detector": "allowlist"}


def test_a_value_that_differs_becomes_a_factor() -> None:
    a, b = factors([spec(), spec(rate_bytes_per_min=10)])
    assert (a["exfiltration.rate_bytes_per_min"], b["exfiltration.rate_bytes_per_min"]) == (1000, 10)
    assert list(a) == list(b)


def test_values_that_follow_from_the_option_are_not_repeated() -> None:
    other = {"name": "pca_spe", "windows_s": [10], "variance_kept": 0.95}
    a, b = factors([spec(), spec(detector=other)])
    assert (a["detector"], b["detector"]) == ("allowlist", "pca_spe")
    assert set(a) == {"app", "exfiltration", "detector"}


def test_the_same_option_with_another_value_is_told_apart_among_others() -> None:
    pca = [{"name": "pca_spe", "windows_s": [60], "variance_kept": kept} for kept in (0.9, 0.95)]
    found = factors([spec(), *(spec(detector=d) for d in pca)])
    assert [f["detector.variance_kept"] for f in found] == [None, 0.9, 0.95]
    assert "detector.windows_s" not in found[0]


def test_other_groups_appear_when_they_differ() -> None:
    two = spec()
    two["cluster"] = {"name": "netns"}
    assert [f["cluster"] for f in factors([spec(), two])] == ["simulated", "netns"]


def test_lists_nested_values_and_missing_specs() -> None:
    found = factors(
        [spec(dns={"encoding": "hex", "label_bytes": 30}), spec(dns={"encoding": "base32", "label_bytes": 30}), {}]
    )
    assert [f.get("exfiltration.dns.encoding") for f in found] == ["hex", "base32", None]
    assert "exfiltration.dns.label_bytes" not in found[0]
    assert found[2]["app"] is None
    assert factors([]) == []


def test_numbers_sort_as_numbers() -> None:
    rows = [{"r": 10}, {"r": 9}, {"r": None}, {"r": "a"}, {"r": 100.0}]
    assert [r["r"] for r in sorted(rows, key=sort_key)] == [None, 9, 10, 100.0, "a"]
