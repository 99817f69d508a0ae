from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from mimir.errors import MimirError
from mimir.evaluation.headline import headline
from mimir.files import read_json, write_json
from mimir.tracking.content import CURVE_POINTS, MAX_VALUE, content_digest, eval_metrics, flat_params, read_run
from tests.support.run_directory import Sample, build_run_directory

NAME = re.compile(r"[A-Za-z0-9_\-. :/]+")


def test_training_leaks_are_params_of_supervised_runs_only() -> None:
    spec = {"evaluation": {"test_s": 60, "train_s": 5, "train": {"path": ["db"], "incidents": 3}}}
    assert flat_params({**spec, "detector": {"name": "ewma"}}) == {"detector.name": "ewma", "evaluation.test_s": "60"}
    assert "evaluation.train.incidents" in flat_params({**spec, "detector": {"name": "mimir_lasso"}})


def test_params_are_flat_short_and_say_everything_that_matters() -> None:
    params = flat_params(
        {
            "app": {
                "name": "shop",
                "services": {"web": {"port": 80}, "db": {"port": 27017}},
                "users": {
                    "entry": "web",
                    "mix": {"browse": 0.5},
                    "behaviours": {"browse": [{"wait": 1}], "buy": [{"wait": 2}]},
                },
            },
            "cluster": {
                "transport": {"segment_bytes": 1448},
                "dns": {"replicas": 2, "search": ["a", "b"], "probe": {"every_s": 5}},
            },
            "detector": {"families": ["I1", "I2"], "ridge": 1.0},
            "dry_run": False,
            "experiment": None,
            "paths": {"runs": "r"},
            "load": {"long": "x" * 10_000},
        }
    )
    assert params["app.services"] == "web, db"
    assert params["app.users.behaviours"] == "browse, buy"
    assert params["app.users.mix"] == '{"browse":0.5}'
    assert params["cluster.transport.segment_bytes"] == "1448"
    assert params["cluster.dns.probe"] == '{"every_s":5}'
    assert params["detector.families"] == '["I1","I2"]'
    assert params["experiment"] == "null"
    assert not any(name.startswith(("paths", "dry_run")) for name in params)
    assert len(params["load.long"]) <= MAX_VALUE
    assert "sha256" in params["load.long"]


@pytest.mark.parametrize(
    "option", sorted((Path(__file__).parents[2] / "conf" / "app").glob("*.yaml")), ids=lambda p: p.stem
)
def test_params_of_a_real_application_are_few(option: Path) -> None:
    params = flat_params({"app": yaml.safe_load(option.read_text())})
    assert len(params) < 60
    assert all(len(value) <= MAX_VALUE for value in params.values())


def test_metrics_are_those_of_the_evaluation(finished: Path) -> None:
    metrics = read_json(finished / "metrics.json")
    assert eval_metrics(metrics) == headline(metrics)


def test_content_of_a_finished_run(finished: Path) -> None:
    run = read_run(finished)
    assert not run.failed
    assert run.metrics["eval/event_recall"] == 1.0
    assert run.metrics["eval/w10/event_recall"] == 1.0
    assert run.metrics["capture/test/copies_removed/service_address/packets"] == 402_110
    assert run.metrics["time/detect"] == 1.5
    assert all(NAME.fullmatch(name) for name in (*run.metrics, *run.params))
    assert run.tags["mimir.signature"] == finished.name[-8:]
    assert run.tags["mimir.technique"] == "T1041"
    expected = {
        "cluster": "simulated",
        "app": "sockshop",
        "exfiltration": "http_relay",
        "detector": "egress_volume",
        "seed": "7",
    }
    assert {key: run.tags[f"mimir.{key}"] for key in expected} == expected
    assert run.tags["mlflow.source.git.commit"].startswith("0123456789")


def test_curve_is_thinned_but_keeps_its_peaks(finished: Path) -> None:
    import pandas as pd

    scores = pd.read_parquet(finished / "scores.parquet")
    curve = read_run(finished).curve
    assert len(curve) <= CURVE_POINTS
    for window_s in (10, 60):
        peak = scores[(scores["recording"] == "test") & (scores["window_s"] == window_s)]["score"].max()
        points = [row for row in curve if row[0] == f"score/w{window_s}"]
        assert max(row[1] for row in points) == peak
        assert points[0][3] < 60
        assert [row[3] for row in points] == sorted({row[3] for row in points})


def test_run_without_incidents_has_no_recall(tmp_path: Path) -> None:
    run = read_run(build_run_directory(tmp_path, Sample(incidents=0)))
    assert "eval/event_recall" not in run.metrics
    assert run.metrics["eval/false_alerts_per_day"] == 0.0
    assert run.tags["mimir.technique"] == "none"


def test_failed_run_is_content_too(tmp_path: Path) -> None:
    run = read_run(build_run_directory(tmp_path, Sample(state="failed")))
    assert run.failed
    assert run.curve == []
    assert run.metrics["time/record"] == 1.5


def test_digest_follows_content_not_clock(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    assert content_digest(copy) == content_digest(finished)
    status = read_json(copy / "status.json")
    write_json(copy / "status.json", status | {"stages": {}})
    assert content_digest(copy) == content_digest(finished), "seconds are no content"
    metrics = read_json(copy / "metrics.json")
    write_json(copy / "metrics.json", metrics | {"confidence": 0.9})
    assert content_digest(copy) != content_digest(finished)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MimirError, match="is no run directory"):
        read_run(tmp_path)


def test_spec_may_be_real_yaml(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    (copy / "spec.yaml").write_text(yaml.safe_dump(json.loads((finished / "spec.yaml").read_text())))
    assert read_run(copy).params == read_run(finished).params
