"""Pods that come and go on cluster=netns, leaks that survive it, and every channel by real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mimir.cluster.netns.check import CHANNELS
from mimir.cluster.netns.dialects import Dialect, Headers, Http, Pages, Server
from mimir.cluster.netns.dialects_raw import Frames, Mail, Raw
from mimir.cluster.netns.requirements import child_environment, tool
from mimir.cluster.netns.tls import Secure, make_certificate
from mimir.exfiltration.ledger import LedgerEntry, read_ledger
from mimir.spec.exfiltration import SmtpSpec, StuffingSpec, TlsSpec
from tests.support.netns import SHORT, inside, lines, need_namespaces, network_namespaces, record

DATA = [bytes(range(256)) * 2, b"\r\n.\r\n mail", b"x"]
TLS = TlsSpec(client_hello_bytes=517, certificate_bytes=2900, ticket_bytes=208, messages_per_connection=2, resume=True)
DIALECTS: list[tuple[Dialect, bool]] = [
    (Http("web", "base64"), False), (Http("web", "binary"), True), (Raw("web"), False), (Raw("web"), True),
    (Headers("web"), False), (Headers("web"), True), (Frames("web"), False), (Frames("web"), True),
    (Mail("web", SmtpSpec("a@b.example", "c@d.example", 5)), False), (Pages("web", StuffingSpec(100)), True),
]  # fmt: skip


@pytest.mark.parametrize(("speak", "pulled"), DIALECTS, ids=lambda value: type(value).__name__)
def test_what_one_end_hands_over_the_other_end_has(speak: Dialect, pulled: bool) -> None:
    assert asyncio.run(_across(speak, pulled)) == DATA


def test_tls_is_real_and_resumed() -> None:
    if tool("openssl") is None:
        pytest.skip("openssl is not installed")
    found, resumed = asyncio.run(_in_tls())
    assert found == [DATA, DATA]
    assert resumed == [False, True]


async def _across(speak: Dialect, pulled: bool) -> list[bytes]:
    """Carry DATA over a connection on this machine."""
    got: list[bytes] = []
    turn = iter(DATA)
    crossed = asyncio.Event()

    async def give() -> bytes | None:
        return next(turn, None)

    async def given() -> None:
        crossed.clear()
        await crossed.wait()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak.serve((reader, writer), Server(got.append, give, given, pulled))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        ends = await asyncio.open_connection(*server.sockets[0].getsockname())
        await speak.open(ends)
        for number, data in enumerate(DATA):
            if pulled:
                got.append(await speak.pull(ends, number))
                crossed.set()
            else:
                await speak.push(ends, data, number)
                while len(got) <= number:
                    await asyncio.sleep(0.001)
        await speak.bye(ends)
        ends[1].close()
    return got


async def _in_tls() -> tuple[list[list[bytes]], list[bool]]:
    """The same inside two TLS sessions, the second of which resumes the first."""
    certificate, speak = make_certificate("outside.example", TLS), Http("outside.example", "binary")
    found: list[list[bytes]] = []
    resumed, sessions = [], [None]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure, got = Secure((reader, writer), certificate.server), list[bytes]()
        found.append(got)

        async def none() -> None:
            return None

        try:
            await secure.handshake()
            await speak.serve((secure.reader, secure), Server(got.append, none, none, False))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            secure.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        for _ in range(2):
            streams = await asyncio.open_connection(*server.sockets[0].getsockname())
            secure = Secure(streams, certificate.client, "outside.example", sessions[-1])
            secure.on_ticket = sessions.append  # type: ignore[assignment]
            await secure.handshake()
            for number, data in enumerate(DATA):
                await speak.push((secure.reader, secure), data, number)
            resumed.append(secure.resumed)
            secure.close()
    return found, resumed


def whole(entry: LedgerEntry) -> bool:
    return entry.bytes_delivered == entry.bytes_intended > 0 and entry.sha256_sent == entry.sha256_received


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    ["cloud_storage", "response_stuffing", "icmp", "fan_out"],
)  # one of each kind; the others differ in a setting
def test_every_channel_arrives_whole(tmp_path: Path, option: str) -> None:
    need_namespaces()
    (entry,) = read_ledger(record(tmp_path, 40, f"exfiltration={option}")[0].truth)
    assert entry.channel in CHANNELS
    assert whole(entry)


@pytest.mark.netns
@pytest.mark.slow
def test_pods_are_killed_and_replaced_and_the_leak_goes_on(tmp_path: Path) -> None:
    need_namespaces()
    recording, _ = record(
        tmp_path, 100, "exfiltration=relay_chain", "exfiltration.incident_duration_s=80", "app.triggers.pod_kill.duration_s=[2,3]", "exfiltration.tail_s=2",
        "load.triggers=[pod_kill]", "load.trigger_recordings=[test]", "load.trigger_separate=false",
        "app.triggers.pod_kill.pods={services: [user], count: 3}", "cluster.pods.start_s=[2,0.1]",
    )  # fmt: skip
    leak, killed = sorted(read_ledger(recording.truth), key=lambda entry: entry.path_class)
    assert whole(leak)
    assert (killed.path_class, killed.path) == ("benign:pod_kill", ("user",))
    old = {"user-0", "user-1", "user-2"}
    named = set(killed.pods[0].split(","))
    assert old < named
    assert len(named) == 6
    rows = lines(recording.entities)
    pods = [row for row in rows if row["kind"] == "pod" and row["workload"] == "user"]
    assert len({row["ip"] for row in pods if row["event"] == "added"}) == 6
    assert {row["name"] for row in pods if row["event"] == "deleted"} == old
    assert all(killed.start <= row["ts"] <= killed.end for row in pods if row["event"] == "deleted")
    replaced = [row for row in lines(recording.timeline) if row["event"] == "hop_replaced"]
    if killed.start > leak.start:  # else nothing of it was there yet
        assert {row["service"] for row in replaced} == {"user"}


@pytest.mark.netns
@pytest.mark.slow
def test_a_rolling_update_happens_and_is_labelled(tmp_path: Path) -> None:
    need_namespaces()
    recording, _ = record(
        tmp_path, 100, "exfiltration=none", "load.triggers=[rolling_update]", "load.trigger_recordings=[test]",
        "cluster.pods.start_s=[1,0.1]", "cluster.pods.drain_s=[1,0.1]", "app.triggers.rolling_update.duration_s=[2,3]",
    )  # fmt: skip
    (entry,) = read_ledger(recording.truth)
    assert entry.path_class == "benign:rolling_update"
    rows = lines(recording.entities)
    late = [row["event"] for row in rows if row["kind"] == "pod" and row["ts"] >= entry.start]
    assert set(late) == {"added", "deleted"}
    requests: dict[str, Any] = recording.counts["requests"]
    assert requests["failed"] + requests["excused"] <= 0.02 * requests["due"]


_PLAY = """
import asyncio, collections, time
import numpy as np
from dataclasses import replace
from pathlib import Path
from tests.support.specs import spec
from mimir.apps.graph import allowed_edges
from mimir.cluster.base import RecordingOrder
from mimir.cluster.netns.application import Application
from mimir.cluster.netns.around import Around
from mimir.cluster.netns.changes import Changes
from mimir.cluster.netns.fleet import Fleet
from mimir.cluster.netns.hosts import Hosts
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.leak import Leaks
from mimir.cluster.netns.network import build
from mimir.cluster.netns.session import Session
from mimir.units import NS_PER_S

