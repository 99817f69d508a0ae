"""fields.parquet → the messages of a series: who sent what to whom in which window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mimir.flows.edges import EdgeSeries
from mimir.flows.identity import Identity, load_identity

COPY_S = (
    0.05  #: the same message of the same sender and port within this time is a copy (another interface, before DNAT)
)
PLACES = ("src", "dst", "sport", "dport", "ts")
NOT_FIELDS = (*PLACES, "recording", "file", "packet", "proto", "stream", "complete")
NAMED_EVERY_S = 60.0  #: addresses are named once per so many seconds: pods do not change hands faster


def with_messages(series: EdgeSeries, fields: Path, entities: Path, recording: str) -> EdgeSeries:
    """The series, and its pod view, with `messages`: one row a message, in time order.

    Columns: window (0 … T-1), ts (UTC epoch s), sender and receiver (names of the pod view), port (of the receiver), and
    the text columns of fields.parquet under their names (absent: null). Copies are left out but for the last one, which is
    the one after address translation.
    """
    start, stop = int(series.window_start[0]), int(series.window_start[-1]) + series.window_s
    filters = [("recording", "==", recording), ("ts", ">=", float(start)), ("ts", "<", float(stop))]
    table = pq.read_table(fields, filters=filters).to_pandas().sort_values("ts", kind="stable", ignore_index=True)
    values = [c for c in table.columns if c not in NOT_FIELDS]
    table = _last_copies(table.dropna(subset=["src", "dst"]), values)
    identity = load_identity(entities)
    messages = pd.DataFrame({
        "window": ((table["ts"] - start) // series.window_s).astype(np.int64), "ts": table["ts"],
        "sender": _names(table["src"], table["ts"], identity), "receiver": _names(table["dst"], table["ts"], identity),
        "port": table["dport"].fillna(0).astype(np.int64), **{name: table[name] for name in values},
    })  # fmt: skip
    pods = replace(series.pods, messages=messages) if series.pods is not None else None
    return replace(series, messages=messages, pods=pods)


def _last_copies(table: pd.DataFrame, values: list[str]) -> pd.DataFrame:
    """Rows that no equal one of the same sender follows within COPY_S; rows must be in time order."""
    same = pd.util.hash_pandas_object(table[["src", "sport", *values]].astype("object").fillna(""), index=False)
    following = table["ts"].groupby(same.to_numpy(), sort=False).shift(-1)
    return table[~(following - table["ts"] < COPY_S)].reset_index(drop=True)


def _names(addresses: pd.Series, ts: pd.Series, identity: Identity) -> list[str]:
    known: dict[tuple[str, int], str] = {}
    out = []
    for address, when in zip(addresses, ts, strict=True):
        key = (address, int(when // NAMED_EVERY_S))
        if key not in known:
            known[key] = identity.name(address, when).pod
        out.append(known[key])
    return out
