"""Benign triggers that move data: shape on the wire, bytes in the ledger, everything else stays as it was."""

from __future__ import annotations

import hashlib
import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest

from mimir.apps.change import TRANSFER_KINDS
from mimir.capture.batch import SYN
from mimir.cluster.base import Recording
from mimir.cluster.simulated import SimulatedCluster
from mimir.exfiltration.ledger import LedgerEntry, read_ledger
from mimir.files import read_jsonl
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import START_S, make_recording, make_spec, read_packets

SHOP = [kind for kind in TRANSFER_KINDS if kind != "state_transfer"]
APPS = ("sockshop", "wordpress", "hipsterstore", "robotshop", "bookinfo", "trainticket")


def asked(kinds: list[str], app: str = "sockshop") -> Any:
    return make_spec({"load": {"users": 1, "triggers": kinds, "trigger_separate": False}}, app=app)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_recording(asked(SHOP), tmp_path_factory.mktemp("shop"), 2800)


@pytest.fixture(scope="module")
def packets(shop: Recording) -> dict[str, Any]:
    return read_packets(shop)


def entry_of(recording: Recording, kind: str) -> LedgerEntry:
    return next(e for e in read_ledger(recording.truth) if e.path_class == f"benign:{kind}")


def during(p: dict[str, Any], entry: LedgerEntry) -> np.ndarray[Any, np.dtype[np.bool_]]:
    since, until = int((entry.start - 1) * NS_PER_S), int((entry.end + 1) * NS_PER_S)
    return np.asarray((p["ts_ns"] >= since) & (p["ts_ns"] < until))


#: kind, its address outside, whether the data goes there, source ports must be seen at most so often on the node
OUTSIDE = [("backup_outside", "192.0.2.92", True), ("bulk_export", "192.0.2.93", True),
           ("certificate_renewal", "192.0.2.94", False), ("image_update_check", "192.0.2.90", False),
           ("log_shipping", "192.0.2.91", True)]  # fmt: skip


@pytest.mark.parametrize(("kind", "address", "there"), OUTSIDE)
def test_the_node_sees_each_byte_of_a_transfer_once(
    shop: Recording, packets: dict[str, Any], kind: str, address: str, there: bool
) -> None:
    entry = entry_of(shop, kind)
    assert entry.bytes_delivered == entry.bytes_intended > 10_000
    number = int(IPv4Address(address))
    end = packets["dst" if there else "src"] == number
    at_node = packets["ifindex"] == 2
    mine = np.flatnonzero(end & at_node & during(packets, entry))
    once = {(int(packets["sport"][i]), int(packets["dport"][i]), int(packets["tcp_seq"][i])): i for i in mine}
    assert sum(int(packets["payload_bytes"][i]) for i in once.values()) == entry.bytes_delivered
    everywhere = (packets["src"] == number) | (packets["dst"] == number)
    assert not (everywhere & ~during(packets, entry)).any()


@pytest.mark.parametrize("kind", ["backup_store", "cron_job"])
def test_a_dump_comes_from_the_store_on_one_connection(shop: Recording, packets: dict[str, Any], kind: str) -> None:
    entry = entry_of(shop, kind)
    assert entry.bytes_delivered == entry.bytes_intended > 500_000
    chosen = during(packets, entry) & (packets["sport"] == 27017)
    sums: dict[tuple[int, int, int], int] = {}
    keys = zip(*(packets[k][chosen].tolist() for k in ("ifindex", "dst", "dport", "payload_bytes")), strict=True)
    for ifindex, dst, dport, payload in keys:
        sums[ifindex, dst, dport] = sums.get((ifindex, dst, dport), 0) + payload
    assert max(sums.values()) >= entry.bytes_delivered
    assert entry.pods[1].endswith("-db-0")


def test_a_retry_storm_opens_a_connection_a_call(shop: Recording, packets: dict[str, Any]) -> None:
    entry = entry_of(shop, "retry_storm")
    syn = (packets["tcp_flags"] & SYN > 0) & (packets["tcp_flags"] & 16 == 0) & (packets["dport"] == 80)
    calls = int((syn & during(packets, entry)).sum()) / 2  # seen at two places
    assert calls > 0.8 * entry.bytes_delivered / 170


def test_a_member_takes_a_whole_copy_and_then_what_it_missed(tmp_path: Path) -> None:
    recording = make_recording(asked(["state_transfer"], "wordpress"), tmp_path, 600)
    p, entry = read_packets(recording), entry_of(recording, "state_transfer")
    times, sums = [], []
    for port in (4444, 4568):
        mine = p["dport"] == port
        assert len(set(zip(p["src"][mine].tolist(), p["dst"][mine].tolist(), strict=True))) == 1
        sums.append(int(p["payload_bytes"][mine & (p["direction"] == p["direction"][np.flatnonzero(mine)[0]])].sum()))
        times.append((p["ts_ns"][mine].min(), p["ts_ns"][mine].max()))
    assert times[0][1] < times[1][0]
    assert entry.bytes_delivered == entry.bytes_intended > 20e6
    assert sum(sums) >= entry.bytes_delivered
    assert set(entry.path) == {"pxc"}
    assert len(entry.pods[0].split(",")) == 2