class Bed:
    async def up(self, *overrides):
        self.spec = spec(["cluster=netns", "cluster.pods.start_s=[0.3,0.1]", "cluster.pods.drain_s=[0.3,0.1]", "cluster.pods.remove_s=0.5", *overrides])
        self.layout = Layout(self.spec.app, self.spec.cluster)
        self.network = build(self.layout)
        self.order = RecordingOrder("test", 0, 60, (1, 2), True, Path("."))
        session = Session(self.spec, self.order)
        self.hosts, self.tasks = Hosts(self.layout, self.network), session.tasks
        outside = await session._dns(self.hosts)
        self.it = Application(self.layout, self.hosts, np.random.default_rng(1), self.tasks)
        await self.it.serve()
        around = Around(self.it, np.random.default_rng(2))
        await around.start()
        self.fleet = Fleet(self.layout, self.network, self.it, around, np.random.default_rng(3))
        self.changes = Changes(self.spec, self.order, int(time.time()), self.fleet, np.random.default_rng(4))
        self.outside = outside
        return self
    def names(self, service="user"):
        return [host.pod.name for host in self.fleet.present(service)]
    async def reached(self, service="user"):
        "Addresses behind a service address, from many connections."
        found = set()
        for _ in range(30):
            _, writer = await self.it.reach(self.hosts.of("front-end")[0], service)
            peer = writer.get_extra_info("sockname")
            while peer not in self.it._accepted:
                await asyncio.sleep(0.001)
            found.add(self.it._accepted[peer].get_extra_info("sockname")[0])
            writer.close()
        return sorted(found) == sorted(host.pod.ip for host in self.hosts.of(service))
