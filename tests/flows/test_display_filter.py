"""The filter of an alert selects the packets of its edge, both before and after a service address is rewritten."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mimir.flows.display_filter import addresses, display_filter
from mimir.flows.edges import EdgeKey
from mimir.flows.identity import Identity, from_events


def event(ts: float, kind: str, name: str, ip: str, what: str = "added", **more: str) -> dict[str, object]:
    return {"ts": ts, "event": what, "kind": kind, "namespace": "shop", "name": name, "ip": ip, **more}


def identity() -> Identity:
    return from_events(
        [
            event(0, "service", "user", "10.96.0.7"),
            event(0, "pod", "user-0", "10.244.0.5", workload="user"),
            event(5000, "pod", "user-0", "10.244.0.5", "deleted", workload="user"),
            event(6000, "pod", "user-1", "10.244.0.6", workload="user"),
            event(0, "pod", "db-0", "10.244.0.9", workload="db"),
            event(0, "external", "clients", "203.0.113.0/24"),
        ]
    )


def test_addresses_are_those_of_the_time() -> None:
    assert addresses(identity(), "user", 1000, 1060) == ["10.244.0.5", "10.96.0.7"]
    assert addresses(identity(), "user", 7000, 7060) == ["10.244.0.6", "10.96.0.7"]
    assert addresses(identity(), "outside:clients", 1000, 1060) == ["203.0.113.0/24"]
    assert addresses(identity(), "outside:198.51.100.77", 0, 1) == ["198.51.100.77"]
    assert addresses(identity(), "nobody", 0, 1) == []


def test_filter_names_both_ends_and_the_span() -> None:
    edge = EdgeKey("user", "db", 27017, "tcp")
    assert display_filter(identity(), edge, 1000, 1060) == (
        "ip.addr in {10.244.0.5, 10.96.0.7} && ip.addr in {10.244.0.9} && tcp.port == 27017 "
        "&& frame.time_epoch >= 1000 && frame.time_epoch < 1060"
    )
    assert "tcp.port" not in display_filter(identity(), EdgeKey("outside:clients", "user", 80, "tcp"), 1000, 1060)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_understands_the_filter(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    for edge in (EdgeKey("outside:clients", "user", 80, "tcp"), EdgeKey("user", "db", 53, "udp")):
        text = display_filter(identity(), edge, 1000, 1060)
        done = subprocess.run(["tshark", "-r", str(empty), "-Y", text], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
