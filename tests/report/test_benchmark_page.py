"""The benchmark page says what the table holds, and only that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimir.files import write_json
from mimir.report.benchmark import write_page
from mimir.report.benchmark.goals import goals
from mimir.report.benchmark.ranks import mean_ranks, paired, wilcoxon
from mimir.report.benchmark.summary import Share, benign_part, false_alerts, least_rates, over_seeds
from mimir.report.benchmark.supervised import supervised

RATES = (1e6, 1e5, 1e4)
#: detector → smallest rate it finds
FINDS = {"invariants": 1e4, "pca_spe": 1e6, "random": np.inf}


def rows(**changes: Any) -> list[dict[str, Any]]:
    head: dict[str, Any] = {
        "experiment": "benchmark_rates", "app": "sockshop", "exfiltration": "relay_chain", "pacing": "jitter", "sigmas": 0.0,
        "seed": 1, "users": 50.0, "test_users": 50.0, "mix_distance": 0.0, "triggers": "", "detector": "invariants",
        "window_s": 60, "budget": 1.0, "rate_bytes_per_min": np.nan, "path_class": "", "incident": "",
    }  # fmt: skip
    return [head | changes]


@pytest.fixture
def table() -> pd.DataFrame:
    out: list[dict[str, Any]] = []
    for detector, least in FINDS.items():
        for seed in (1, 2, 3):
            one = {"detector": detector, "seed": seed}
            for budget in (1.0, 10.0):
                out += rows(**one, budget=budget, measure="false_alerts", value=0.0 if budget == 1 else 3.0)
                out += rows(**one, budget=budget, measure="benign_days", value=0.5)
            for rate in RATES:
                leak = one | {"rate_bytes_per_min": rate, "path_class": "allowed_chain"}
                found = float(rate >= least)
                out += rows(**leak, incident=f"i{rate}", measure="detected", value=found)
                out += rows(**leak, budget=np.nan, measure="prevalence", value=0.1)
                out += rows(**leak, measure="f1", value=0.9 * found + 0.01 * seed)
                if detector != "random":
                    out += rows(**leak, budget=np.nan, measure="average_precision", value=0.2 + 0.7 * found)
                if found:
                    out += rows(**leak, incident=f"i{rate}", measure="delay_s", value=120.0)
                    out += rows(**leak, incident=f"i{rate}", measure="path_named", value=1.0)
                    out += rows(**leak, incident=f"i{rate}", measure="path_top1", value=1.0)
    return pd.DataFrame(out)


def test_least_rate_needs_every_higher_rate_too(table: pd.DataFrame) -> None:
    least = least_rates(table, 60).loc[("sockshop", "allowed_chain")]
    assert least.to_dict() == FINDS
    hole = (table["measure"] == "detected") & (table["detector"] == "invariants") & (table["rate_bytes_per_min"] == 1e5)
    table.loc[hole, "value"] = 0.0
    assert least_rates(table, 60).loc[("sockshop", "allowed_chain"), "invariants"] == 1e6


def test_share_has_the_exact_interval() -> None:
    assert Share(0, 10).interval() == pytest.approx((0.0, 0.3085), abs=1e-4)  # 1 − 0.025^(1/10)
    assert Share(3, 4).value == 0.75


def test_false_alerts_add_up_over_seeds(table: pd.DataFrame) -> None:
    found = false_alerts(table, ("detector",), 60, 10.0).loc["invariants"]
    assert found[["alerts", "days", "per_day"]].tolist() == [9.0, 1.5, 6.0]
    assert found["low"] < 6 < found["high"]
    none = false_alerts(table, ("detector",), 60, 1.0).loc["invariants"]
    assert none["low"] == 0
    assert none["high"] == pytest.approx(3.689 / 1.5, abs=1e-3)  # Garwood: −ln 0.025 for no event


def test_interval_over_seeds_is_that_of_t() -> None:
    frame = pd.DataFrame({"detector": "a", "seed": [1, 2, 3], "value": [1.0, 2.0, 3.0]})
    row = over_seeds(frame, ["detector"]).iloc[0]
    assert row["mean"] == 2
    assert row["high"] - row["mean"] == pytest.approx(4.3027 / np.sqrt(3), abs=1e-3)
    assert over_seeds(frame[frame["seed"] < 3], ["detector"]).iloc[0][["low", "high"]].isna().all()


def test_constant_scores_rank_as_chance(table: pd.DataFrame) -> None:
    scores = paired(table, 60)
    assert (scores["random"] == 0.1).all()
    ranks = mean_ranks(table, 60)
    assert ranks is not None
    assert ranks.blocks == 9
    assert list(ranks.mean.index) == ["invariants", "pca_spe", "random"]
    assert ranks.mean["random"] == 3
    # Demšar 2006: q(0.05, 3 classifiers) = 2.343, CD = q √(k (k + 1) / 6 N)
    assert ranks.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 9)), abs=2e-3)


def test_pairs_are_counted(table: pd.DataFrame) -> None:
    found = wilcoxon(table, 60, "invariants")
    assert found.loc["pca_spe", ["won", "lost", "tied"]].tolist() == [6, 0, 3]
    assert found.loc["random", "won"] == 9
    assert (found["p_holm"] >= found["p"]).all()


def test_goals_are_judged_from_the_table(table: pd.DataFrame) -> None:
    (text,) = goals(table)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    recall = next(line for wanted, line in rows.items() if "event recall" in wanted)
    assert "sockshop 3/3" in recall
    assert recall.endswith("| met |")
    assert next(line for wanted, line in rows.items() if "mixes" in wanted).endswith("| not measured |")
    lost = (table["measure"] == "detected") & (table["detector"] == "invariants") & (table["seed"] == 2)
    table.loc[lost, "value"] = 0.0
    (text,) = goals(table)
    assert "| sockshop 2/3 | **missed** |" in text
    assert list(goals(table[table["detector"] != "invariants"])) == []


def test_supervised_detectors_stand_apart(table: pd.DataFrame, tmp_path: Path) -> None:
    shown = {
        "pca_spe": [
            {"app": "sockshop", "path": ["orders-db", "outside"], "rates_bytes_per_min": [3e5], "channel": "raw_tcp"}
        ]
    }
    text = "\n".join(supervised(table, tmp_path, shown))
    assert "| pca_spe | sockshop | orders-db → outside | 300 kB/min | raw_tcp |" in text
    assert "invariants" not in text
    assert (tmp_path / "recall_supervised.png").exists()
    assert list(supervised(table, tmp_path, {})) == []


def written(table: pd.DataFrame, folder: Path, **facts: Any) -> str:
    """The page of a table."""
    table.to_parquet(folder / "results.parquet")
    where = {"git": {"commit": "c0ffee0000aa", "dirty": False}, "python": "3.11", "platform": "Linux", "cpus": 2}
    seconds = {"whole": 10.0, "recording": 5.0, "arithmetic": 4.0}
    told = {"command": "make benchmark", "seconds": seconds, "failures": [], "environment": where} | facts
    write_json(folder / "facts.json", told)
    return write_page(folder).read_text(encoding="utf-8")


def test_a_table_of_supervised_detectors_alone_has_a_page(table: pd.DataFrame, tmp_path: Path) -> None:
    lesson = {"app": "sockshop", "path": ["db", "outside"], "rates_bytes_per_min": [3e5], "channel": "raw_tcp"}
    page = written(table[table["detector"] == "pca_spe"], tmp_path, supervised={"pca_spe": [lesson]})
    assert "## Supervised" in page
    assert "## Goals" not in page


def factor_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Two seeds of mixes, windows, adaptive attackers and triggers beside three of rates."""
    two = table[table["seed"] < 3]
    at = two[(two["rate_bytes_per_min"] == 1e5) | two["rate_bytes_per_min"].isna()]
    parts = [table, *(at.assign(experiment="benchmark_mix", mix_distance=d) for d in (0.0, 0.7))]
    far = (parts[2]["measure"].isin(["f1", "detected"])) & (parts[2]["detector"] == "invariants")
    parts[2].loc[far, "value"] = 0.505 * (parts[2].loc[far, "measure"] == "f1")
    parts += [at.assign(experiment="benchmark_windows", window_s=w) for w in (10, 60, 300)]
    parts += [at.assign(experiment="benchmark_adaptive", pacing="adaptive", sigmas=s) for s in (0.5, 2.0)]
    benign = at[at["measure"].isin(["false_alerts", "benign_days"])].assign(
        experiment="benchmark_triggers", triggers="scale_out"
    )
    during = benign.assign(
        measure="trigger_" + benign["measure"].str.removeprefix("benign_"), path_class="benign:scale_out"
    )
    during.loc[during["detector"] == "invariants", "value"] += 7.0 * (during["measure"] == "trigger_false_alerts")
    return pd.concat([*parts, benign, during], ignore_index=True)


