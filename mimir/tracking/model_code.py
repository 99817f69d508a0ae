"""The fitted detector as an MLflow model: this file is the model's code, run where the model is loaded.

`mlflow.pyfunc.load_model(uri).predict(edges)` takes rows of edges.parquet (one or several window
lengths, both views) and gives one row a window: `window_s, window_start, score, threshold, alert`. Windows without rows between the first and the last are scored too.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from mimir.detectors.registry import load_detector
from mimir.flows import load_series, read_workloads

RECORDING = "given"


class FittedDetector(PythonModel):
    """Detectors of one run, one for each window length, as `mimir.detectors.registry.save_state` wrote them."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read states, thresholds and entity names; nothing is unpickled."""
        folder = Path(context.artifacts["detector"])
        self.workloads = read_workloads(Path(context.artifacts["entities"]))
        self.sensitive = list((context.model_config or {}).get("sensitive") or [])
        self.detectors, self.thresholds = {}, {}
        for state in sorted(folder.glob("w*/state.json")):
            window_s = int(state.parent.name.removeprefix("w"))
            self.detectors[window_s] = load_detector(state.parent)
            self.thresholds[window_s] = float(json.loads((state.parent / "threshold.json").read_text())["value"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score edges. Raises ValueError for a window length that the run did not fit."""
        parts = [self._score(part, int(str(window_s))) for window_s, part in model_input.groupby("window_s", sort=True)]
        columns = ["window_s", "window_start", "score", "threshold", "alert"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def _score(self, edges: pd.DataFrame, window_s: int) -> pd.DataFrame:
        if window_s not in self.detectors:
            known = ", ".join(map(str, self.detectors))
            raise ValueError(f"no detector was fitted for windows of {window_s} s (fitted: {known})")
        first, last = int(edges["window_start"].min()), int(edges["window_start"].max())
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "edges.parquet"
            edges.assign(recording=RECORDING).to_parquet(file, index=False)
            series = load_series(
                file, RECORDING, window_s, first, (last - first) // window_s + 1, self.workloads, self.sensitive
            )  # fmt: skip
        scores = self.detectors[window_s].score(series)
        threshold = self.thresholds[window_s]
        return pd.DataFrame(
            {"window_s": window_s, "window_start": scores.window_start, "score": scores.score, "threshold": threshold,
             "alert": scores.score > threshold}
        )  # fmt: skip


set_model(FittedDetector())
