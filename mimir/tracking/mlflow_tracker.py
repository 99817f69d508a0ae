"""Runs in MLflow: params, tags, metrics, the score curve, datasets, files and the fitted detector."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mimir.spec.schema import TrackingSpec
from mimir.tracking.content import RunContent, read_run
from mimir.tracking.mlflow_store import connect, resolve_uri, ui_command, without_noise

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

BATCH, PARAM_BATCH = 1_000, 100
#: files of the run directory that MLflow gets, if they are not too large; captures count as any other file
FILES = (
    "spec.yaml", "status.json", "manifest.json", "environment.json", "plan.json", "report.html", "metrics.json",
    "capture.json", "alerts.jsonl", "stream.jsonl", "truth.jsonl", "timeline.jsonl", "entities.jsonl", "scores.parquet",
    "edges.parquet", "fields.parquet", "fields.json",
)  # fmt: skip
FOLDERS = ("figures", "graphs", "capture")
NESTED = "mlflow.parentRunId"
SHARED = "mimir.sweep."  #: + id of a later sweep's parent that reuses a run of an earlier one


class MlflowTracker:
    """Logs run directories. A directory whose content was logged before is found again, not logged twice.

    A directory that changed since replaces its earlier run, which goes to MLflow's trash (`mlflow gc` empties it).
    """

    def __init__(self, spec: TrackingSpec, root: Path):
        self.spec, self.root = spec, root
        self._client: MlflowClient | None = None
        self._experiment = ""

    def resolved_uri(self) -> str:
        """Where runs go: tracking.uri, else MLFLOW_TRACKING_URI, else SQLite in mlruns/."""
        return resolve_uri(self.spec.uri, self.root)

    def ui_command(self) -> str:
        """The command that shows the runs."""
        return ui_command(self.resolved_uri())

    def where(self) -> str | None:
        """URI and the command to look at it."""
        return f"mlflow  {self.resolved_uri()}\n        {self.ui_command()}"

    @without_noise()
    def log(self, run_directory: Path, parent: str | None = None) -> str | None:
        """Log a finished or failed run; returns its MLflow run id."""
        run = read_run(run_directory)
        client = self._connect()
        outdated = self._earlier(client, run)
        same = [earlier for earlier in outdated if _is_whole(earlier, run)]
        if same:
            found = str(same[0].info.run_id)
            first = same[0].data.tags.get(NESTED)
            if parent and first != parent:  # a run stays below the sweep that made it
                client.set_tag(found, *((SHARED + parent, "reused") if first else (NESTED, parent)))
            return found
        run_id = self._create(client, run, parent)
        try:
            self._fill(client, run, run_id)
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_tag(run_id, "mimir.logged", "true")
        client.set_terminated(run_id, "FAILED" if run.failed else "FINISHED")
        for old in outdated:
            _replace(client, old, run_id)
        return run_id

    @without_noise()
    def start_parent(self, name: str, tags: Mapping[str, str] | None = None) -> str | None:
        """Open the parent run of a sweep; the database is ready for many processes when this returns."""
        client = self._connect()
        run = client.create_run(self._experiment, run_name=name, tags={"mimir.sweep": name, **(tags or {})})
        return str(run.info.run_id)

    @without_noise()
    def end_parent(self, parent: str | None, files: Sequence[Path], failed: bool) -> None:
        """Attach the comparison of the runs to the parent, and close it."""
        if parent is None:
            return
        client = self._connect()
        for file in files:
            if file.exists():
                client.log_artifact(parent, str(file))
        children = self._search(client, f"tags.`{NESTED}` = '{parent}'")
        children += self._search(client, f"tags.`{SHARED}{parent}` = 'reused'")
        failures = sum(child.info.status == "FAILED" for child in children)
        values = {"sweep/runs": len(children), "sweep/failed": failures}
        client.log_batch(parent, metrics=[_metric(name, value) for name, value in values.items()])
        client.set_terminated(parent, "FAILED" if failed else "FINISHED")

    def _connect(self) -> MlflowClient:
        if self._client is None:
            self._client, self._experiment = connect(self.resolved_uri(), self.spec.experiment)
        return self._client

    def _earlier(self, client: MlflowClient, run: RunContent) -> list[Run]:
        """Active runs of this run directory's name, newest first."""
        return self._search(client, f"tags.`mimir.run` = '{run.name}'")

    def _search(self, client: MlflowClient, query: str) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while True:
            page = client.search_runs([self._experiment], query, max_results=1_000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _create(self, client: MlflowClient, run: RunContent, parent: str | None) -> str:
        tags = run.tags | ({NESTED: parent} if parent else {}) | {"mlflow.source.name": "run.py"}
        started = int((run.folder / "spec.yaml").stat().st_mtime * 1000)
        return str(client.create_run(self._experiment, start_time=started, tags=tags, run_name=run.name).info.run_id)

    def _fill(self, client: MlflowClient, run: RunContent, run_id: str) -> None:
        from mlflow.entities import Metric, Param

        from mimir.tracking.mlflow_data import edge_datasets
        from mimir.tracking.mlflow_model import has_model, log_model

        params = [Param(name, value) for name, value in run.params.items()]
        for first in range(0, len(params), PARAM_BATCH):
            client.log_batch(run_id, params=params[first : first + PARAM_BATCH])
        metrics = [_metric(name, value) for name, value in run.metrics.items()]
        metrics += [Metric(name, value, ts * 1000, step) for name, value, ts, step in run.curve]
        for first in range(0, len(metrics), BATCH):
            client.log_batch(run_id, metrics=metrics[first : first + BATCH])
        self._log_files(client, run, run_id)
        if (run.folder / "edges.parquet").exists():
            client.log_inputs(run_id, edge_datasets(run.folder / "edges.parquet"))
        if not run.failed and has_model(run):
            client.set_tag(run_id, "mimir.model", log_model(client, run, self._experiment, run_id))

    def _log_files(self, client: MlflowClient, run: RunContent, run_id: str) -> None:
        """Copy files up to the size limit; the names of the others go into a tag."""
        left_out = []
        for path in _files(run.folder):
            name = path.relative_to(run.folder)
            if path.stat().st_size > self.spec.artifact_limit_bytes:
                left_out.append(name.as_posix())
            else:
                client.log_artifact(run_id, str(path), name.parent.as_posix() if name.parent != Path() else None)
        if left_out:
            client.set_tag(run_id, "mimir.not_uploaded", ", ".join(left_out))
        if run.failed and run.status.get("error"):
            client.log_text(run_id, str(run.status["error"]), "traceback.txt")


def _is_whole(earlier: Run, run: RunContent) -> bool:
    tags = earlier.data.tags
    return tags.get("mimir.content") == run.tags["mimir.content"] and tags.get("mimir.logged") == "true"


def _replace(client: MlflowClient, old: Run, run_id: str) -> None:
    """Put an outdated run, and the model it gave, into MLflow's trash."""
    client.set_tag(old.info.run_id, "mimir.replaced_by", run_id)
    for output in old.outputs.model_outputs if old.outputs else ():
        client.delete_logged_model(output.model_id)
    client.delete_run(old.info.run_id)


def _metric(name: str, value: float) -> Metric:
    from mlflow.entities import Metric

    return Metric(name, value, time.time_ns() // 1_000_000, 0)


def _files(folder: Path) -> Iterable[Path]:
    yield from (folder / name for name in FILES if (folder / name).exists())
    for name in FOLDERS:
        yield from sorted(p for p in (folder / name).rglob("*") if p.is_file() and not p.name.startswith("."))