"""
_CHANGES = """
async def play():
    bed = await Bed().up("cluster.autoscaling=true", "cluster.hpa.sync_s=0.5", "cluster.hpa.stabilization_s=0")
    changes, fleet, seen = bed.changes, bed.fleet, {}
    seen["begin"] = bed.names()
    await changes._scale_out("user", 2)
    seen["out"], seen["out reached"] = bed.names(), await bed.reached()
    await changes._scale_in("user", 2)
    seen["in"], seen["in reached"] = bed.names(), await bed.reached()
    await changes._node_drain("user", 1)
    seen["drain"], seen["drain reached"] = bed.names(), await bed.reached()
    early = fleet.create("user")
    coming = asyncio.ensure_future(fleet.start(early))
    await fleet.kill(early)
    await coming
    seen["early"] = [early.pod.name in bed.names(), early.pod.name in bed.network.pods]
    try:
        with early.namespace:
            pass
        seen["closed"] = "entered"
    except OSError:
        seen["closed"] = "refused"
    scaling = asyncio.ensure_future(changes._scale())
    await asyncio.sleep(0)
    bed.it.busy_s["catalogue"] += 1000
    await asyncio.sleep(2)
    seen["scaled out"] = len(bed.names("catalogue"))
    await asyncio.sleep(3)
    seen["scaled in"] = len(bed.names("catalogue"))
    scaling.cancel()
    events = collections.Counter(event for _, event, _ in fleet.events)
    living = [host.pod.ip for host in bed.hosts.pods.values()]
    seen["events"] = [events["added"] - events["deleted"], len(living), len(set(living)), len(bed.network.pods)]
    await bed.tasks.stop()
    return seen, [str(bed.tasks.defect), [what for what in bed.tasks.broken if not what.startswith(("probe", "scrape"))]]

