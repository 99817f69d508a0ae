"""One recording → what its edges look like packet by packet: sums a block, sizes of packets, lengths of connections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimir.capture.batch import PacketBatch
from mimir.capture.reader import open_capture
from mimir.flows.identity import load_identity
from mimir.flows.records import FlowRecorder, records_of
from mimir.pipeline.recordings import Recorded
from mimir.units import NS_PER_S

EDGE = ["client", "server", "server_port", "proto"]
SIZE_STEP = 16  #: bytes: packet sizes are counted in steps of this
LENGTH_STEPS = 10  #: steps a decade of connection lengths
SHORTEST_S = 1e-6
_SUMS = ["request_bytes", "response_bytes", "exchanges", "connections"]
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


def blocks_of(recorded: Recorded, window_s: int, block_s: int) -> pd.DataFrame:
    """Sums of each edge in each block of whole windows: EDGE, block, windows, the counters, packets, bytes, bytes squared.

    `bytes_squared` sums the squares of the windows' bytes, from which the variation over windows follows; `windows` are
    all windows of the block, also silent ones.
    """
    order = recorded.order
    stop = order.start_s + order.duration_s // window_s * window_s
    filters = [("view", "==", "service"), ("window_s", "==", window_s), ("window_start", ">=", order.start_s), ("window_start", "<", stop)]  # fmt: skip
    frame = pq.read_table(recorded.edges.folder / "edges.parquet", filters=filters).to_pandas()
    frame["block"] = (frame["window_start"] - order.start_s) // block_s
    frame["packets"] = frame["request_packets"] + frame["response_packets"]
    frame["bytes"] = frame["request_bytes"] + frame["response_bytes"]
    frame["bytes_squared"] = frame["bytes"].astype(float) ** 2
    kept = [*_SUMS, "packets", "bytes", "bytes_squared"]
    out: pd.DataFrame = frame.groupby([*EDGE, "block"], as_index=False)[kept].sum()
    begins = order.start_s + out["block"] * block_s
    out["windows"] = (np.minimum(begins + block_s, stop) - begins) // window_s
    return out


def packets_of(recorded: Recorded, timeout_s: float, reorder_ms: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(sizes, lengths) of the edges of a recording, copies left out.

    sizes: EDGE, way (request or response), size (IP bytes, rounded to SIZE_STEP), count, bytes. lengths: EDGE, step
    (LENGTH_STEPS a decade of seconds from SHORTEST_S on), count, of connections that began in the recording.
    """
    folder, order = recorded.record.folder, recorded.order
    captures = sorted((folder / "capture").iterdir())
    span = (order.start_s * NS_PER_S, (order.start_s + order.duration_s) * NS_PER_S)
    flows, raw = _connections(captures, folder / "entities.jsonl", timeout_s, round(reorder_ms * 1e6))
    names: NDArray[Any] = flows.groupby(EDGE, sort=True).ngroup().to_numpy()
    edges = flows.drop_duplicates(EDGE).sort_values(EDGE, ignore_index=True)[EDGE]
    counts = _sizes(captures, round(reorder_ms * 1e6), _keys(raw), names, span)
    rows = np.nonzero(counts)
    sizes = edges.iloc[rows[0]].reset_index(drop=True)
    sizes["way"] = np.array(["request", "response"])[rows[1]]
    sizes["size"], sizes["count"] = rows[2] * SIZE_STEP, counts[rows]
    began = flows["first_ns"].between(*span, inclusive="left").to_numpy()
    step = np.log10(np.maximum(flows["duration"].to_numpy(), SHORTEST_S) / SHORTEST_S) * LENGTH_STEPS
    lengths = flows[EDGE].assign(step=np.floor(step).astype(np.int64))[began]
    return sizes, lengths.groupby([*EDGE, "step"], as_index=False).size().rename(columns={"size": "count"})


def _connections(
    captures: Sequence[Path], entities: Path, timeout_s: float, reorder_ns: int
) -> tuple[pd.DataFrame, NDArray[np.void]]:
    """Connections that are no copies: names as in the edges, first packet, duration; and as the tracker kept them."""
    identity = load_identity(entities)
    recorder, capture = FlowRecorder(identity, timeout_s), open_capture(captures, reorder_ns=reorder_ns)
    for batch in capture:
        recorder.add(batch)
    recorder.finish()
    raw = recorder.flows()
    table = records_of(raw, identity, capture.tunnels)
    renamed = dict(zip(("orig_service", "resp_service", "id.resp_p", "proto", "duration"), [*EDGE, "duration"], strict=True))  # fmt: skip
    flows = table.select(list(renamed)).to_pandas().rename(columns=renamed)
    return flows.assign(first_ns=raw["first_ns"]), raw


def _keys(raw: NDArray[np.void]) -> NDArray[np.uint64]:
    """(2, N) hash of each connection's packets: those of the client, those of the server."""
    swap = raw["client_is_b"] != 0
    client, server = np.where(swap, raw["b_low"], raw["a_low"]), np.where(swap, raw["a_low"], raw["b_low"])
    asks, answers = np.where(swap, raw["b_port"], raw["a_port"]), np.where(swap, raw["a_port"], raw["b_port"])
    ends = (client, server, asks, answers), (server, client, answers, asks)
    return np.stack([_hash(src, dst, sport, dport, raw["proto"]) for src, dst, sport, dport in ends])


def _hash(
    src: NDArray[Any], dst: NDArray[Any], sport: NDArray[Any], dport: NDArray[Any], proto: NDArray[Any]
) -> NDArray[np.uint64]:  # fmt: skip
    first, second = _MIX
    ports = (sport.astype(np.uint64) << np.uint64(24)) | (dport.astype(np.uint64) << np.uint64(8)) | proto
    value = (src * first) ^ ((dst + ports * second) * second)
    return np.asarray((value ^ (value >> np.uint64(29))) * first)


def _sizes(
    captures: Sequence[Path], reorder_ns: int, keys: NDArray[np.uint64], edge: NDArray[np.int64], span: tuple[int, int]
) -> NDArray[np.int64]:
    """(edges, 2, sizes) packets by size. Of a packet seen at several interfaces that at the first one counts."""
    order = np.argsort(keys.ravel(), kind="stable")
    known = keys.ravel()[order]
    seen_at = np.full(len(known), -(2**31), dtype=np.int64)  # interface of the first packet of each way of a connection
    out = np.zeros((int(edge.max(initial=-1)) + 1, 2, (1 << 16) // SIZE_STEP + 1), dtype=np.int64)
    for batch in open_capture(captures, reorder_ns=reorder_ns):
        where, ours = _found(batch, known)
        new = ours & (seen_at[where] == -(2**31))
        first, rows = np.unique(where[new], return_index=True)
        seen_at[first] = batch.ifindex[new][rows]
        ours &= (seen_at[where] == batch.ifindex) & (batch.ts_ns >= span[0]) & (batch.ts_ns < span[1])
        way, connection = np.divmod(order[where[ours]], keys.shape[1])
        size = np.minimum((batch.ip_bytes[ours].astype(np.int64) + SIZE_STEP // 2) // SIZE_STEP, out.shape[2] - 1)
        np.add.at(out, (edge[connection], way, size), 1)
    return out


def _found(batch: PacketBatch, known: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Place of each packet's way in the sorted keys, and whether it is there."""
    key = _hash(batch.src[:, 1], batch.dst[:, 1], batch.sport, batch.dport, batch.proto.astype(np.uint64))
    where = np.minimum(np.searchsorted(known, key), max(len(known) - 1, 0))
    return where, (known[where] == key) if len(known) else np.zeros(len(key), dtype=np.bool_)
