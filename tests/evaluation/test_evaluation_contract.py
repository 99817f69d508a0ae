"""Detectors, calibration, alerts and the ledger's own writer hand the evaluation what it expects."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimir.detectors.alerts import build_alerts
from mimir.detectors.calibration import Calibration
from mimir.detectors.registry import build
from mimir.evaluation import evaluate, headline
from mimir.exfiltration.ledger import LedgerEntry, write_ledger
from mimir.files import read_jsonl, to_json
from mimir.tracking.content import eval_metrics
from tests.evaluation.evaluation_samples import make_spec
from tests.support.toyshop import CHAIN, Leak, Toy, shop

LEAK = Leak(60, 70, 20_000_000.0)  # three times the usual egress: even the floor sees it
DAY_S = 86_400


def ledger(folder: Path, start: int, per_window: float = LEAK.bytes_per_window) -> list[dict[str, Any]]:
    """What the injector would have written for LEAK, read back from its file."""
    begin = float(start + 60 * LEAK.start)
    points = tuple((begin + 6.0 * n, round(per_window * n / 10)) for n in range(1, 10 * (LEAK.stop - LEAK.start) + 1))
    entry = LedgerEntry(
        incident="toy-1", recording="test", start=begin, end=points[-1][0], channel="http_relay", technique="T1041",
        path_class="allowed_chain", path=CHAIN, pods=("user-db-0", "user-0", "front-end-0", ""),
        bytes_intended=points[-1][1], bytes_delivered=points[-1][1], sha256_sent="0" * 64, sha256_received="0" * 64,
        delivered=points,
    )  # fmt: skip
    write_ledger(folder / "truth.jsonl", [entry])
    return read_jsonl(folder / "truth.jsonl")


def run(detector_name: str, folder: Path, *leaks: Leak) -> dict[str, Any]:
    """Fit, calibrate, score and judge as the pipeline does, on the toy shop."""
    first = Toy(windows=240)
    fit, calibrate = shop(first), shop(Toy(windows=240, seed=2, start=first.start + DAY_S))
    test = shop(Toy(windows=180, seed=3, start=first.start + 2 * DAY_S), *leaks)
    detector = build(detector_name, {}).fit(fit)
    tables = []
    benign, scores = detector.score(calibrate), detector.score(test)
    calibration = Calibration(benign.score, 60)
    threshold = calibration.threshold(1.0)
    for name, scored in (("calibrate", benign), ("test", scores)):
        columns = {"window_s": 60, "window_start": scored.window_start, "recording": name, "score": scored.score}
        table = pd.DataFrame(columns)
        tables.append(
            table.assign(
                p_value=calibration.p_values(scored.score),
                threshold=threshold.value,
                alert=scored.score > threshold.value,
            )
        )
    alerts = build_alerts(detector, test, scores, calibration, threshold, 1.0)
    alerts = [dict(a) for a in read_back(folder, alerts)]
    truth = ledger(folder, int(test.window_start[0])) if leaks else []
    return evaluate(pd.concat(tables), alerts, truth, make_spec(), 60, 1, {60: asdict(threshold)}, len(test.edges))


def read_back(folder: Path, alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    (folder / "alerts.jsonl").write_text("".join(to_json(a) + "\n" for a in alerts), encoding="utf-8")
    return read_jsonl(folder / "alerts.jsonl")


@pytest.mark.parametrize("name", ["egress_volume", "allowlist", "pca_spe", "invariants"])
def test_a_huge_leak_is_judged_end_to_end(name: str, tmp_path: Path) -> None:
    got = run(name, tmp_path, LEAK)
    to_json(got)
    part = got["windows"]["60"]
    assert part["test"]["positive_windows"] == 10
    assert part["threshold"]["method"] in ("conformal", "tail")
    assert part["threshold"]["calibration_windows"] == 240
    assert isinstance(part["threshold"]["extrapolated"], bool)
    assert part["threshold"]["note"]
    assert part["threshold"]["level"] == pytest.approx(1 / 1440)
    incident = got["incidents"][0]
    assert incident["detected"] is (name != "allowlist"), "a leak along allowed edges is invisible to a closed set"
    if incident["detected"]:
        assert incident["delay_s"] <= 180
        assert part["overall"]["average_precision"]["value"] > (0.75 if name == "invariants" else 0.8)


@pytest.mark.parametrize("name", ["egress_volume", "pca_spe", "invariants"])
def test_leak_off_leaves_false_alerts_only(name: str, tmp_path: Path) -> None:
    got = run(name, tmp_path)
    overall = got["windows"]["60"]["overall"]
    assert overall["event_recall"]["reason"]
    assert overall["auroc"]["value"] is None
    assert np.isfinite(overall["false_alerts_per_day"]["value"])


def test_the_tracker_logs_the_same_numbers(tmp_path: Path) -> None:
    metrics = run("egress_volume", tmp_path, LEAK)
    assert eval_metrics(metrics) == headline(metrics)
