"""What crosses the wire in every application: bytes sent are bytes received, and Wireshark finds nothing that was not put there."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir.capture.batch import ACK, FIN, SYN, TCP
from mimir.cluster.base import Recording
from tests.cluster.simulated_samples import CONF, make_recording, make_spec, option, read_packets

APPS = sorted(path.stem for path in (CONF / "app").glob("*.yaml") if option("app", path.stem)["services"])
NO_LOSS = {"retransmit_probability": 0.0}
MODULUS = 1 << 32
#: what Wireshark says of every connection that ends
ENDINGS = {"This frame initiates the connection closing", "This frame undergoes the connection closing"}

View = tuple[int, int, int, int, int]


def small(app: str, folder: Path, seconds: int = 120, **transport: float) -> Recording:
    changes = {"load": {"users": 6}, "cluster": {"transport": NO_LOSS | transport}}
    return make_recording(make_spec(changes, app=app, load="steady"), folder, seconds)


def notes(capture: Path) -> set[str]:
    """Wireshark's notes, warnings and errors about TCP, and every line about malformed packets."""
    command = ["tshark", "-r", str(capture), "-q", "-z", "expert,note"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split("TCP", 1)[1].strip() for line in lines if " TCP " in line} | {
        line for line in lines if "Malformed" in line
    }


def by_place(recording: Recording) -> list[Path]:
    """A capture for each interface: pods that talk address to address are seen twice with the same ports, and look like repetitions."""
    whole, files = recording.captures[0], []
    for place in np.unique(read_packets(recording)["ifindex"]).tolist():
        files.append(whole.with_name(f"{place}.pcap"))
        command = ["tshark", "-r", str(whole), "-Y", f"sll.ifindex == {place}", "-w", str(files[-1])]
        subprocess.run(command, check=True, capture_output=True)
    return files


def connections(p: dict[str, NDArray[Any]]) -> dict[View, list[int]]:
    """Rows of each connection at each place, keyed from its client's side; only those whose SYN was seen, up to the next SYN."""
    rows: dict[View, list[int]] = defaultdict(list)
    current: dict[View, View] = {}
    columns = zip(
        *(p[k].tolist() for k in ("ifindex", "src", "sport", "dst", "dport", "tcp_flags", "tcp_seq")), strict=True
    )
    for row, (place, src, sport, dst, dport, flags, seq) in enumerate(columns):
        if p["proto"][row] != TCP:
            continue
        key, back = (place, src, sport, dst, dport), (place, dst, dport, src, sport)
        if flags & SYN and not flags & ACK:
            current[key] = current[back] = (place, src, sport, dport, seq)
        if key in current:
            rows[current[key]].append(row)
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("app", APPS)
def test_what_one_end_sends_the_other_gets(app: str, tmp_path: Path) -> None:
    """Of each connection that ended, at each place: all bytes of both ends were acknowledged, and none twice."""
    p, ended = read_packets(small(app, tmp_path)), 0
    for (_, client, port, _, _), rows in connections(p).items():
        flags = p["tcp_flags"][rows]
        by_client = (p["src"][rows] == client) & (p["sport"][rows] == port)
        if not (np.any(flags[by_client] & FIN) and np.any(flags[~by_client] & FIN)):
            continue
        for sender in (by_client, ~by_client):
            first = int(p["tcp_seq"][rows][sender][0])
            payload = int(p["payload_bytes"][rows][sender].sum())
            heard = p["tcp_ack"][rows][~sender & ((flags & ACK) != 0)].astype(np.int64)
            assert int(((heard - first) % MODULUS).max()) == payload + 2  # SYN and FIN count as one each
        ended += 1
    assert ended > 50


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("app", APPS)
def test_wireshark_notes_nothing_but_connections_that_end(app: str, tmp_path: Path) -> None:
    recording, direct = small(app, tmp_path), option("app", app)["replication"] + option("app", app)["scrapes"]
    for capture in by_place(recording) if direct else recording.captures:
        assert notes(capture) <= ENDINGS
    assert set.union(*(notes(capture) for capture in recording.captures)) >= ENDINGS


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_notes_the_losses_that_were_put_there(tmp_path: Path) -> None:
    found = notes(small("sockshop", tmp_path, retransmit_probability=0.2).captures[0])
    assert any("retransmission" in note for note in found - ENDINGS)


def test_frames_hold_as_many_segments_as_offloading_lets_pass(tmp_path: Path) -> None:
    whole, single = (read_packets(small("sockshop", tmp_path / str(n), 60, offload_bytes=n)) for n in (5792, 0))
    assert int(whole["payload_bytes"].max()) == 4 * 1448
    assert int(single["payload_bytes"].max()) == 1448
    assert int(whole["payload_bytes"].sum()) == pytest.approx(int(single["payload_bytes"].sum()), rel=0.01)
    assert len(whole["ts_ns"]) < 0.95 * len(single["ts_ns"])


def test_users_far_away_acknowledge_late_across_the_end_of_a_slice(tmp_path: Path) -> None:
    """Their delayed acknowledgement falls into one slice, the connection is free again only in the next."""
    changes = {"load": {"users": 10, "mix": "load_test"},
               "cluster": {"slice_s": 1, "transport": NO_LOSS | {"client_rtt_ms": [150, 0.2]}}}  # fmt: skip
    p = read_packets(make_recording(make_spec(changes, load="steady"), tmp_path, 60))
    assert np.all(np.diff(p["ts_ns"]) >= 0)
