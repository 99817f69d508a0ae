"""The testbed itself: namespaces, service addresses, DNS, capture, and that nothing of it stays."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mimir.capture import open_capture
from mimir.cluster.base import RecordingOrder
from mimir.cluster.netns.requirements import child_environment, tool
from mimir.exfiltration.ledger import read_ledger
from mimir.spec.build import from_plain, to_dict
from tests.support.netns import SHORT, children, inside, lines, need_namespaces, network_namespaces, record, runs
from tests.support.specs import plain

pytestmark = pytest.mark.netns
MORE = ["load.users=20", "exfiltration.incident_duration_s=30"]
_TESTBED = """
from tests.support.specs import spec
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.network import build
spec = spec(["cluster=netns", *sys.argv[1:]])
layout = Layout(spec.app, spec.cluster)
network = build(layout)
"""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    need_namespaces()


@pytest.mark.slow
def test_fifty_pods_come_up_and_reach_each_other() -> None:
    code = """
import socket
first, last = layout.pods[0], layout.pods[-1]
with network.pods[last.name]:
    server = socket.create_server((last.ip, 5000))
with network.pods[first.name]:
    client = socket.create_connection((last.ip, 5000), 5)
links = len(os.listdir("/sys/class/net")) if False else len(socket.if_nameindex())
peer = server.accept()[1][0]
with network.pods[first.name]:
    inner = [name for _, name in socket.if_nameindex()]
    six = open("/proc/net/if_inet6").read() if os.path.exists("/proc/net/if_inet6") else ""
print(json.dumps([len(layout.pods), peer, first.ip, links, inner, six]))
"""
    pods, peer, first_ip, links, inner, six = inside(
        _TESTBED + code, "app.services.user.replicas=20", "app.services.front-end.replicas=13"
    )
    assert pods == 52
    assert peer == first_ip
    assert links == pods + 2  # a veth for each, the uplink, lo
    assert sorted(inner) == ["eth0", "lo"]
    assert six == ""


def test_service_addresses_spread_connections_and_what_leaves_has_the_address_of_the_node() -> None:
    code = """
import select, socket, collections
servers, hits = {}, collections.Counter()
for pod in layout.pods_of("user"):
    with network.pods[pod.name]:
        servers[socket.create_server(("0.0.0.0", 80), backlog=500)] = pod.name
client = layout.pods_of("front-end")[0]
seen = set()
for _ in range(300):
    with network.pods[client.name]:
        line = socket.create_connection((layout.service_ip["user"], 80), 5)
    ready = select.select(list(servers), [], [], 5)[0][0]
    seen.add(ready.accept()[1][0])
    hits[servers[ready]] += 1
    line.close()
with network.outside:
    sink = socket.create_server((spec.cluster.addresses.sink, 443))
with network.pods[client.name]:
    socket.create_connection((spec.cluster.addresses.sink, 443), 5)
print(json.dumps([hits, sorted(seen), client.ip, sink.accept()[1][0]]))
"""
    hits, seen, client_ip, beyond = inside(_TESTBED + code)
    assert len(hits) == 3
    assert all(60 <= count <= 140 for count in hits.values())  # 100 each, σ = 8
    assert seen == [client_ip]  # within the cluster addresses are kept
    assert beyond == "10.0.0.10"


def test_names_are_answered_in_the_pods() -> None:
    code = """
import asyncio, socket, struct
from mimir.cluster.base import RecordingOrder
from mimir.cluster.netns.hosts import Hosts
from mimir.cluster.netns.session import Session
from mimir.exfiltration.dns_messages import query_message
from pathlib import Path

async def main():
    session = Session(spec, RecordingOrder("fit", 0, 60, (1, 0), False, Path(".")))
    hosts = Hosts(layout, network)
    await session._dns(hosts)
    pod = hosts.of("front-end")[0]
    found = [await pod.stub.address(name) for name in ("user", "user.sock-shop.svc.cluster.local", "telemetry.example.net")]
    missing = await pod.stub.address("nobody.sock-shop.svc.cluster.local.")
    reader, writer = await pod.connect(pod.dns_service, 53)
    message = query_message(b"carts.sock-shop.svc.cluster.local", "A", 5)
    writer.write(struct.pack("!H", len(message)) + message)
    size = struct.unpack("!H", await reader.readexactly(2))[0]
    return found, missing, (await reader.readexactly(size))[-4:].hex()

found, missing, over_tcp = asyncio.run(main())
print(json.dumps([found, missing, over_tcp, layout.service_ip["user"], socket.inet_aton(layout.service_ip["carts"]).hex()]))
"""
    found, missing, over_tcp, user, carts = inside(_TESTBED + code)
    assert found[:2] == [user, user]
    assert found[2].startswith("192.0.2.")
    assert missing is None
    assert over_tcp == carts


@pytest.mark.parametrize(("offload_bytes", "largest"), [(0, 1500), (5792, 5844)])
def test_every_byte_that_is_sent_is_in_the_capture(tmp_path: Path, offload_bytes: int, largest: int) -> None:
    code = """
