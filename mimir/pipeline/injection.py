"""Synthetic leaks: bytes added to the edges of a benign recording, for every window length and view from one draw.

For comparison with leaks that are transmitted: nothing but bytes changes, no packet, connection, exchange or query comes
with them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimir.cluster.base import RecordingOrder
from mimir.cluster.synthetic import Addition, plan, write_entries
from mimir.files import read_jsonl, write_jsonl
from mimir.pipeline.cache import Result, stage_key
from mimir.spec import Spec
from mimir.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

ROOMS = ("exfiltration", "cluster/synthetic.py", "pipeline/injection.py", "flows", "spec")
_KEYS = ["recording", "window_s", "window_start", "client", "server", "server_port", "proto", "view"]
_OUTSIDE = "outside"


def injection_key(plain: Mapping[str, Any], order: RecordingOrder, edges: Result, record: Result) -> str:
    """What decides the result: the edges and pods of the benign recording, the scenario, the draws, the load."""
    part = {
        "exfiltration": plain["exfiltration"],
        "order": [order.name, order.start_s, order.duration_s, list(order.entropy)],
        "baseline": asdict(order.baseline) if order.baseline else None,
        "load": plain["load"],
        "edges": plain["app"]["edges"],
    }
    inputs = {"edges": edges.files["edges.parquet"], "entities": record.files["entities.jsonl"],
              "truth": record.files["truth.jsonl"]}  # fmt: skip
    return stage_key("synthetic", ROOMS, part, inputs)


def inject(spec: Spec, order: RecordingOrder, record: Path, edges: Path, folder: Path) -> dict[str, Any]:
    """Fill `folder` as the stage of edges fills its own, with the leaks in it, and a ledger."""
    entities = read_jsonl((edges if (edges / "entities.jsonl").exists() else record) / "entities.jsonl")
    additions, entries = plan(spec, order, entities)
    for name in ("capture.json", "entities.jsonl"):
        if (edges / name).exists():
            shutil.copyfile(edges / name, folder / name)
    write_entries(folder / "truth.jsonl", entries)
    write_jsonl(folder / "truth.jsonl", [*read_jsonl(folder / "truth.jsonl"), *read_jsonl(record / "truth.jsonl")])
    add_to(edges / "edges.parquet", additions, folder / "edges.parquet")
    return {}


def add_to(source: Path, additions: Sequence[Addition], out: Path) -> None:
    """`source` with the additions, in the order and types it has. A row that is missing is made, with zeros otherwise."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    frame = table.to_pandas()
    for name in ("recording", "client", "server", "proto", "view"):
        frame[name] = frame[name].astype(str)
    rows = [row for addition in additions for row in _rows(frame, addition)]
    if rows:
        more = pd.DataFrame(rows).reindex(columns=frame.columns, fill_value=0)
        frame = pd.concat([frame, more]).groupby(_KEYS, as_index=False, sort=False).sum()
        order = ["window_s", "window_start", "client", "server", "server_port", "proto", "view"]
        frame = frame.sort_values(order, kind="stable")
    schema = pa.schema(
        [pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in table.schema]
    )
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), out, compression="zstd")


def _rows(frame: pd.DataFrame, addition: Addition) -> list[dict[str, Any]]:
    """One row a window length, window and view: bytes of the messages that begin in it."""
    column = "response" if addition.pulled else "request"
    found = []
    for window_s in sorted({int(w) for w in frame["window_s"].unique()}):
        starts = addition.ts_ns // (window_s * NS_PER_S) * window_s
        windows, place = np.unique(starts, return_inverse=True)
        sums = np.bincount(place, weights=addition.sizes).astype(np.int64)
        for view in ("pod", "service"):
            known = _edge(frame, addition, view)
            if known is None:
                continue
            for start, count in zip(windows.tolist(), sums.tolist(), strict=True):
                found.append({**known, "window_s": window_s, "window_start": start, "view": view,
                              f"{column}_bytes": count, f"{column}_payload_bytes": count})  # fmt: skip
    return found


def _edge(frame: pd.DataFrame, addition: Addition, view: str) -> dict[str, Any] | None:
    """The benign edge that carries most between two ends; None when there is none (an edge cannot be added to)."""
    at = 0 if view == "pod" else 1
    rows = frame[frame["view"] == view]
    for side, end in (("client", addition.client[at]), ("server", addition.server[at])):
        rows = rows[rows[side].str.startswith("outside:") if end == _OUTSIDE else rows[side] == end]
    if rows.empty:
        return None
    names = ["client", "server", "server_port", "proto", "recording"]
    total = rows.assign(total=rows["request_bytes"] + rows["response_bytes"]).groupby(names)["total"].sum()
    best: Any = total.idxmax()
    return dict(zip(names, best, strict=True))