@pytest.mark.slow
def test_every_experiment_has_its_part_whatever_its_seeds(table: pd.DataFrame, tmp_path: Path) -> None:
    page = written(factor_rows(table), tmp_path)
    for row in (
        "| rates | sockshop | 1 to 3 |",
        "| mix | sockshop | 1, 2 |",
        "| windows | sockshop | 1, 2 | 2 | 2 | 10, 60, 300 |",
    ):
        assert row in page
    for name in ("mix", "windows", "adaptive"):
        assert f"({name}.png)" in page
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert "0.5 σ 100 kB/min, 2 σ 100 kB/min" in page
    assert "largest fall: sockshop +0.41 (at 0.7)" in page  # from the mean of 0.91 and 0.92 to 0.505
    assert "scale_out 0.0097" in page  # 14 windows of 60 s a day
    lost = page.partition("## Where invariants loses")[2]
    assert "| sockshop, allowed chain, 100 kB/min, mix 0.7 away | 0/2 |" in lost
    assert "| during scale out | 14 | pca_spe 0 |" in lost
    assert "| scale out | 14 [" in lost


def test_recordings_of_one_seed_count_once_where_nothing_leaks(table: pd.DataFrame) -> None:
    quiet = table[table["measure"].isin(["false_alerts", "benign_days"])].assign(experiment="benchmark_benign")
    other = table.assign(app="wordpress")
    kept = benign_part(pd.concat([table, quiet, other, table.assign(test_users=80.0)], ignore_index=True))
    assert set(kept.loc[(kept["app"] == "sockshop") & (kept["load_ratio"] == 1), "experiment"]) == {"benchmark_benign"}
    assert (kept["load_ratio"] == 1.6).sum() == len(table)
    assert (kept["app"] == "wordpress").sum() == len(other)


def test_page_names_command_and_losses(table: pd.DataFrame, tmp_path: Path) -> None:
    beaten = (
        (table["measure"] == "detected") & (table["detector"] == "invariants") & (table["rate_bytes_per_min"] == 1e6)
    )
    table.loc[beaten, "value"] = 0.0
    page = written(table, tmp_path)
    assert "make benchmark" in page
    assert "c0ffee0000" in page
    assert "| random | none |" in page
    assert "| sockshop, allowed chain, 1 MB/min | 0/3 | pca_spe 3/3 |" in page
    assert "| sockshop, allowed chain, 1 MB/min | 0/3 |" in page.partition("less than 95 %")[2]
    assert "| rates | sockshop | 1 to 3 | 3 | 9 | 60 |" in page
    for name in ("recall_allowed_chain.png", "ranks.png", "calibration.png"):
        assert f"({name})" in page
        assert (tmp_path / name).stat().st_size > 5000
    assert "Another load" not in page