import io, socket, threading
from mimir.cluster.netns.recorder import Recorder
from mimir.cluster.netns.ring import Ring
ring = Ring(320, 8 << 20)
user, client = layout.pods_of("user-db")[0], layout.pods_of("user")[0]
with network.pods[user.name]:
    server = socket.create_server(("0.0.0.0", 27017))
with network.pods[client.name]:
    line = socket.create_connection((layout.service_ip["user-db"], 27017), 5)
peer = server.accept()[0]
threading.Thread(target=lambda: (line.sendall(b"x" * 123457), line.shutdown(socket.SHUT_WR))).start()
got = 0
while data := peer.recv(65536):
    got += len(data)
peer.sendall(b"y" * 77777); peer.close()
back = 0
while data := line.recv(65536):
    back += len(data)
line.close()
with open(sys.argv.pop(), "wb") as out:
    recorder = Recorder(out, 320, "none")
    while recorder.drain(ring, 300):
        pass
    counts = recorder.counts()
print(json.dumps([got, back, ring.drops(), counts, user.ip, client.ip, layout.service_ip["user-db"]]))
"""
    path = tmp_path / "a.pcap"
    code = "path = sys.argv.pop()\n" + _TESTBED + code.replace("sys.argv.pop()", "path")
    got, back, drops, counts, server, client, service = inside(
        code, f"cluster.offload_bytes={offload_bytes}", str(path)
    )
    sent = {}
    for batch in open_capture([path]):
        from mimir.flows.addresses import address_text

        assert int(batch.ip_bytes.max()) == largest  # so much is glued together by offloading, and no more
        for src, dst, size, seq in zip(
            batch.src.tolist(), batch.dst.tolist(), batch.payload_bytes, batch.tcp_seq, strict=True
        ):
            if size:
                sent.setdefault((address_text(tuple(src)), address_text(tuple(dst))), {})[int(seq)] = int(size)
    totals = {pair: sum(sizes.values()) for pair, sizes in sent.items()}
    assert (got, back, drops) == (123457, 77777, 0)
    assert totals == {
        (client, service): 123457, (client, server): 123457, (server, client): 77777, (service, client): 77777,
    }  # fmt: skip
    assert counts["packets"] > (250 if offload_bytes == 0 else 60)


def test_the_calls_of_a_request_and_a_pair_of_replicas_each_have_one_connection() -> None:
    code = """
import asyncio
import numpy as np
from mimir.cluster.netns.application import Application
from mimir.cluster.netns.dns import KubeDns, serve
from mimir.cluster.netns.hosts import Host, Hosts
from mimir.cluster.netns.layout import DNS_PORT, KUBE_DNS
from mimir.cluster.netns.tasks import Tasks
opened = []
connect = Host.connect
async def counted(self, address, port, **more):
    opened.append(port)
    return await connect(self, address, port, **more)
Host.connect = counted
async def play():
    tasks, hosts = Tasks(), Hosts(layout, network)
    for host in hosts.of(KUBE_DNS):
        server = KubeDns(layout, None, host.pod.name, None)
        await serve(server.answer, host.bound(2, DNS_PORT), host.bound(1, DNS_PORT), tasks)
    application = Application(layout, hosts, np.random.default_rng(1), tasks)
    await application.serve()
    before, told = len(opened), opened.count(4567)
    page = application.trees.endpoints.index("wordpress:post_create")
    for host in hosts.of("wordpress"):
        await application._work(host, page, 3000)
    await asyncio.sleep(0.05)
    await tasks.stop()
    return told, opened[before:], application.requests, [str(tasks.defect), dict(tasks.broken)]
print(json.dumps(asyncio.run(play())))
"""
    told, opened, requests, wrong = inside(_TESTBED + code, "app=wordpress")
    assert told == 3  # of three members
    assert opened == [3306] * 4  # one a page, however many calls it makes and whoever speaks first
    assert requests > 4 * 20
    assert wrong == ["None", {}]


def make_order(folder: Path, duration_s: int, name: str = "test") -> RecordingOrder:
    folder.mkdir(exist_ok=True)
    return RecordingOrder(name, 0, duration_s, (1, 2), name == "test", folder)


def outside_state() -> tuple[str, str]:
    """Links and nftables of the machine's own network."""
    ip, nft = tool("ip"), tool("nft")
    assert ip
    assert nft
    links = subprocess.run([ip, "-o", "link"], capture_output=True, text=True, check=True).stdout
    rules = subprocess.run([nft, "list", "tables"], capture_output=True, text=True, check=False).stdout
    return "\n".join(sorted(line.split(":")[1] for line in links.splitlines())), rules


