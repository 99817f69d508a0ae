"""Which stores are real, what is said about the others, and that real ones answer in their own protocols at the sizes asked for."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mimir.cluster.__main__ import doctor
from mimir.cluster.netns.cluster import NetnsCluster
from mimir.cluster.netns.stores import known
from mimir.cluster.netns.stores.known import KNOWN, described, wanted
from mimir.cluster.netns.wire import BACKGROUND, Call
from mimir.exfiltration.ledger import read_ledger
from mimir.spec import Spec
from tests.support.netns import children, inside, need_namespaces, record, runs
from tests.support.specs import spec

REAL = {"session-db", "catalogue-db", "rabbitmq"}


@cache
def shop() -> Spec:
    """Sock Shop, made once."""
    return spec(["app=sockshop", "cluster=netns"])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that of the stores' programs only these are installed."""

    def only(*programs: str) -> None:
        monkeypatch.setattr(known, "tool", lambda name: f"/usr/bin/{name}" if name in programs else None)
        monkeypatch.setattr(known, "version", lambda known: "1.2")

    return only


def test_installed_stores_are_real_and_others_say_why_not(installed: Callable[..., None]) -> None:
    installed("redis-server", "mariadbd")
    said = described(shop().app, "auto")
    assert (said["session-db"], said["catalogue-db"]) == ("Redis 1.2", "MariaDB 1.2")
    assert said["user-db"] == "framed: MongoDB is in no Debian package"
    assert said["rabbitmq"].startswith("framed: the program rabbitmq-server is missing")
    assert "apt-get install rabbitmq-server" in said["rabbitmq"]
    assert described(shop().app, False)["session-db"] == "framed: cluster.real_stores=false"
    assert set(wanted(shop().app, "auto")) == {"session-db", "catalogue-db"}
    assert set(wanted(shop().app, True)) == REAL


def test_the_plan_and_the_requirements_say_what_would_be_real(installed: Callable[..., None]) -> None:
    installed("redis-server", "mariadbd")
    insisting = replace(shop(), cluster=replace(shop().cluster, real_stores=True))  # type: ignore[call-arg]
    cluster = NetnsCluster(insisting)
    assert [need.name for need in cluster.requirements() if not need.met and "rabbit" in need.name]
    assert cluster.plan(shop())["stores"]["session-db"] == "Redis 1.2"
    needs = NetnsCluster(shop()).requirements()
    assert not [need for need in needs if "rabbit" in need.name]  # auto does without
    assert "absent   the program rabbitmq-server: install it without starting a service" in doctor()


def test_pods_that_share_data_and_unknown_protocols_stay_framed() -> None:
    app = shop().app
    store = app.services["session-db"]
    several = replace(app, services={**app.services, "session-db": replace(store, replicas=2)})
    assert described(several, True)["session-db"] == "framed: 2 pods that share data are no single Redis"
    odd = replace(app, services={**app.services, "session-db": replace(store, protocol="cql")})
    assert described(odd, True)["session-db"] == "framed: no real store speaks cql"


def test_commands_have_the_sizes_that_were_drawn() -> None:
    """A Redis of the test's own that only counts."""
    pytest.importorskip("redis")
    from mimir.cluster.netns.stores.redis import Redis

    sizes: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            got, first = len(head), b""
            for _ in range(int(head[1:])):
                line = await reader.readline()
                body = await reader.readexactly(int(line[1:]) + 2)
                got, first = got + len(line) + len(body), first or body
            sizes.append(got)
            writer.write(
                {b"GET\r\n": b"$3\r\nabc\r\n", b"EXPIRE\r\n": b":1\r\n", b"PING\r\n": b"+PONG\r\n"}.get(
                    first, b"+OK\r\n"
                )
            )
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        line = await Redis().speak(await asyncio.open_connection(*server.sockets[0].getsockname()))
        asked = [("GET", 68), ("SETEX", 330), ("HMSET", 190), ("EXPIRE", 80), ("HGET", 85), ("read all", 130)]
        for action, size in asked:
            await line.ask(Call("redis", action, "", 1, size, 240))
        await line.ask(Call("redis", "GET /", "", BACKGROUND, 14, 7))
        line.close()
        server.close()
        await asyncio.sleep(0.01)  # both ends see it
        assert sizes == [14, *(size for _, size in asked), 14]

    asyncio.run(run())


