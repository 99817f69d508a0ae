from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from mimir.detectors.registry import load_detector
from mimir.files import read_json, write_json
from mimir.flows import load_series, read_workloads
from mimir.tracking.__main__ import main
from mimir.tracking.mlflow_tracker import MlflowTracker
from tests.support.run_directory import Sample, build_run_directory

NewTracker = Callable[..., MlflowTracker]


def _client(tracker: MlflowTracker) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracker.resolved_uri())


def _active(tracker: MlflowTracker) -> list[mlflow.entities.Run]:
    client = _client(tracker)
    experiment = client.get_experiment_by_name("mimir")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def _artifacts(client: mlflow.MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    found: set[str] = set()
    for item in client.list_artifacts(run_id, folder):
        found |= _artifacts(client, run_id, item.path) if item.is_dir else {item.path}
    return found


def test_finished_run_is_logged_whole(finished: Path, new_tracker: NewTracker, tmp_path: Path) -> None:
    tracker = new_tracker()
    run_id = tracker.log(finished)
    client = _client(tracker)
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == (finished.name, "FINISHED")
    assert run.data.params["detector.name"] == "egress_volume"
    assert run.data.params["exfiltration.rate_bytes_per_min"] == "100000.0"
    assert run.data.metrics["eval/event_recall"] == 1.0
    assert run.data.tags["mimir.technique"] == "T1041"
    history = client.get_metric_history(run_id, "score/w60")
    assert len(history) == 240
    assert history[1].step - history[0].step == 60
    assert history[0].timestamp == 1_700_179_200_000
    files = _artifacts(client, run_id)
    assert {"report.html", "metrics.json", "spec.yaml", "scores.parquet", "alerts.jsonl", "truth.jsonl"} <= files
    assert {"figures/graph.svg", "figures/timeline_60s.svg", "graphs/service.graphml", "capture/test.pcap"} <= files
    assert run.info.artifact_uri.startswith((tmp_path / "mlruns" / "artifacts").as_uri())
    copy = client.download_artifacts(run_id, "report.html", str(tmp_path))
    assert Path(copy).read_bytes() == (finished / "report.html").read_bytes()


def test_edges_are_datasets_with_contexts_and_digests(finished: Path, new_tracker: NewTracker) -> None:
    tracker = new_tracker()
    run = _client(tracker).get_run(tracker.log(finished))
    found = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert set(found) == {"training", "validation", "test"}
    assert len({dataset.digest for dataset in found.values()}) == 3
    edges = pd.read_parquet(finished / "edges.parquet")
    assert json.loads(found["test"].profile)["num_rows"] == int((edges["recording"] == "test").sum())
    source = mlflow.data.get_source(next(i for i in run.inputs.dataset_inputs if i.dataset.name == "edges-test"))
    assert Path(source.load().removeprefix("file://")) == finished / "edges.parquet"


def test_digest_of_fit_does_not_depend_on_the_leak(tmp_path: Path) -> None:
    from mimir.tracking.mlflow_data import edge_datasets

    runs = [build_run_directory(tmp_path / str(i), Sample(rate_bytes_per_min=1_000.0 * (i + 1))) for i in range(2)]
    one, two = ({i.dataset.name: i.dataset.digest for i in edge_datasets(run / "edges.parquet")} for run in runs)
    assert one["edges-fit"] == two["edges-fit"]
    assert one["edges-test"] != two["edges-test"]


def test_model_gives_the_scores_of_the_detector(finished: Path, new_tracker: NewTracker) -> None:
    tracker = new_tracker()
    run = _client(tracker).get_run(tracker.log(finished))
    mlflow.set_tracking_uri(tracker.resolved_uri())
    try:
        model = mlflow.pyfunc.load_model(run.data.tags["mimir.model"])
        same = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/detector")
    finally:
        mlflow.set_tracking_uri(None)
    edges = pd.read_parquet(finished / "edges.parquet")
    edges = edges[edges["recording"] == "test"].drop(columns="recording")
    result = model.predict(edges)
    assert list(result.columns) == ["window_s", "window_start", "score", "threshold", "alert"]
    assert result.groupby("window_s").size().to_dict() == {10: 1_440, 60: 240}
    start, end = Sample().recordings["test"]
    workloads = read_workloads(finished / "entities.jsonl")
    series = load_series(finished / "edges.parquet", "test", 60, start, (end - start) // 60, workloads, ["user-db"])
    expected = load_detector(finished / "detector" / "w60").score(series).score
    assert result[result["window_s"] == 60]["score"].tolist() == expected.tolist()
    pd.testing.assert_frame_equal(same.predict(edges), result)
    assert model.metadata.signature is not None
    assert len(model.input_example) == 3


def test_model_holds_no_pickle(finished: Path, new_tracker: NewTracker, tmp_path: Path) -> None:
    tracker = new_tracker()
    tracker.log(finished)
    files = [p for p in (tmp_path / "mlruns" / "artifacts").rglob("*") if p.is_file()]
    assert any(p.name == "model_code.py" for p in files)
    assert not [p for p in files if p.suffix in (".pkl", ".pickle", ".joblib")]
    requirements = next(p for p in files if p.name == "requirements.txt").read_text()
    assert "numpy==" in requirements


def test_same_content_is_logged_once(finished: Path, new_tracker: NewTracker) -> None:
    first = new_tracker().log(finished)
    tracker = new_tracker()
    assert tracker.log(finished) == first
    assert len(_active(tracker)) == 1


def test_changed_content_replaces_the_run(finished: Path, new_tracker: NewTracker, tmp_path: Path) -> None:
    copy = tmp_path / "runs" / finished.name
    shutil.copytree(finished, copy)
    tracker = new_tracker()
    first = tracker.log(copy)
    write_json(copy / "metrics.json", read_json(copy / "metrics.json") | {"confidence": 0.9})
    second = tracker.log(copy)
    assert [run.info.run_id for run in _active(tracker)] == [second] != [first]
    old = _client(tracker).get_run(first)
    assert old.info.lifecycle_stage == "deleted"
    assert old.data.tags["mimir.replaced_by"] == second


def test_half_logged_run_is_logged_again(
    finished: Path, new_tracker: NewTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = new_tracker()
    with monkeypatch.context() as patch:
        patch.setattr(MlflowTracker, "_log_files", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            tracker.log(finished)
    assert [run.info.status for run in _active(tracker)] == ["FAILED"]
    again = tracker.log(finished)
    assert [(run.info.run_id, run.info.status) for run in _active(tracker)] == [(again, "FINISHED")]


def test_failed_run_ends_failed_with_its_traceback(new_tracker: NewTracker, tmp_path: Path) -> None:
    folder = build_run_directory(tmp_path, Sample(state="failed"))
    tracker = new_tracker()
    client = _client(tracker)
    run_id = tracker.log(folder)
    assert client.get_run(run_id).info.status == "FAILED"
    text = Path(client.download_artifacts(run_id, "traceback.txt", str(tmp_path))).read_text()
    assert "CaptureError: test.pcap: cut off" in text


def test_large_files_stay_where_they_are(finished: Path, new_tracker: NewTracker) -> None:
    tracker = new_tracker(limit_bytes=40_000)
    client = _client(tracker)
    run_id = tracker.log(finished)
    files = _artifacts(client, run_id)
    assert "edges.parquet" not in files
    assert "spec.yaml" in files
    assert "edges.parquet" in client.get_run(run_id).data.tags["mimir.not_uploaded"]


def test_sweep_has_a_parent_with_the_comparison(finished: Path, new_tracker: NewTracker, tmp_path: Path) -> None:
    tracker = new_tracker()
    parent = tracker.start_parent("sweep-1", {"mimir.note": "x"})
    child = new_tracker().log(finished, parent)
    failed = new_tracker().log(build_run_directory(tmp_path, Sample(state="failed")), parent)
    table = tmp_path / "comparison.csv"
    table.write_text("run,recall\n")
    tracker.end_parent(parent, [table, tmp_path / "absent.html"], failed=True)
    client = _client(tracker)
    run = client.get_run(parent)
    assert (run.info.run_name, run.info.status) == ("sweep-1", "FAILED")
    assert run.data.metrics == {"sweep/runs": 2.0, "sweep/failed": 1.0}
    assert _artifacts(client, parent) == {"comparison.csv"}
    assert {client.get_run(r).data.tags["mlflow.parentRunId"] for r in (child, failed)} == {parent}


def test_run_that_was_logged_before_joins_the_sweep(finished: Path, new_tracker: NewTracker) -> None:
    tracker = new_tracker()
    alone = tracker.log(finished)
    parent = tracker.start_parent("sweep")
    assert tracker.log(finished, parent) == alone
    assert _client(tracker).get_run(alone).data.tags["mlflow.parentRunId"] == parent


def test_run_of_an_earlier_sweep_stays_there_and_counts_in_both(finished: Path, new_tracker: NewTracker) -> None:
    tracker = new_tracker()
    first, second = tracker.start_parent("one"), tracker.start_parent("two")
    run_id = tracker.log(finished, first)
    assert tracker.log(finished, second) == run_id
    tracker.end_parent(second, [], failed=False)
    client = _client(tracker)
    assert client.get_run(run_id).data.tags["mlflow.parentRunId"] == first
    assert client.get_run(second).data.metrics["sweep/runs"] == 1.0


def test_user_is_told_where_to_look(new_tracker: NewTracker, tmp_path: Path) -> None:
    tracker = new_tracker()
    told = tracker.where()
    assert told is not None
    assert f"sqlite:///{tmp_path}/mlruns/mlflow.db" in told
    assert tracker.ui_command() in told


def test_logging_leaves_mlflow_as_it_was(
    finished: Path, new_tracker: NewTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_tracker().log(finished)
    assert not mlflow.is_tracking_uri_set()
    assert mlflow.active_run() is None


def test_upload_command(
    finished: Path,
    new_tracker: NewTracker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tracker = new_tracker()
    monkeypatch.chdir(tmp_path)
    assert main(["upload", str(finished)]) == 0
    assert "run " in capsys.readouterr().out
    assert len(_active(tracker)) == 1
    assert main(["upload", str(tmp_path), str(finished)]) == 1, (
        "one is no run directory, the other was logged all the same"
    )
    assert "is no run directory" in capsys.readouterr().err
    assert main(["ui"]) == 0
    assert capsys.readouterr().out.strip() == tracker.ui_command()


@pytest.mark.slow
def test_model_loads_where_mimir_is_not_installed(finished: Path, new_tracker: NewTracker, tmp_path: Path) -> None:
    tracker = new_tracker()
    run = _client(tracker).get_run(tracker.log(finished))
    code = (
        "import sys, mlflow, pandas as pd\n"
        "assert not any('mimir' in name for name in sys.modules)\n"
        f"mlflow.set_tracking_uri({tracker.resolved_uri()!r})\n"
        f"model = mlflow.pyfunc.load_model({run.data.tags['mimir.model']!r})\n"
        f"print(len(model.predict(pd.read_parquet({str(finished / 'edges.parquet')!r}).drop(columns='recording'))))\n"
        "import mimir; assert 'mlruns' in mimir.__file__, mimir.__file__\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1_000
