"""Metered bytes: read as they stand, runs kept apart, thresholds from benign samples of other runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimir.errors import MimirError
from mimir.flows.foreign.byte_matrix import REQUEST_BYTES, read_byte_matrix
from mimir.pipeline.benchmark.byte_matrix import benign, main, stolen
from mimir.report.benchmark.byte_matrix import best_f1

SAMPLES = 72


def table(runs: int = 3, theft: float = 90_000.0) -> pd.DataFrame:
    """Replies of `user` are six times the requests; thefts come on top in all runs but the first."""
    random, rows = np.random.default_rng(5), []
    for run in range(runs):
        for sample in range(1, SAMPLES + 1):
            at = 5.0 * sample
            requests = random.normal(17_000, 1_500)
            extra = theft * run if at in (205, 210, 305, 315, 320) else 0.0
            for client, scale in (("front-end", 1.0), ("load-test", 3.0)):
                for direction, factor in (("received", 1.0), ("sent", 6.0)):
                    server = "user" if client == "front-end" else "front-end"
                    noise = random.normal(1, 0.01)
                    amount = scale * factor * requests * noise + (
                        extra if direction == "sent" and server == "user" else 0
                    )
                    rows.append((run, theft * run, at, direction, client, server, amount))
            rows.append((run, theft * run, at, "sent", "user", "user-db", 1e9))
    names = ["increment", "exfil_bytes_per_event", "t_sec", "direction", "row_service", "col_service", "bytes"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    table().to_csv(tmp_path / "bytes.csv", index=False)
    return tmp_path / "bytes.csv"


def test_bytes_keep_their_edge_direction_and_sample(path: Path) -> None:
    matrix = read_byte_matrix(path, ("load-test",), (), ("user-db",), ("user",))
    assert [str(edge) for edge in matrix.edges] == ["front-end → user:80/tcp", "outside:load-test → front-end:80/tcp"]
    assert matrix.window_s == 5
    everything = np.ones(SAMPLES, dtype=bool)
    series = matrix.series([(1, everything)])
    original = pd.read_csv(path)
    wanted = original[(original["increment"] == 1) & (original["col_service"] == "user")]
    for counter, direction in (("request_bytes", "received"), ("response_bytes", "sent")):
        expected = wanted[wanted["direction"] == direction].sort_values("t_sec")["bytes"]
        assert series.dense(counter)[:, 0] == pytest.approx(expected.to_numpy())
    assert series.dense("exchanges") == pytest.approx(series.dense("request_bytes") / REQUEST_BYTES)
    assert len(matrix.series([(0, everything), (2, everything)])) == 2 * SAMPLES


def test_thefts_are_seen_one_sample_later_and_left_out_of_training(path: Path) -> None:
    run = read_byte_matrix(path, ("load-test",), (), ("user-db",), ("user",)).runs[1]
    assert run.end_s[stolen(run)].tolist() == [205, 210, 305, 315, 320]
    assert not (benign(run) & stolen(run)).any()
    assert run.end_s[benign(run)].min() > 30


@pytest.mark.parametrize("change", [{"bytes": -1.0}, {"t_sec": None}])
def test_tables_that_make_no_sense_are_refused(path: Path, change: dict[str, float | None]) -> None:
    frame = table().head(50)
    for name, value in change.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    frame.to_csv(path, index=False)
    with pytest.raises(MimirError, match=r"bytes must be|no column t_sec"):
        read_byte_matrix(path, (), (), (), ())


def test_large_thefts_are_found_and_the_page_says_so(path: Path, tmp_path: Path) -> None:
    assert main([str(path), "--detectors", "allowlist,invariants", "--out", str(tmp_path / "out")]) == 0
    windows = pd.read_parquet(tmp_path / "out" / "windows.parquet")
    assert windows.groupby("detector")["stolen"].sum().to_dict() == {"allowlist": 10, "invariants": 10}
    found = windows[windows["stolen"]].groupby("detector")["alert_0.01"].mean()
    assert found.to_dict() == {"allowlist": 0.0, "invariants": 1.0}
    page = (tmp_path / "out" / "real-sockshop.md").read_text(encoding="utf-8")
    assert "| invariants | 5/5 | 5/5 |" in page


def test_best_f1_alerts_ties_together() -> None:
    part = pd.DataFrame({"score": [3.0, 2.0, 2.0, 1.0], "stolen": [True, True, False, False]})
    assert best_f1(part) == pytest.approx(2 * 2 / (2 + 3))
