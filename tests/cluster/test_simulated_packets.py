"""What a simulated capture must have in common with a real one, packet by packet."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter, defaultdict
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir.capture.batch import ACK, FIN, FROM_US, SYN, TCP, TO_US, UDP
from mimir.cluster.base import Recording
from mimir.cluster.simulated.layout import NODE_IF
from mimir.files import read_jsonl
from tests.cluster.simulated_samples import START_S, chosen, make_recording, make_spec, read_packets

Packets = dict[str, NDArray[Any]]
MODULUS = 1 << 32


def number(address: str) -> int:
    return int(IPv4Address(address))


def entities(recording: Recording) -> dict[str, dict[str, Any]]:
    return {f"{line['kind']}/{line['name']}": line for line in read_jsonl(recording.entities)}


def directions(packets: Packets) -> dict[tuple[int, ...], NDArray[np.intp]]:
    """Rows of each direction of each connection at each place."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    keys = zip(*(packets[k].tolist() for k in ("ifindex", "src", "sport", "dst", "dport")), strict=True)
    for row, (key, proto) in enumerate(zip(keys, packets["proto"].tolist(), strict=True)):
        if proto == TCP:
            groups[key].append(row)
    return {key: np.array(rows) for key, rows in groups.items()}


def test_packets_are_in_order_of_time_and_inside_the_recording(benign_packets: Packets) -> None:
    times = benign_packets["ts_ns"]
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= START_S * 10**9
    assert times[-1] < (START_S + 300) * 10**9
    assert np.bincount((times // 10**9 - START_S) // 10).min() > 500  # no silent ten seconds


def test_counts_agree_with_the_file(benign: Recording, benign_packets: Packets) -> None:
    assert benign.counts["packets"] == len(benign_packets["ts_ns"])
    assert benign.counts["bytes"] == benign.captures[0].stat().st_size


def test_sequence_numbers_account_for_every_byte(benign_packets: Packets) -> None:
    """In each direction at each place the next sequence number is the last plus the payload (SYN and FIN count one)."""
    p, whole = benign_packets, 0
    for rows in directions(p).values():
        flags, seq = p["tcp_flags"][rows], p["tcp_seq"][rows].astype(np.int64)
        starts = np.flatnonzero(flags & SYN)
        for begin, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            step = p["payload_bytes"][rows].astype(np.int64) + ((flags & (SYN | FIN)) != 0)
            span = slice(begin, end)
            assert np.array_equal(seq[span][1:], (seq[span] + step[span])[:-1] % MODULUS)
            whole += 1
    assert whole > 2000


def test_nothing_is_acknowledged_before_it_was_seen(benign_packets: Packets) -> None:
    """At each place an acknowledgement never runs ahead of what the other end has sent there."""
    p = benign_packets
    groups = directions(p)
    checked = 0
    for (place, src, sport, dst, dport), rows in groups.items():
        back = groups.get((place, dst, dport, src, sport))
        if back is None or not np.any(p["tcp_flags"][rows] & SYN):
            continue
        ends = (
            p["tcp_seq"][back].astype(np.int64) + p["payload_bytes"][back] + ((p["tcp_flags"][back] & (SYN | FIN)) != 0)
        )
        first = int(p["tcp_seq"][back][0])
        sent = np.maximum.accumulate((ends - first) % MODULUS)
        acks = rows[(p["tcp_flags"][rows] & ACK) != 0]
        before = np.searchsorted(p["ts_ns"][back], p["ts_ns"][acks], side="right") - 1
        assert np.all(before >= 0)
        assert np.all((p["tcp_ack"][acks].astype(np.int64) - first) % MODULUS <= sent[before])
        checked += 1
    assert checked > 1000


def test_every_packet_to_a_service_has_its_copy_after_the_address_translation(
    benign: Recording, benign_packets: Packets
) -> None:
    known = entities(benign)
    service = number(known["service/user"]["ip"])
    pods = {number(e["ip"]): e for e in known.values() if e["kind"] == "pod" and e["workload"] == "user"}
    p = benign_packets
    first = chosen(p, (p["dst"] == service) & (p["proto"] == TCP))
    assert set(first["direction"].tolist()) == {TO_US}
    probes = p["src"] == number(known["node/node-0"]["ip"])
    second = chosen(p, np.isin(p["dst"], list(pods)) & (p["dport"] == 80) & ~probes)
    assert set(second["direction"].tolist()) == {FROM_US}
    assert Counter(_same(first)) == Counter(_same(second))
    delay = _times(second) - _times(first)
    assert delay.min() > 0
    assert delay.max() < 13_000
    back = chosen(p, (p["src"] == service) & (p["proto"] == TCP))
    from_pod = chosen(
        p, np.isin(p["src"], list(pods)) & (p["sport"] == 80) & (p["dst"] != number(known["node/node-0"]["ip"]))
    )
    assert set(back["direction"].tolist()) == {FROM_US}
    assert set(from_pod["direction"].tolist()) == {TO_US}
    assert Counter(_same(back)) == Counter(_same(from_pod))


def test_users_come_through_the_node_port_with_their_own_address(benign: Recording, benign_packets: Packets) -> None:
    known, p = entities(benign), benign_packets
    node = number(known["node/node-0"]["ip"])
    at_node = chosen(p, (p["dst"] == node) & (p["dport"] == 30001))
    assert set(at_node["ifindex"].tolist()) == {NODE_IF}
    at_pod = chosen(p, (p["dport"] == 8079) & (p["src"] >> np.uint64(8) == number("203.0.113.0") >> 8))
    assert NODE_IF not in set(at_pod["ifindex"].tolist())
    assert Counter(_same(at_node)) == Counter(_same(at_pod))
    assert len(set(at_node["src"].tolist())) > 20


def test_probes_are_seen_once(benign: Recording, benign_packets: Packets) -> None:
    known, p = entities(benign), benign_packets
    node, pod = number(known["node/node-0"]["ip"]), number(known["pod/user-0"]["ip"])
    probes = chosen(p, (p["src"] == node) & (p["dst"] == pod) & ((p["tcp_flags"] & SYN) != 0))
    assert len(probes["ts_ns"]) == pytest.approx(300 / 1.5, abs=4)
    assert set(probes["direction"].tolist()) == {FROM_US}


def test_questions_are_asked_as_a_resolver_library_asks_them(benign: Recording, benign_packets: Packets) -> None:
    known, p = entities(benign), benign_packets
    service = number(known["service/kube-dns"]["ip"])
    asked = [_name(m) for m in p["message"][(p["dst"] == service) & (p["proto"] == UDP)]]
    count = Counter(asked)
    assert count["user.sock-shop.svc.cluster.local"] > 100
    assert count["user.sock-shop.svc.cluster.local"] % 2 == 0  # A and AAAA
    tried = [name for name in count if name.startswith("zipkin.jaeger.svc.cluster.local")]
    assert sorted(tried) == sorted(
        ["zipkin.jaeger.svc.cluster.local"]
        + [
            f"zipkin.jaeger.svc.cluster.local.{d}"
            for d in ("sock-shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
        ]
    )
    answers = p["message"][(p["src"] == service) & (p["proto"] == UDP)]
    codes = {_name(m): m[3] & 15 for m in answers}
    assert {codes[name] for name in tried} == {3}
    assert codes["user.sock-shop.svc.cluster.local"] == 0
    assert len(answers) == len(asked)


def test_only_outside_names_leave_the_cluster(benign: Recording, benign_packets: Packets) -> None:
    known, p = entities(benign), benign_packets
    resolver = number(known["external/resolver"]["ip"])
    out = chosen(p, p["dst"] == resolver)
    assert {_name(m) for m in out["message"]} <= {"telemetry.example.net", "updates.example.com"}
    at_node = out["ifindex"] == NODE_IF
    assert set(out["src"][at_node].tolist()) == {number(known["node/node-0"]["ip"])}
    dns_pods = {number(e["ip"]) for e in known.values() if e["kind"] == "pod" and e["workload"] == "kube-dns"}
    assert set(out["src"][~at_node].tolist()) <= dns_pods
    assert at_node.sum() * 2 == len(at_node)


def test_every_address_is_known(benign: Recording, benign_packets: Packets) -> None:
    known = {number(e["ip"]) for e in entities(benign).values() if "/" not in e["ip"]}
    for key in ("src", "dst"):
        strangers = {a for a in benign_packets[key].tolist() if a not in known}
        assert {a >> 8 for a in strangers} <= {number("203.0.113.0") >> 8}


def test_losses_show_as_retransmissions_and_only_there(tmp_path: Any) -> None:
    changes = {"load": {"users": 20}, "cluster": {"transport": {"retransmit_probability": 0.2}}}
    recording = make_recording(make_spec(changes), tmp_path, 120)
    p, again = read_packets(recording), 0
    for rows in directions(p).values():
        data = rows[p["payload_bytes"][rows] > 0]
        seq = p["tcp_seq"][data]
        repeated = np.flatnonzero(np.isin(seq, [s for s, n in Counter(seq.tolist()).items() if n > 1]))
        for i in repeated[1:]:
            if seq[i] == seq[i - 1]:
                again += 1
                assert p["ts_ns"][data[i]] - p["ts_ns"][data[i - 1]] == pytest.approx(205e6, abs=1e5)
                assert p["ip_id"][data[i]] != p["ip_id"][data[i - 1]]
    assert again > 50


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_has_nothing_to_complain_about(leaking: dict[str, Recording]) -> None:
    for recording in leaking.values():
        report = _run("tshark", "-r", str(recording.captures[0]), "-q", "-z", "expert,note")
        notes = {line.split("TCP", 1)[1].strip() for line in report.splitlines() if " TCP " in line}
        assert notes == {"This frame initiates the connection closing", "This frame undergoes the connection closing"}
        assert "Malformed" not in report
        assert "Warn" not in report
        assert "Errors" not in report


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_checksums_are_right(benign: Recording) -> None:
    text = _run("tcpdump", "-nn", "-vv", "-c", "3000", "-r", str(benign.captures[0]))
    assert text.count("(correct)") > 1000  # only what was captured whole is checked
    assert text.count("[udp sum ok]") > 50
    assert "incorrect" not in text
    assert "bad udp cksum" not in text


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _same(packets: Packets) -> list[tuple[int, ...]]:
    """What address translation leaves alone."""
    return list(
        zip(*(packets[k].tolist() for k in ("ip_id", "tcp_seq", "tcp_ack", "tcp_flags", "payload_bytes")), strict=True)
    )


def _times(packets: Packets) -> NDArray[np.int64]:
    order = sorted(range(len(packets["ts_ns"])), key=lambda i: _same_at(packets, i))
    return packets["ts_ns"][order]


def _same_at(packets: Packets, i: int) -> tuple[int, ...]:
    return tuple(int(packets[k][i]) for k in ("ip_id", "tcp_seq", "tcp_ack", "tcp_flags", "payload_bytes", "ts_ns"))


def _name(message: bytes) -> str:
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels)
