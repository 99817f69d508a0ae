"""What the report knows: the files of one run directory, read once. Files that a run may lack come back empty."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimir.errors import MimirError
from mimir.files import read_json, read_jsonl

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

SCORE_COLUMNS = ("window_s", "window_start", "recording", "score", "threshold", "alert")


@dataclass(frozen=True)
class RunFiles:
    """One finished run. `metrics`, `spec` and `truth` are as in docs/concepts/run-directory.md."""

    folder: Path
    spec: dict[str, Any]
    metrics: dict[str, Any]
    truth: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    capture: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Folder name: `<app>-<exfiltration>-<detector>-s<seed>-<signature>`."""
        return self.folder.name

    @property
    def signature(self) -> str:
        """The eight hex digits that end the folder name."""
        return self.name.rpartition("-")[2]

    @property
    def primary_s(self) -> int:
        """The window length the verdict is about, in seconds."""
        return int(self.metrics["primary_window_s"])

    @property
    def lengths(self) -> list[int]:
        """All window lengths evaluated, the primary one first, then rising."""
        return sorted((int(key) for key in self.metrics["windows"]), key=lambda s: (s != self.primary_s, s))

    def window(self, window_s: int | None = None) -> dict[str, Any]:
        """The block of metrics.json of one window length (default: the primary one)."""
        block: dict[str, Any] = self.metrics["windows"][str(window_s or self.primary_s)]
        return block

    def incidents(self, window_s: int | None = None) -> list[dict[str, Any]]:
        """Incident rows of one window length (default: the primary one), in time order."""
        rows = [row for row in self.metrics["incidents"] if int(row["window_s"]) == (window_s or self.primary_s)]
        return sorted(rows, key=lambda row: (row["start"], str(row["incident"])))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """scores.parquet, columns SCORE_COLUMNS, in time order."""
        import pandas as pd

        table = pd.read_parquet(self.folder / "scores.parquet", columns=list(SCORE_COLUMNS))
        return table.sort_values(["window_s", "window_start"], ignore_index=True)

    @cached_property
    def detector_state(self) -> dict[str, Any]:
        """What the detector of the primary window length learned, without arrays; empty where the run has none."""
        return _document(self.folder / "detector" / f"w{self.primary_s}" / "state.json")

    @cached_property
    def plan(self) -> dict[str, Any]:
        """plan.json; empty where the run has none."""
        return _document(self.folder / "plan.json")

    @cached_property
    def entry_requests(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """(start, requests) of each primary window of the test recording at the service that users ask; None without."""
        path, entry = self.folder / "edges.parquet", ((self.spec.get("app") or {}).get("users") or {}).get("entry")
        if not entry or not path.exists():
            return None
        import pandas as pd

        columns = ["recording", "view", "window_s", "window_start", "client", "server", "exchanges"]
        wanted = [("recording", "==", "test"), ("view", "==", "service"), ("server", "==", entry),
                  ("window_s", "==", self.primary_s)]  # fmt: skip
        table = pd.read_parquet(path, columns=columns, filters=wanted)
        table = table[table["client"] == "outside:clients"]
        counts = table.groupby("window_start")["exchanges"].sum().sort_index()
        if not len(counts):
            return None
        return counts.index.to_numpy(dtype=np.float64), counts.to_numpy(dtype=np.float64)

    @cached_property
    def graph(self) -> nx.DiGraph | None:
        """Service graph of the test recording, or None where the run has none."""
        path = self.folder / "graphs" / "service.graphml"
        if not path.exists():
            return None
        import networkx as nx

        found = nx.read_graphml(path)
        return nx.DiGraph(found) if not found.is_multigraph() else _merged(found)


def _merged(graph: Any) -> nx.DiGraph:
    """One edge for each pair of nodes: numbers of parallel edges (ports, protocols) are added up."""
    import networkx as nx

    merged = nx.DiGraph()
    merged.add_nodes_from(graph.nodes(data=True))
    for client, server, values in graph.edges(data=True):
        before = merged.get_edge_data(client, server, {})
        numbers = {
            k: v + before.get(k, 0) for k, v in values.items() if isinstance(v, int | float) and k != "server_port"
        }
        merged.add_edge(client, server, **numbers)
    return merged


def load_run(run_directory: Path) -> RunFiles:
    """Read a run directory. Raises MimirError when it holds no finished evaluation."""
    import yaml

    folder = run_directory.resolve()
    if not (folder / "metrics.json").exists() or not (folder / "spec.yaml").exists():
        raise MimirError(
            f"{run_directory} holds no finished run (metrics.json or spec.yaml is missing); "
            "see status.json there, then start the run again: finished stages are kept"
        )
    return RunFiles(
        folder=folder,
        spec=yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8")),
        metrics=read_json(folder / "metrics.json"),
        truth=_lines(folder / "truth.jsonl"),
        alerts=_lines(folder / "alerts.jsonl"),
        capture=_document(folder / "capture.json"),
        environment=_document(folder / "environment.json"),
        status=_document(folder / "status.json"),
    )


def _document(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.exists() else {}
    return value if isinstance(value, dict) else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.exists() else []