def test_the_member_that_takes_a_copy_is_a_new_pod_and_serves_afterwards(tmp_path: Path) -> None:
    recording = make_recording(asked(["state_transfer"], "wordpress"), tmp_path, 600)
    entry = entry_of(recording, "state_transfer")
    pods = [e for e in read_jsonl(recording.entities) if e["kind"] == "pod"]
    (new,) = [e for e in pods if e["ts"] > START_S]
    donor, joined = entry.pods[0].split(",")
    assert (new["workload"], new["name"], new["event"]) == ("pxc", joined, "added")
    assert new["ip"] not in {e["ip"] for e in pods if e["ts"] == START_S}
    assert donor in {e["name"] for e in pods if e["ts"] == START_S}
    p = read_packets(recording)
    number, ts = int(IPv4Address(new["ip"])), p["ts_ns"] / NS_PER_S
    mine = (p["src"] == number) | (p["dst"] == number)
    assert ts[mine].min() >= new["ts"]
    copied = mine & np.isin(p["dport"], (4444, 4568))
    assert (p["dst"][copied] == number).all()  # the donor connects to the new member
    assert ts[copied].min() > new["ts"] + 1  # its process starts first
    for port in (3306, 4567):  # queries come and the group replicates to it only when it has everything
        later = mine & ((p["dport"] == port) | (p["sport"] == port))
        assert later.sum() > 20
        assert ts[later].min() >= entry.end - 1e-6
    partners = set(p["src"][mine & (p["dport"] == 4567)].tolist()) | set(p["dst"][mine & (p["dport"] == 4567)].tolist())
    assert len(partners - {number}) == len([e for e in pods if e["workload"] == "pxc"]) - 1


def test_a_cache_that_fills_up_is_read_for_less_and_less(shop: Recording, packets: dict[str, Any]) -> None:
    entry = entry_of(shop, "cache_cold_start")
    assert entry.bytes_delivered == entry.bytes_intended > 200_000
    store = [e["ip"] for e in read_jsonl(shop.entities) if e.get("workload") == "catalogue-db" and e["kind"] == "pod"]
    from_store = during(packets, entry) & (packets["src"] == int(IPv4Address(store[0]))) & (packets["ifindex"] > 2)
    ts = packets["ts_ns"][from_store] / NS_PER_S
    third = (entry.end - entry.start) / 3
    counts = [int(((ts >= entry.start + k * third) & (ts < entry.start + (k + 1) * third)).sum()) for k in range(3)]
    assert counts[0] > 1.7 * counts[1] > 1.7 * 1.7 * counts[2] > 0


def keys_of(p: dict[str, Any]) -> set[tuple[int, ...]]:
    columns = ("ts_ns", "ifindex", "src", "dst", "sport", "dport", "payload_bytes")
    return set(zip(*(p[c].tolist() for c in columns), strict=True))


def test_other_packets_stay_as_they_are_and_a_seed_decides_everything(tmp_path: Path) -> None:
    kinds = ["log_shipping", "image_update_check"]
    runs = [make_recording(asked(k), tmp_path / str(i), 500) for i, k in enumerate([[], kinds, kinds])]
    without, with_them = keys_of(read_packets(runs[0])), keys_of(read_packets(runs[1]))
    assert len(without - with_them) <= 2 * len(without) // 10_000  # two packets at one time are moved apart
    assert len(with_them) > len(without)
    one, two = ([r.captures[0], r.truth, r.timeline] for r in runs[1:])
    assert [hashlib.sha256(f.read_bytes()).digest() for f in one] == [
        hashlib.sha256(f.read_bytes()).digest() for f in two
    ]


@pytest.mark.slow
@pytest.mark.skipif(not which("tshark"), reason="needs tshark")
def test_tshark_finds_nothing_wrong_with_a_transfer(shop: Recording) -> None:
    which_ones = "tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment || _ws.malformed"
    command = ["tshark", "-r", str(shop.captures[0]), "-Y", f"ip.addr==192.0.2.88/29 && ({which_ones})"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.parametrize("app", APPS)
def test_every_application_defines_sound_triggers(app: str) -> None:
    spec = make_spec({}, app=app)
    kinds = list(spec.app.triggers)
    assert {"scale_out", "rolling_update", "pod_kill", "image_update_check", "log_shipping"} <= set(kinds)
    assert not SimulatedCluster(make_spec({"load": {"triggers": kinds}}, app=app)).problems()


PROBLEMS = [
    ({"port": 0}, "port", "is no port"), ({"client": "user-dv"}, "client", "did you mean 'user-db'?"),
    ({"address": None}, "address", "an address where an end is outside"), ({"address": "x"}, "address", "no IPv4"),
    ({"total_bytes": [0, 1]}, "total_bytes", "0 < low"), ({"chunk_bytes": [0, 1]}, "chunk_bytes", "median ≥ 1"),
    ({"bytes_per_s": 0}, "bytes_per_s", "> 0"), ({"client": "node", "server": "user"}, "transfers[0]", "node → outside"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "says"), PROBLEMS)
def test_problems_of_a_transfer_name_the_key(changes: dict[str, Any], where: str, says: str) -> None:
    usual = {"client": "user-db", "server": "outside", "address": "192.0.2.92", "host": None, "port": 443, "pods": "one",
             "connection": "shared", "direction": "up", "total_bytes": [10, 20], "chunk_bytes": [5, 0],
             "other_bytes": [1, 0], "bytes_per_s": 10}  # fmt: skip
    broken = {"app": {"triggers": {"backup_outside": {"transfers": [{**usual, **changes}]}}}}
    found = "\n".join(str(p) for p in SimulatedCluster(make_spec(broken)).problems())
    assert where in found
    assert says in found


def test_recordings_begin_before_their_triggers(shop: Recording) -> None:
    assert min(e.start for e in read_ledger(shop.truth)) > START_S
