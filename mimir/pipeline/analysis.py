"""The analysis stages: recordings → one run directory → scores → metrics → graphs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mimir.errors import MimirError, Problem
from mimir.files import read_json, read_jsonl, write_json, write_jsonl
from mimir.pipeline.cache import link
from mimir.pipeline.detection import detect
from mimir.pipeline.recordings import RECORDINGS, Recorded
from mimir.pipeline.run_directory import RunDirectory
from mimir.spec import Spec

STAGES = ("assemble", "graphs", "detect", "evaluate", "report")


def edges_of(spec: Spec, recording: Path, folder: Path) -> dict[str, Any]:
    """Edges of one recording, for the shared cache. `recording` has capture/ and entities.jsonl (or addresses.txt)."""
    from mimir.flows import build_edges

    table = recording / "addresses.txt"
    report = build_edges(
        sorted((recording / "capture").iterdir()),
        entities=table if table.exists() else recording / "entities.jsonl",
        windows_s=spec.capture.windows_s,
        timeout_s=spec.capture.connection_timeout_s,
        out=folder / "edges.parquet",
    )
    write_json(folder / "capture.json", report.as_dict())
    return {"packets": report.packets}
