"""Captures → flows.parquet: one row per connection, under Zeek's column names, to join with what other tools saw."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimir.capture.batch import ICMP, ICMP6
from mimir.capture.reader import open_capture
from mimir.errors import MimirError
from mimir.files import atomic
from mimir.flows import table
from mimir.flows.addresses import address_text
from mimir.flows.community_id import community_ids
from mimir.flows.connections import ConnectionTracker
from mimir.flows.follow import REORDER_NS
from mimir.flows.identity import Identity, Name, load_identity
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
    ]
)
ENDS = ("a_high", "a_low", "b_high", "b_low", "a_port", "b_port", "proto", "client_is_b", "mediated", "server_kind")
PIECE = np.dtype(
    [("serial", "i8"), ("first_ns", "i8"), ("last_ns", "i8"), *((n, "i8") for n in COUNTS.values())]
    + [(name, "u8") for name in ENDS]
)
#: bits of `server_kind` that mean a service address or a node port
SERVED = table.SERVICE | table.NODE_PORT


class FlowRecorder(ConnectionTracker):
    """A tracker that remembers what each connection did before its rows become edges.

    Legs that are copies of another one are left out, as in edges. Holds about 150 bytes a connection.
    """

    def __init__(self, identity: Identity, timeout_s: float):
        super().__init__(identity, DAY_S, timeout_s)
        self._pieces: list[NDArray[Any]] = []

    def _settle(self, everything: bool) -> None:
        rows = self._table.rows[: self._table.meta[table.ROWS]]
        connections = self._table.connections[rows["connection"]]
        if not everything:  # the rule of mimir.flows.settle.is_settled
            settled = connections["born_ns"] + LEG_NS + REORDER_NS < self._table.meta[table.WATERMARK_NS]
            rows, connections = rows[settled], connections[settled]
        counted = connections["rule"] == table.NOT_A_COPY
        piece = np.zeros(int(counted.sum()), PIECE)
        for name in ("serial", "first_ns", "last_ns", *ENDS):
            piece[name] = connections[name][counted]
        for name in COUNTS.values():
            piece[name] = rows[name][counted]
        self._pieces.append(piece)
        super()._settle(everything)

    def flows(self) -> NDArray[Any]:
        """One PIECE for each connection, in order of first packets; call after `finish`."""
        pieces = np.concatenate(self._pieces) if self._pieces else np.zeros(0, PIECE)
        if not len(pieces):
            return pieces
        pieces = pieces[np.argsort(pieces["serial"], kind="stable")]
        heads = np.flatnonzero(np.r_[True, pieces["serial"][1:] != pieces["serial"][:-1]])
        out = pieces[heads]
        out["last_ns"] = np.maximum.reduceat(pieces["last_ns"], heads)
        out["mediated"] = np.maximum.reduceat(pieces["mediated"], heads)
        for name in COUNTS.values():
            out[name] = np.add.reduceat(pieces[name], heads)
        return out[np.argsort(out["first_ns"], kind="stable")]


def write_flows(captures: Sequence[Path], entities: Path | None, timeout_s: float, out: Path) -> int:
    """Write the connections of captures to `out` (SCHEMA); returns how many.

    `orig` is the client, by the rules for edges. `community_id` is null for ICMP, whose type and code are not kept.
    Raises CaptureError for what is no capture and MimirError for entities that cannot be understood.
    """
    try:
        identity = load_identity(entities)
    except (ValueError, OSError) as error:
        raise MimirError(f"the entities cannot be read: {error}") from error
    recorder = FlowRecorder(identity, timeout_s)
    for batch in open_capture(captures):
        recorder.add(batch)
    recorder.finish()
    flows = recorder.flows()
    with atomic(out) as temporary:
        pq.write_table(_table_of(flows, identity), temporary, compression="zstd")
    return len(flows)


def _table_of(flows: NDArray[Any], identity: Identity) -> pa.Table:
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
        "community_id": pa.array(ids, pa.string(), mask=np.isin(flows["proto"], (ICMP, ICMP6))),
        "orig_pod": [name.pod for name in names[0]],
        "resp_pod": [name.pod for name in names[1]],
        "orig_service": [name.service for name in names[0]],
        "resp_service": [name.service for name in names[1]],
        "mediated": (flows["mediated"] != 0) | (flows["server_kind"] & np.uint64(SERVED) != 0),
    }
    return pa.table(columns, schema=SCHEMA)


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