@pytest.mark.parametrize("victim", [pytest.param("testbed", marks=pytest.mark.slow), "owner"])
def test_nothing_stays_when_it_is_killed(victim: str, tmp_path: Path) -> None:
    spec = from_plain(plain([*SHORT, *MORE]), check=False)
    order = asdict(make_order(tmp_path / "out", 60, "fit")) | {"folder": str(tmp_path / "out")}
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"spec": to_dict(spec), "order": order}) + "\n", encoding="utf-8")
    machine = outside_state()
    owner = (
        "import subprocess, sys\n"
        "process = subprocess.Popen([sys.executable, '-m', 'mimir.cluster.netns.testbed'], stdin=open(sys.argv[1]))\n"
        "print(process.pid, flush=True)\nprocess.wait()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", owner, str(job)], stdout=subprocess.PIPE, text=True, env=child_environment()
    )
    try:
        assert process.stdout
        testbed = int(process.stdout.readline())
        assert "progress" in process.stdout.readline()
        alive = {testbed} | children(testbed)
        made = network_namespaces(alive) - network_namespaces([os.getpid()])
        assert len(made) >= 26  # pods, outside, node
        assert len(alive) >= 2  # the testbed and its recorder
        assert outside_state() == machine
        os.kill(testbed if victim == "testbed" else process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (
            network_namespaces() & made or any(Path(f"/proc/{p}/ns").exists() and runs(p) for p in alive)
        ):
            time.sleep(0.2)
        assert not network_namespaces() & made
        assert not [p for p in alive if runs(p)]
        assert outside_state() == machine
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["relay_chain", "dns_tunnel"])
def test_a_leak_of_a_real_sock_shop_is_in_the_ledger_and_in_the_edges(scenario: str, tmp_path: Path) -> None:
    before = children(os.getpid())
    recording, spec = record(tmp_path / "out", 90, *MORE, f"exfiltration={scenario}")
    (entry,) = read_ledger(recording.truth)
    assert entry.bytes_delivered == entry.bytes_intended > 1000
    assert entry.sha256_sent == entry.sha256_received
    assert [bool(pod) for pod in entry.pods] == [name != "outside" for name in entry.path]
    assert recording.counts["first_s"] < entry.start < entry.end < recording.counts["last_s"]
    requests = recording.counts["requests"]
    assert requests["done"] == requests["due"] > 100
    assert not recording.counts["broken"]
    rows = edges(spec, tmp_path / "out", tmp_path / "edges")
    during = (rows["window_start"] >= entry.start - 10) & (rows["window_start"] <= entry.end)
    for sender, receiver in zip(entry.path, entry.path[1:], strict=False):
        assert carried(rows[during], sender, receiver) > entry.bytes_delivered
        assert carried(rows[during], sender, receiver) > 1.2 * carried(rows[~during], sender, receiver) / 2
    assert not children(os.getpid()) - before


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="needs mimir[locust]")
def test_locust_drives_the_same_load(tmp_path: Path) -> None:
    before = children(os.getpid())
    recording, spec = record(tmp_path / "out", 60, *MORE, "exfiltration=none", "cluster.load_driver=locust")
    requests = recording.counts["requests"]
    assert requests["done"] == requests["due"] > 150
    assert not recording.counts["broken"]
    with (tmp_path / "out" / "locust" / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    entry = spec.app.services["front-end"]
    wanted = sum(entry.endpoints[row["endpoint"]].request[0] for row in rows)
    clients, payload = set(), 0
    for batch in open_capture(recording.captures):
        mine = (batch.dport == 30001) & (batch.ifindex == batch.ifindex[batch.dport == 30001].min())
        clients |= {bytes(address) for address in batch.src[mine]}
        payload += int(batch.payload_bytes[mine].sum())
    assert payload == pytest.approx(wanted, rel=0.1)  # sizes are the model's; the first packets are before the capture
    assert len(clients) == 20  # an address for each user
    marks = lines(recording.timeline)
    assert [m["users"] for m in marks if m["event"] == "users"] == [20]
    assert not children(os.getpid()) - before


def edges(spec: Any, folder: Path, out: Path) -> Any:
    import pandas as pd

    from mimir.pipeline.analysis import edges_of

    out.mkdir()
    edges_of(spec, folder, out)
    rows = pd.read_parquet(out / "edges.parquet")
    return rows[rows["view"] == "service"]


def carried(rows: Any, sender: str, receiver: str) -> int:
    """Bytes from one service to another, whoever asked."""
    names = (
        {receiver, "outside:clients", "outside:resolver", "outside:203.0.113.66"}
        if receiver == "outside"
        else {receiver}
    )
    asked = rows[(rows["client"] == sender) & rows["server"].isin(names)]["request_bytes"].sum()
    answered = rows[rows["client"].isin(names) & (rows["server"] == sender)]["response_bytes"].sum()
    return int(asked + answered)