def test_a_key_is_there_only_when_redis_said_so_and_nothing_found_is_no_answer() -> None:
    pytest.importorskip("redis")
    from mimir.cluster.netns.stores.redis import Redis

    said = [b"+PONG\r\n", b"+PONG\r\n", b"-OOM full\r\n", b"+OK\r\n", b"$3\r\nabc\r\n", b"$-1\r\n"]
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            asked.append(words[0])
            writer.write(said[len(asked) - 1])
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        redis, call = Redis(), Call("redis", "GET", "", 1, 68, 9)
        put, line = [
            await redis.speak(await asyncio.open_connection(*server.sockets[0].getsockname())) for _ in range(2)
        ]
        await put.prepare()
        with pytest.raises(ConnectionError, match="full"):
            await line.ask(call)
        assert await line.ask(call) == 9
        with pytest.raises(ConnectionError, match="found nothing"):
            await line.ask(call)
        assert asked == [b"PING", b"PING", b"SET", b"SET", b"GET", b"GET"]
        for one in (put, line):
            one.close()
        server.close()
        await asyncio.sleep(0.01)

    asyncio.run(run())


_STORES = """
import asyncio, time
import numpy as np
from pathlib import Path
from tests.support.specs import spec
from mimir.cluster.netns.hosts import Hosts
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.network import build
from mimir.cluster.netns.stores.known import wanted
from mimir.cluster.netns.stores.programs import Stores
from mimir.cluster.netns.wire import Call
spec = spec(["app=sockshop", "cluster=netns"])
layout = Layout(spec.app, spec.cluster)
network = build(layout)
hosts = Hosts(layout, network)
sent = got = 0

async def client(stores, pod, service):
    reader, writer = await hosts.of(pod)[0].connect(layout.service_ip[service], spec.app.services[service].port)
    write, feed = writer.write, reader.feed_data
    def count_write(data):
        global sent; sent += len(data); write(data)
    def count_feed(data):
        global got; got += len(data); feed(data)
    writer.write, writer.writelines, reader.feed_data = count_write, lambda many: count_write(b"".join(many)), count_feed
    return await stores.speak(service)((reader, writer))

async def main():
    service, pod, calls = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    stores = Stores({service: wanted(spec.app, True)[service]}, layout, network, hosts, Path(sys.argv[4]), np.random.default_rng(1))
    await stores.start()
    await stores.count("begin")
    line, found = await client(stores, pod, service), []
    consumer = await client(stores, "queue-master", service) if service == "rabbitmq" else None
    if consumer:
        await consumer.ask(Call("amqp", "basic.deliver", "", 1, 21, 0))
    for action, size, reply in calls:
        before = sent, got
        said = await line.ask(Call("", action, service, 1, size, reply))
        await asyncio.sleep(0.3 if consumer else 0)
        found.append([sent - before[0], got - before[1], said])
    stores.check()
    line.close()
    stores.close()
    return found, stores.facts, sorted(str(p) for p in Path("/tmp").glob("*rabbit*"))

print(json.dumps(asyncio.run(main())))
"""


def ask_store(service: str, pod: str, calls: list[list[Any]], folder: Path) -> Any:
    import json

    need_namespaces()
    missing = KNOWN[shop().app.services[service].protocol].missing()
    if missing:
        pytest.skip("; ".join(need.name for need in missing))
    found, facts, left = inside(_STORES, service, pod, json.dumps(calls), str(folder))
    assert facts["memory_mb"][service] > 1
    assert not left
    return found


@pytest.mark.netns
def test_redis_reads_and_writes_what_is_asked_for(tmp_path: Path) -> None:
    calls = [
        ["GET", 68, 240],
        ["SETEX", 330, 5],
        ["EXPIRE", 80, 4],
        ["HGET", 85, 110],
        ["HMSET", 190, 5],
        ["GET", 70, 90_000],
    ]
    found = ask_store("session-db", "front-end", calls, tmp_path)
    assert [row[:2] for row in found] == [call[1:] for call in calls]
    assert [row[2] for row in found] == [call[2] for call in calls]