print(json.dumps(asyncio.run(play())))
"""
_KILLED = """
async def play():
    option = sys.argv[1]
    bed = await Bed().up(f"exfiltration={option}", "exfiltration.path=[catalogue,outside]", "exfiltration.incidents=1", "exfiltration.incident_duration_s=10",
                         "exfiltration.tail_s=1", "exfiltration.gap_s=0", "exfiltration.bytes_per_message=90")
    leaks = Leaks(bed.spec, bed.order, int(time.time()), bed.it, bed.outside, np.random.SeedSequence(5))
    act = leaks.acts[0]
    first = act.pods[0]
    now = time.time_ns() + NS_PER_S // 2
    count = len(act.incident.message_ns[:20])
    act.incident = replace(act.incident, start_s=now / NS_PER_S, message_ns=now + np.arange(count) * (4 * NS_PER_S // count), message_bytes=act.incident.message_bytes[:count])
    bed.fleet.followers.append(leaks.gone)
    running = asyncio.ensure_future(leaks.run())
    await asyncio.sleep(1.5)
    await asyncio.gather(*(bed.fleet.kill(host) for host in bed.hosts.of("catalogue")))  # all of them: nobody is left to go on
    newcomer = await bed.fleet.add("catalogue")
    await asyncio.wait_for(running, 20)
    (entry,) = leaks.ledger()
    if option.startswith("tool_"):
        await bed.tasks.stop()
        return [entry.bytes_delivered, entry.bytes_intended, [program.process.returncode for program in act._programs], entry.pods[0] == first, str(bed.tasks.defect)]
    await bed.fleet.kill(newcomer)  # what is over stays as it was
    (later,) = leaks.ledger()
    await bed.tasks.stop()
    return [entry.bytes_delivered, entry.bytes_intended, entry.sha256_sent == entry.sha256_received, entry.pods[0] == newcomer.pod.name, first, later == entry, [event["old"] for event in leaks.replaced], str(bed.tasks.defect)]

print(json.dumps(asyncio.run(play())))
"""


@pytest.mark.netns
@pytest.mark.slow
def test_pods_come_and_go_by_triggers_and_autoscalers_and_the_service_address_follows() -> None:
    need_namespaces()
    seen, wrong = inside(_PLAY + _CHANGES)
    assert seen["begin"] == ["user-0", "user-1", "user-2"]
    assert seen["out"][:3] == seen["begin"]
    assert len(seen["out"]) == 5
    assert seen["in"] == seen["begin"]  # the youngest went
    assert seen["drain"][:2] == ["user-0", "user-2"]  # every other one was evicted, and has a successor
    assert len(seen["drain"]) == 3
    assert all(seen[f"{what} reached"] for what in ("out", "in", "drain"))
    assert seen["early"] == [False, False]  # it went before it was ready, and is no ghost
    assert seen["closed"] == "refused"
    assert seen["scaled out"] > 2
    assert seen["scaled in"] == 2
    assert len(set(seen["events"])) == 1
    assert wrong == ["None", []]


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.parametrize("option", ["icmp", "dns_tunnel"])
def test_a_leak_whose_pods_all_die_goes_on_from_a_successor(option: str) -> None:
    need_namespaces()
    delivered, intended, same, moved, first, closed, replaced, defect = inside(_PLAY + _KILLED, option)
    assert delivered == intended > 0
    assert same
    assert moved
    assert replaced == [first]
    assert closed
    assert defect == "None"


@pytest.mark.netns
@pytest.mark.slow
def test_a_tool_ends_with_its_pod_and_the_ledger_has_what_arrived() -> None:
    need_namespaces()
    if tool("curl") is None:
        pytest.skip("curl is not installed")
    delivered, intended, codes, stayed, defect = inside(_PLAY + _KILLED, "tool_curl")
    assert 0 < delivered < intended
    assert codes == [-signal.SIGKILL]
    assert stayed
    assert defect == "None"


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_recording_leaves_nothing_and_says_how_to_resume(tmp_path: Path, how: signal.Signals) -> None:
    need_namespaces()
    before = network_namespaces()
    words = [
        *SHORT,
        "exfiltration=none",
        "load.trigger_recordings=[test]",
        "tracking=none",
        f"paths.runs={tmp_path}",
    ]
    process = subprocess.Popen(
        [sys.executable, "run.py", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=child_environment(), start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell had it ignored
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if "packets" in line:
            break
    os.kill(process.pid, how)
    with process:  # closes the pipe
        said = process.stdout.read()
    code = process.wait(timeout=120)
    for _ in range(200):  # the kernel takes namespaces down after their last process
        if network_namespaces() <= before:
            break
        time.sleep(0.1)
    assert network_namespaces() <= before
    assert not [p for p in Path("/proc").glob("[0-9]*") if str(tmp_path) in _command(p)]
    if how is signal.SIGINT:
        assert code == 1
        assert "run.py" in said.strip().splitlines()[-1]


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
