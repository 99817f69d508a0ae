from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mimir.errors import MimirError
from mimir.files import read_json, write_json, write_jsonl
from mimir.report.load import load_run
from mimir.report.words import incident_of, shown, verdict
from tests.support.run_directory import Sample, build_run_directory


def _verdict(folder: Path, **sample: Any) -> tuple[str, str]:
    found = verdict(load_run(build_run_directory(folder, Sample(**sample))))
    return found.tone, found.sentence


@pytest.mark.parametrize(
    ("sample", "tone", "sentence"),
    [
        (
            {},
            "good",
            "3 of 3 incidents were detected, first alert after 1 min 53 s (median), 188 kB lost before it; "
            "0 false alerts in 2 h 57 min of benign traffic (budget 1 a day).",
        ),
        (
            {"incidents": 1, "detected": 1},
            "good",
            "The one incident was detected, first alert after 1 min 53 s, 188 kB lost before it; "
            "0 false alerts in 3 h 39 min of benign traffic (budget 1 a day).",
        ),
        (
            {"detected": 1, "false_alerts": 1},
            "warn",
            "1 of 3 incidents was detected, first alert after 1 min 53 s, 188 kB lost before it; "
            "1 false alert in 2 h 57 min of benign traffic (budget 1 a day).",
        ),
        (
            {"detected": 0},
            "bad",
            "None of 3 incidents was detected, 6 MB left unseen; "
            "0 false alerts in 2 h 57 min of benign traffic (budget 1 a day).",
        ),
        ({"incidents": 0}, "quiet", "No leak was staged; 0 false alerts in 4 h (budget 1 a day)."),
    ],
)  # fmt: skip
def test_verdict_in_one_sentence(tmp_path: Path, sample: dict[str, Any], tone: str, sentence: str) -> None:
    assert _verdict(tmp_path, **sample) == (tone, sentence)


def test_false_alerts_beyond_chance_change_the_tone(tmp_path: Path) -> None:
    assert _verdict(tmp_path / "one", incidents=0, false_alerts=1)[0] == "quiet"  # 15 % likely within budget
    assert _verdict(tmp_path / "two", incidents=0, false_alerts=2)[0] == "warn"  # 1.3 %
    assert _verdict(tmp_path / "leak", false_alerts=3)[0] == "warn"


def test_verdict_without_a_ledger_claims_nothing(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(incidents=0, false_alerts=2))
    metrics = read_json(run / "metrics.json")
    for block in metrics["windows"].values():
        block["test"] |= {"prevalence": None, "positive_windows": None}
    write_json(run / "metrics.json", metrics)
    (run / "truth.jsonl").unlink()
    found = verdict(load_run(run))
    assert found.badge == "No ledger"
    assert found.sentence.endswith("(there is no ledger): 2 alerts in 4 h (budget 1 a day).")


def test_verdict_with_null_measures_says_why(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample())
    metrics = read_json(run / "metrics.json")
    metrics["windows"]["60"]["overall"]["delay_median_s"] = {
        "value": None,
        "low": None,
        "high": None,
        "reason": "clock lost",
    }
    write_json(run / "metrics.json", metrics)
    assert "delay not known (clock lost), 188 kB lost" in verdict(load_run(run)).sentence


def test_an_incident_that_delivered_nothing_is_not_a_miss(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(detected=0, incidents=1))
    metrics = read_json(run / "metrics.json")
    for row in metrics["incidents"]:
        row |= {"detected": None, "reason": "no byte was delivered", "bytes_delivered": 0}
    write_json(run / "metrics.json", metrics)
    assert verdict(load_run(run)).sentence.startswith("No staged leak delivered a byte; 0 false alerts")


def test_shown_measure_has_value_and_interval_or_reason() -> None:
    known = shown("delay_median_s", {"value": 90, "low": 60, "high": 120, "reason": None})
    assert (known.value, known.interval, known.known) == ("1 min 30 s", "1 min to 2 min", True)
    null = shown("f1", {"value": None, "low": None, "high": None, "reason": "one class"})
    assert (null.value, null.interval, null.reason, null.known) == ("–", "", "one class", False)
    assert shown("f1", None).reason == "not computed in this run"


def test_alert_belongs_to_an_incident_until_one_window_after_it() -> None:
    incidents = [{"start": 100.0, "end": 200.0}]
    starts = {ts: incident_of({"ts": ts, "window_s": 60}, incidents) is not None for ts in (30, 41, 199, 259, 260)}
    assert starts == {30: False, 41: True, 199: True, 259: True, 260: False}


def test_unfinished_run_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(state="failed"))
    with pytest.raises(MimirError, match=r"holds no finished run.*status\.json"):
        load_run(run)


def test_alerts_of_other_window_lengths_do_not_count(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(incidents=0, false_alerts=1))
    files = load_run(run)
    write_jsonl(run / "alerts.jsonl", [alert for alert in files.alerts if alert["window_s"] == 10])
    assert verdict(load_run(run)).sentence == "No leak was staged; 0 false alerts in 4 h (budget 1 a day)."
