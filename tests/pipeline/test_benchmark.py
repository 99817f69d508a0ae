"""The benchmark command: recordings shared, tables cached, the same bytes twice, failures told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mimir.pipeline.benchmark.__main__ import main

ROOT = Path(__file__).resolve().parents[2]

SMALL = [
    "benchmark_quick", "exfiltration=direct", "detector=allowlist,invariants", "load.users=3", "evaluation.fit_s=1800",
    "evaluation.calibrate_s=1800", "evaluation.test_s=3600", "exfiltration.incidents=1", "exfiltration.rates_bytes_per_min=[100000]",
    "exfiltration.tail_s=60",
]  # fmt: skip


@pytest.mark.slow
def test_results_are_the_same_bytes_with_any_number_of_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, workers in (("one", "1"), ("two", "2")):
        code = main(
            [*SMALL, "--runs", str(tmp_path / name), "--out", str(tmp_path / name / "out"), "--workers", workers]
        )
        assert code == 0
    one, two = (tmp_path / name / "out" / "results.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    table = pd.read_parquet(one)
    seen = table[(table["measure"] == "detected") & (table["budget"] == 1) & (table["window_s"] == 60)]
    assert seen.groupby("detector")["value"].min()["allowlist"] == 1.0  # a new edge; half an hour is too short for more
    assert set(seen["detector"]) == {"allowlist", "invariants"}
    assert set(table["seed"]) == {1, 2}
    capsys.readouterr()
    main([*SMALL, "--runs", str(tmp_path / "one"), "--out", str(tmp_path / "again")])
    assert one.read_bytes() == (tmp_path / "again" / "results.parquet").read_bytes()


def test_supervised_detectors_are_not_tested_on_what_they_were_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "benchmark_quick",
                "seed=1",
                "detector=mimir_lasso",
                "exfiltration=relay_chain",
                "exfiltration.rates_bytes_per_min=[3000000]",
            ]
        )
        == 2
    )
    assert "evaluation.train.rates_bytes_per_min" in capsys.readouterr().err


def test_unknown_experiments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark_nothing"]) == 2
    assert "benchmark_nothing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["seed=1"])
