"""Named paths and leak sizes against the ledger."""

import pytest

from mimir.evaluation.localisation import named_paths, same_path, size_measures


def test_paths_come_first_from_the_alert_then_from_its_reasons_each_once() -> None:
    alert = {
        "path": ["a", "outside"],
        "reasons": [{"path": ["a", "outside"]}, {"path": []}, {"path": ["b", "outside"]}],
    }
    assert named_paths(alert) == (("a", "outside"), ("b", "outside"))
    assert named_paths({}) == ()


@pytest.mark.parametrize(
    ("named", "same"),
    [
        (["db", "web", "outside:evil"], True),
        (["db", "web", "outside"], True),
        (["db", "web", "outside:other"], False),
        (["web", "db", "outside:evil"], False),
        (["db", "outside:evil"], False),
        (["db", "web", "outsider"], False),
    ],
)
def test_same_path(named: list[str], same: bool) -> None:
    assert same_path(named, ["db", "web", "outside:evil"]) is same


def test_sizes() -> None:
    alerts = [
        {"bytes_estimate": 150.0, "bytes_low": 50.0, "bytes_high": 250.0},
        {"bytes_estimate": 100.0, "bytes_low": 200.0, "bytes_high": 250.0},
        {"bytes_estimate": 9e9, "bytes_low": 0.0, "bytes_high": 9e9},
        {"bytes_estimate": None, "bytes_low": None, "bytes_high": None},
    ]
    got = size_measures(alerts, [100.0, 100.0, 0.0, 100.0])
    assert got["size_error_median"]["value"] == pytest.approx(0.25)
    assert got["size_coverage"]["value"] == pytest.approx(0.5)


def test_sizes_without_estimates_have_a_reason() -> None:
    assert size_measures([{}], [100.0])["size_coverage"]["reason"] == "the detector does not size the leak"
    assert size_measures([], [])["size_error_median"]["reason"] == "no alert in a leaking window"
