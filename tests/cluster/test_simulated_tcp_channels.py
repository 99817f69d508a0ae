"""Channels over TCP in the simulated cluster: every byte of their dialogue crosses, connections open as they say."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest

from mimir.apps.graph import allowed_edges
from mimir.capture.batch import ACK, FIN, SYN
from mimir.cluster.base import RecordingOrder
from mimir.cluster.simulated.layout import NODE_IF, Layout
from mimir.cluster.simulated.leak import Leak
from mimir.cluster.simulated.tables import Rows
from mimir.exfiltration.channels import tcp
from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.ledger import LedgerEntry
from mimir.exfiltration.plan import plan_incidents
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import SHORT_LEAK, START_S, make_spec

SINK = int(IPv4Address("198.51.100.77"))
OPTIONS = ["http_post", "https", "smtp", "drip", "slow_headers"]


def acted(folder: Path, option: str, loss: float = 0.0) -> tuple[Rows, LedgerEntry, list[Hop]]:
    """Packets at the node, the ledger, and the hops of one incident."""
    changes = {"exfiltration": SHORT_LEAK, "cluster": {"transport": {"retransmit_probability": loss}}}
    spec = make_spec(changes, exfiltration=option)
    assert spec.cluster.name == "simulated"
    order = RecordingOrder("test", START_S, 300, (1, 2), True, folder)
    leak = Leak(spec, Layout(spec.app, spec.cluster), order, [], np.random.SeedSequence(1))
    rows = np.concatenate([piece for k in range(5) for piece in leak.slice((START_S + 60 * (k + 1)) * NS_PER_S)])
    (truth,) = leak.ledger()
    incident = plan_incidents(spec.exfiltration, START_S, 300, (1, 2))[0]
    hops = tcp.hops(spec.exfiltration, incident, allowed_edges(spec.app))
    return rows[rows["ifindex"] == NODE_IF], truth, hops


def dialogue(hop: Hop, side: int) -> int:
    """Bytes one side sends in all, as the channel says."""
    count = len(hop.request_bytes)
    connections = -(-count // hop.per_connection) if hop.per_connection else 1
    later = hop.reopening or hop.opening
    extra = sum(e[side] for e in hop.opening) + (connections - 1) * sum(e[side] for e in later)
    extra += connections * sum(e[side] for e in hop.closing) + count * sum(e[side] for e in hop.before)
    return extra + int((hop.request_bytes, hop.response_bytes)[side].sum())


@pytest.mark.parametrize("option", OPTIONS)
def test_each_side_sends_what_the_channel_says(tmp_path: Path, option: str) -> None:
    rows, truth, (hop,) = acted(tmp_path, option)
    assert truth.bytes_delivered == truth.bytes_intended
    assert truth.sha256_received == truth.sha256_sent
    out, back = rows[rows["dst"] == SINK], rows[rows["src"] == SINK]
    assert int(out["payload"].sum()) == dialogue(hop, 0)
    assert int(back["payload"].sum()) == dialogue(hop, 1)
    connections = -(-len(hop.request_bytes) // hop.per_connection) if hop.per_connection else 1
    assert int((out["flags"] == SYN).sum()) == connections
    assert int((out["flags"] == FIN | ACK).sum()) == connections


@pytest.mark.parametrize("option", OPTIONS)
def test_sequence_numbers_have_no_gap_and_everything_is_acknowledged(tmp_path: Path, option: str) -> None:
    rows, _, _ = acted(tmp_path, option)
    rows = rows[np.argsort(rows["ts"], kind="stable")]
    ports = np.where(rows["dst"] == SINK, rows["sport"], rows["dport"])
    for port in np.unique(ports):
        expected: dict[int, int] = {}
        acknowledged: dict[int, int] = {}
        for p in rows[ports == port]:
            side, flags = int(p["src"] == SINK), int(p["flags"])
            assert expected.get(side, int(p["seq"])) == int(p["seq"])
            step = int(p["payload"]) + (1 if flags & (SYN | FIN) else 0)
            expected[side] = (int(p["seq"]) + step) & 0xFFFFFFFF
            if flags & ACK:
                assert (expected[1 - side] - int(p["ack"])) & 0xFFFFFFFF < 1 << 20  # nothing unsent
                acknowledged[1 - side] = int(p["ack"])
        assert acknowledged == expected


def test_stuffed_pages_go_to_an_ordinary_user(tmp_path: Path) -> None:
    rows, truth, hops = acted(tmp_path, "response_stuffing")
    assert truth.path_class == "response_stuffing"
    assert truth.sha256_received == truth.sha256_sent
    spec = make_spec({}, exfiltration="response_stuffing")
    assert spec.cluster.name == "simulated"
    user = Layout(spec.app, spec.cluster).client_ip(0)
    assert int(rows["payload"][rows["dst"] == user].sum()) == dialogue(hops[-1], 1)
    assert int(rows["payload"][rows["src"] == user].sum()) == dialogue(hops[-1], 0)
    assert not (rows["src"] == SINK).any()


def test_the_same_seed_gives_the_same_packets(tmp_path: Path) -> None:
    first, second = (acted(tmp_path, "https", loss=0.01)[0] for _ in range(2))
    assert len(first) == len(second) > 0
    names = [name for name in first.dtype.names or () if name != "_"]  # padding holds whatever memory held
    assert all(np.array_equal(first[name], second[name]) for name in names)