@pytest.mark.netns
@pytest.mark.slow
def test_mariadb_selects_and_replaces_what_is_asked_for(tmp_path: Path) -> None:
    calls = [
        ["COM_STMT_PREPARE", 435, 690],
        ["COM_STMT_EXECUTE", 45, 3780],
        ["find", 190, 310],
        ["SELECT codes", 160, 200_000],
    ]
    found = ask_store("catalogue-db", "catalogue", [*calls, ["insert or update", 240, 75]], tmp_path)
    assert [row[:2] for row in found[:-1]] == [call[1:] for call in calls]
    assert all(row[1] == row[2] for row in found)
    assert found[-1][:2] == [240, 11]


@pytest.mark.netns
@pytest.mark.slow
def test_rabbitmq_delivers_what_is_published(tmp_path: Path) -> None:
    found = ask_store("rabbitmq", "shipping", [["basic.publish", size, 90] for size in (520, 760, 200_000)], tmp_path)
    for (asked, got, _), size in zip(found, (520, 760, 200_000), strict=True):
        delivered = got - 40  # replies to the publisher
        assert asked in (size + 21, size + 13)  # with the consumer's acknowledgement
        assert size - 150 < delivered < size + 50


@pytest.mark.netns
@pytest.mark.slow
def test_a_sock_shop_with_real_stores_shows_their_protocols(tmp_path: Path) -> None:
    need_namespaces()
    if set(wanted(shop().app, "auto")) != REAL:
        pytest.skip("redis-server, mariadb-server and rabbitmq-server are not all installed")
    before, temporary = children(os.getpid()), set(os.listdir("/tmp"))
    more = [
        "load.users=20",
        "exfiltration.incident_duration_s=30",
        "exfiltration=relay_chain",
        "cluster.real_stores=true",
        "capture.payload=all",
        "capture.snaplen_bytes=1600",
    ]
    recording, _ = record(tmp_path / "out", 120, *more)
    (entry,) = read_ledger(recording.truth)
    assert entry.bytes_delivered == entry.bytes_intended > 1000
    counts = recording.counts
    assert not counts["broken"]
    assert counts["requests"]["done"] == counts["requests"]["due"] > 100
    assert counts["stores"]["session-db"].startswith("Redis ")
    assert set(counts["real"]["start_s"]) == REAL
    assert not children(os.getpid()) - before
    assert {
        name for name in set(os.listdir("/tmp")) - temporary if any(w in name for w in ("rabbit", "mysql", "redis"))
    } == set()
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed; all else was checked")
    wants = {
        "resp": "tcp.port == 6379",
        "mysql.query": "tcp.port == 3306",
        "amqp.method.method == 40": "tcp.port == 5672",
    }
    for protocol, port in wants.items():
        command = [
            tshark,
            "-r",
            str(recording.captures[0]),
            "-Y",
            f"{protocol} && {port}",
            "-T",
            "fields",
            "-e",
            "frame.number",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert len(done.stdout.split()) >= 10, protocol


@pytest.mark.netns
@pytest.mark.slow
def test_stores_die_with_a_testbed_that_is_killed(tmp_path: Path) -> None:
    need_namespaces()
    if KNOWN["redis"].missing() or KNOWN["mysql"].missing():
        pytest.skip("redis-server and mariadb-server are not installed")
    code = _STORES.replace("await stores.count", "print(os.getpid(), flush=True); time.sleep(600); await stores.count")
    script = tmp_path / "stores.py"
    from tests.support import netns

    script.write_text(netns._HEAD + code, encoding="utf-8")
    process = subprocess.Popen(
        [netns.sys.executable, str(script), "catalogue-db", "catalogue", "[]", str(tmp_path)],
        stdout=subprocess.PIPE, text=True, cwd=netns.ROOT, env=netns.child_environment(),
    )  # fmt: skip
    try:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        below = children(process.pid)
        assert len(below) >= 3  # launcher, init, mariadbd
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout and process.stdout.close()
    until = time.monotonic() + 20
    while any(runs(pid) for pid in below) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [pid for pid in below if runs(pid)]
