"""The benchmark command: recordings shared, tables cached, the same bytes twice, failures told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mimir.detectors.registry import names
from mimir.pipeline.benchmark.__main__ import main
from mimir.pipeline.benchmark.worlds import worlds_of
from mimir.pipeline.scoped import overrides_of
from mimir.spec.grid import expand

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


@pytest.mark.slow
def test_the_quick_benchmark_compares_all_detectors(tmp_path: Path) -> None:
    """What `make benchmark-quick` runs, as it runs it."""
    recipe = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "benchmark benchmark_quick" in line)
    words = recipe.split("mimir.pipeline.benchmark ")[1].replace("$(ARGS)", "").split()
    assert main([*words, "--runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    table = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert set(table["detector"]) == {*names()} - {"pyod", "http_fingerprint"}
    found = table[(table["measure"] == "detected") & (table["budget"] == 1) & (table["window_s"] == 60)]
    found = found[found["rate_bytes_per_min"] == 1e6].groupby(["detector", "path_class"])["value"].mean()
    assert found["invariants", "new_edge"] == 1
    assert found["allowlist", "new_edge"] == 1
    assert found["allowlist", "allowed_chain"] == 0  # blind to it by construction
    assert found["random", "allowed_chain"] < 1
    page = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
    for part in (
        "## Goals of invariants",
        "## Supervised",
        "orders-db → orders → front-end → outside",
        "## Where invariants loses",
    ):
        assert part in page
    above, below = page.split("\n## Supervised\n")
    assert "| mimir_lasso |" not in above
    assert "| mimir_lasso |" in below


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


@pytest.mark.slow
def test_experiments_share_a_world_only_where_detectors_and_windows_agree() -> None:
    words = {
        "benchmark_rates": ["exfiltration=direct"],
        "benchmark_windows": [],
        "benchmark_load": ["load.test.users=8"],
    }
    grids = [expand(name, ["app=sockshop", "seed=1", "detector=allowlist", *more]) for name, more in words.items()]
    worlds = worlds_of([(grid.experiment, grid.jobs, grid.detectors) for grid in grids])
    assert [[job.experiment for job in world.jobs] for world in worlds] == [
        ["benchmark_rates", "benchmark_load"], ["benchmark_windows"],
    ]  # fmt: skip
    assert worlds[1].detectors["allowlist"]["windows_s"] == [60, 10, 30, 120, 300]


def test_an_override_reaches_the_experiment_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["seed=1,2", "benchmark_mix:seed=3", "benchmark_mix:load.triggers=[scale_out]"]
    assert overrides_of("benchmark_rates", words) == ["seed=1,2"]
    assert overrides_of("benchmark_mix", words) == ["seed=1,2", "seed=3", "load.triggers=[scale_out]"]
    assert main(["benchmark_benign", "benchmark_mix:seed=1"]) == 2
    assert "benchmark_mix, which is not asked for" in capsys.readouterr().err


def test_unknown_experiments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark_nothing"]) == 2
    assert "benchmark_nothing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["seed=1"])
