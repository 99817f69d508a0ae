"""Captures → flows.parquet: one row per connection, under Zeek's column names, to join with what other tools saw."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimir.capture.counts import CaptureCounts
from mimir.capture.reader import open_capture
from mimir.capture.tunnels import OVERLAY_NAMES
from mimir.files import atomic
from mimir.flows import table
from mimir.flows.addresses import address_text
from mimir.flows.community_id import community_ids
from mimir.flows.connections import ConnectionTracker
from mimir.flows.follow import REORDER_NS
from mimir.flows.identity import Identity, Name, entities_of
from mimir.flows.legs import LEG_NS
from mimir.flows.write import PROTOCOLS
from mimir.units import DAY_S, NS_PER_S

#: column → counter of the kernel's rows; names and meaning are those of Zeek's conn.log
COUNTS = {
    "orig_bytes": "request_payload",
    "resp_bytes": "response_payload",
    "orig_pkts": "request_packets",
    "resp_pkts": "response_packets",
    "orig_ip_bytes": "request_bytes",
    "resp_ip_bytes": "response_bytes",
    "exchanges": "exchanges",
}
SCHEMA = pa.schema(
    [
        ("ts", pa.timestamp("ns", "UTC")),
        ("id.orig_h", pa.string()),
        ("id.orig_p", pa.int32()),
        ("id.resp_h", pa.string()),
        ("id.resp_p", pa.int32()),
        ("proto", pa.string()),
        ("duration", pa.float64()),
        *((name, pa.int64()) for name in COUNTS),
        ("community_id", pa.string()),
        ("orig_pod", pa.string()),
        ("resp_pod", pa.string()),
        ("orig_service", pa.string()),
        ("resp_service", pa.string()),
        ("mediated", pa.bool_()),
        ("tunnel_type", pa.string()),
        ("tunnel_id", pa.int64()),
        ("tunnel_orig_h", pa.string()),
        ("tunnel_resp_h", pa.string()),
    ]
)
ENDS = ("a_high", "a_low", "b_high", "b_low", "a_port", "b_port", "proto", "client_is_b", "mediated", "server_kind")
PIECE = np.dtype(
    [
        ("serial", "i8"),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("window", "i8"),
        ("tunnel", "i8"),
        *((n, "i8") for n in COUNTS.values()),
    ]
    + [(name, "u8") for name in ENDS]
)
#: bits of `server_kind` that mean a service address or a node port
SERVED = table.SERVICE | table.NODE_PORT


class FlowRecorder(ConnectionTracker):
    """A tracker that remembers what each connection did before its rows become edges.

    `timeout_s` of silence ends a connection. With `active_s` > 0, one that lasts longer is cut at whole multiples of it on
    the clock (UTC), as NetFlow exporters do. Legs that are copies of another one are left out, as in edges. Holds about
    200 bytes a record.
    """

    def __init__(self, identity: Identity, timeout_s: float, active_s: int = 0):
        super().__init__(identity, active_s or DAY_S, timeout_s)
        self.active_s = active_s
        self._pieces: list[NDArray[Any]] = []

    def _settle(self, everything: bool) -> None:
        rows = self._table.rows[: self._table.meta[table.ROWS]]
        connections = self._table.connections[rows["connection"]]
        if not everything:  # the rule of mimir.flows.settle.is_settled
            settled = connections["born_ns"] + LEG_NS + REORDER_NS < self._table.meta[table.WATERMARK_NS]
            rows, connections = rows[settled], connections[settled]
        counted = connections["rule"] == table.NOT_A_COPY
        piece = np.zeros(int(counted.sum()), PIECE)
        for name in ("serial", "first_ns", "last_ns", "tunnel", *ENDS):
            piece[name] = connections[name][counted]
        for name in ("window", *COUNTS.values()):
            piece[name] = rows[name][counted]
        self._pieces.append(piece)
        super()._settle(everything)

    def flows(self) -> NDArray[Any]:
        """One PIECE for each record, in order of first packets; call after `finish`.

        The parts of a connection that was cut begin and end at the cuts: when their packets came is not kept.
        """
        pieces = np.concatenate(self._pieces) if self._pieces else np.zeros(0, PIECE)
        if not len(pieces):
            return pieces
        if not self.active_s:
            pieces["window"] = 0
        pieces = pieces[np.lexsort((pieces["window"], pieces["serial"]))]
        same = (pieces["serial"][1:] == pieces["serial"][:-1]) & (pieces["window"][1:] == pieces["window"][:-1])
        heads = np.flatnonzero(np.r_[True, ~same])
        out = pieces[heads]
        out["last_ns"] = np.maximum.reduceat(pieces["last_ns"], heads)
        out["mediated"] = np.maximum.reduceat(pieces["mediated"], heads)
        out["tunnel"] = np.maximum.reduceat(pieces["tunnel"], heads)
        for name in COUNTS.values():
            out[name] = np.add.reduceat(pieces[name], heads)
        if self.active_s:
            begins = out["window"] * self.active_s * NS_PER_S
            out["first_ns"] = np.maximum(out["first_ns"], begins)
            out["last_ns"] = np.minimum(out["last_ns"], begins + self.active_s * NS_PER_S - 1)
        return out[np.argsort(out["first_ns"], kind="stable")]


@dataclass(frozen=True)
class FlowReport:
    """What `export_flows` did: rows written, what the reader counted, copies left out by rule."""

    flows: int
    capture: CaptureCounts
    copies: dict[str, dict[str, int]]


def export_flows(
    captures: Sequence[Path],
    entities: Path | None,
    timeout_s: float,
    out: Path,
    active_s: int = 0,
    reorder_ns: int = 0,
) -> FlowReport:
    """Write the connections of captures to `out` (SCHEMA).

    `orig` is the client, by the rules for edges. The file's metadata hold both time-outs (FlowRecorder) as
    `idle_timeout_s` and `active_timeout_s`, 0 for none. Raises CaptureError for what is no capture and MimirError for entities that cannot be understood.
    """
    identity = entities_of(entities)
    recorder, capture = FlowRecorder(identity, timeout_s, active_s), open_capture(captures, reorder_ns=reorder_ns)
    for batch in capture:
        recorder.add(batch)
    recorder.finish()
    flows = recorder.flows()
    records = records_of(flows, identity, capture.tunnels)
    with atomic(out) as temporary:
        pq.write_table(records.replace_schema_metadata(metadata(timeout_s, active_s)), temporary, compression="zstd")
    return FlowReport(len(flows), capture.counts, recorder.copies())


def metadata(timeout_s: float, active_s: int) -> dict[str, str]:
    """Metadata of a file of flow records: after which silence, and after which length, a connection is cut (s)."""
    return {"idle_timeout_s": f"{timeout_s:g}", "active_timeout_s": str(active_s)}


def records_of(flows: NDArray[Any], identity: Identity, tunnels: NDArray[Any]) -> pa.Table:
    """Records of a FlowRecorder as a table (SCHEMA); `tunnels` are those of the capture."""
    swap = flows["client_is_b"] != 0
    a, b = (np.stack([flows[f"{side}_high"], flows[f"{side}_low"]], axis=1) for side in "ab")
    orig, resp = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    orig_p, resp_p = (np.where(swap, flows[x], flows[y]) for x, y in (("b_port", "a_port"), ("a_port", "b_port")))
    ids = community_ids(orig, resp, flows["proto"], orig_p, resp_p)
    names = [_names(ends, flows["first_ns"], identity) for ends in (orig, resp)]
    columns: dict[str, Any] = {
        "ts": flows["first_ns"],
        "id.orig_h": [address_text((h, low)) for h, low in orig.tolist()],
        "id.orig_p": orig_p.astype(np.int32),
        "id.resp_h": [address_text((h, low)) for h, low in resp.tolist()],
        "id.resp_p": resp_p.astype(np.int32),
        "proto": [PROTOCOLS.get(number, str(number)) for number in flows["proto"].tolist()],
        "duration": (flows["last_ns"] - flows["first_ns"]) / NS_PER_S,
        **{name: flows[counter] for name, counter in COUNTS.items()},
        "community_id": ids,
        "orig_pod": [name.pod for name in names[0]],
        "resp_pod": [name.pod for name in names[1]],
        "orig_service": [name.service for name in names[0]],
        "resp_service": [name.service for name in names[1]],
        "mediated": (flows["mediated"] != 0) | (flows["server_kind"] & np.uint64(SERVED) != 0),
        **_tunnel_columns(flows["tunnel"], tunnels),
    }
    return pa.table(columns, schema=SCHEMA)


def _tunnel_columns(numbers: NDArray[np.int64], tunnels: NDArray[Any]) -> dict[str, list[Any]]:
    """Kind, network identifier and outer pair of the overlay a connection was seen in, in its own direction; else null.

    `numbers` are those of `mimir.flows.table.CONNECTION`: twice the tunnel's, one more when its packet was an answer.
    """
    columns: dict[str, list[Any]] = {
        name: [None] * len(numbers) for name in ("tunnel_type", "tunnel_id", "tunnel_orig_h", "tunnel_resp_h")
    }
    for row in np.flatnonzero(numbers >= 0).tolist():
        src_high, src_low, dst_high, dst_low, identifier, kind = tunnels[numbers[row] >> 1].tolist()
        ends = address_text((src_high, src_low)), address_text((dst_high, dst_low))
        columns["tunnel_type"][row] = OVERLAY_NAMES[kind]
        columns["tunnel_id"][row] = identifier if identifier >= 0 else None
        columns["tunnel_orig_h"][row], columns["tunnel_resp_h"][row] = ends[::-1] if numbers[row] & 1 else ends
    return columns


def _names(ends: NDArray[np.uint64], when_ns: NDArray[np.int64], identity: Identity) -> list[Name]:
    """Names at the times of first packets."""
    owners: dict[tuple[int, int], tuple[list[int], list[Name]]] = {}
    out = []
    for (high, low), when in zip(ends.tolist(), when_ns.tolist(), strict=True):
        if (high, low) not in owners:
            since, names = zip(*identity.owners((high, low)), strict=True)
            owners[high, low] = list(since), list(names)
        since_ns, known = owners[high, low]
        out.append(known[max(bisect_right(since_ns, when) - 1, 0)])
    return out
