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
from tests.support.netns import SHORT, lines, need_namespaces, network_namespaces, record

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
    ["https", "response_stuffing", "icmp", "fan_out"],
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
@pytest.mark.parametrize("kind", ["rolling_update"])
def test_changes_of_pods_happen_and_are_labelled(tmp_path: Path, kind: str) -> None:
    need_namespaces()
    recording, _ = record(
        tmp_path, 100, "exfiltration=none", f"load.triggers=[{kind}]", "load.trigger_recordings=[test]",
        "cluster.pods.start_s=[1,0.1]", "cluster.pods.drain_s=[1,0.1]", f"app.triggers.{kind}.duration_s=[2,3]",
    )  # fmt: skip
    (entry,) = read_ledger(recording.truth)
    assert entry.path_class == f"benign:{kind}"
    rows = lines(recording.entities)
    late = [row["event"] for row in rows if row["kind"] == "pod" and row["ts"] >= entry.start]
    assert set(late) == {"scale_out": {"added"}, "scale_in": {"deleted"}}.get(kind, {"added", "deleted"})
    requests: dict[str, Any] = recording.counts["requests"]
    assert requests["failed"] + requests["excused"] <= 0.02 * requests["due"]


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
