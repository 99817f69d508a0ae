"""The services: real servers in the pods that do what conf/app says an endpoint does.

A request names an endpoint; the pod makes that endpoint's calls stage by stage over real connections, takes its own time
and answers with a size drawn as `mimir.apps.calls` describes it.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mimir.apps.calls import CallTrees, compile_calls
from mimir.cluster.netns.hosts import Host, Hosts, PodHost
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.lines import Line, Lines, Speak, Streams, speak_plainly
from mimir.cluster.netns.real.base import Programs
from mimir.cluster.netns.real.doors import AGENT_PORT
from mimir.cluster.netns.replicas import Replicas
from mimir.cluster.netns.serving import serve_connection
from mimir.cluster.netns.tasks import BROKEN, Tasks
from mimir.cluster.netns.unrest import Unrest
from mimir.cluster.netns.wire import PUSHED_ACK, Asked, Call, reply_bytes, request_bytes
from mimir.spec.app import OUTSIDE, EdgeSpec

_S = 1e-9
_WAIT_FOR_PEER_S = 2.0


@dataclass
class Request:
    """One request being worked on: the connections its calls share, per edge of kind `caller`."""

    lines: dict[int, Line] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)


class Application:
    """All services of one testbed. `serve()` opens them; `call()` is a call of a pod, as the model's edges say."""

    def __init__(
        self, layout: Layout, hosts: Hosts, random: np.random.Generator, tasks: Tasks, programs: Programs | None = None
    ):
        self.layout, self.hosts, self.tasks, self.programs = layout, hosts, tasks, programs
        self.real = programs.services if programs else frozenset[str]()  #: services that real programs stand for
        self.app, self.trees = layout.app, compile_calls(layout.app)
        self._random = random
        self._services = list(self.app.services.values())
        self._names = list(self.app.services)
        self._endpoints = [e for s in self._services for e in s.endpoints.values()]
        self._collections = [float(n) for n in self.app.collections.values()]
        self._lines: dict[tuple[str, int], Lines] = {}
        self._accepted: dict[tuple[str, int], asyncio.StreamWriter] = {}
        self._replicas = Replicas(self)
        #: (address, port) of a leak's connection that is about to be opened → the agent that answers it in a pod
        self.agents: dict[tuple[str, int], Callable[[PodHost | None, Streams], Awaitable[None]]] = {}
        self.requests = 0
        self.busy_s: defaultdict[str, float] = defaultdict(float)  #: service → its own time spent on requests, s
        self.unrest = Unrest()

    async def serve(self) -> None:
        """Open every server. OSError when a port cannot be had."""
        for name, spec in self.app.services.items():
            if spec.kind == "external":
                serve = partial(self._serve, None, spec.protocol)
                await self.hosts.outside.listen(serve, spec.port, self.layout.service_ip[name])
                continue
            for host in self.hosts.of(name):
                await self.open(host)
        await self._replicas.serve()

    async def open(self, host: PodHost) -> None:
        """Open the servers of one pod of a service."""
        name, spec = host.pod.service, self.app.services[host.pod.service]
        port = AGENT_PORT if name in self.real else spec.target_port
        await host.listen(partial(self._serve, host, spec.protocol), port)
        for scrape in self.app.scrapes:
            if scrape.server == name and scrape.port != spec.target_port:
                await host.listen(partial(self._serve, host, "http"), scrape.port)

    def forget(self, host: PodHost) -> None:
        """A pod is gone: so are its connections."""
        for key in [key for key in self._lines if key[0] == host.pod.name]:
            self._lines.pop(key).close()

    async def call(self, host: PodHost, target: int, edge: int, request: Request | None = None) -> int:
        """One call of a pod to an endpoint; bytes of the reply. Raises what a broken connection raises."""
        endpoint, service = self._endpoints[target], self._services[int(self.trees.service[target])]
        size = self.draw(self.trees.request[target])
        lines = self.lines(host, edge)
        real = self._names[int(self.trees.service[target])] in self.real
        if endpoint.pushed and service.protocol != "http" and not real:
            shared = request is not None and self.app.edges[edge].connection == "caller"
            use = nullcontext(await self._of_request(request, edge, lines)) if request and shared else lines.use()
            return await self._pushed(use, target, size)
        wanted = self._reply(target, 0) if real else 0  # a real store is told how much to answer
        call = Call(service.protocol, endpoint.action, self._host(target), target, size, wanted, lines.per_request)
        got = await self._exchange(lines, call, edge, request)
        if real:
            self.requests += 1
            self._trigger(target)
        return got

    async def _exchange(self, lines: Lines, call: Call, edge: int, request: Request | None) -> int:
        """A call on the connection that the edge gives it; bytes of the reply."""
        if request is not None and self.app.edges[edge].connection == "caller":
            return await (await self._of_request(request, edge, lines)).ask(call)
        fresh = True
        try:
            async with lines.use() as line:
                fresh = line.exchanges == 0
                return await line.ask(call)
        except BROKEN:
            if fresh:
                raise
        async with lines.use() as line:  # the server had closed a kept connection
            return await line.ask(call)

    async def _of_request(self, request: Request, edge: int, lines: Lines) -> Line:
        """The connection that all calls of a request along an edge share."""
        async with request.lock:
            if edge not in request.lines:
                request.lines[edge] = await request.stack.enter_async_context(lines.caller())
            return request.lines[edge]

    def lines(self, host: PodHost, edge: int) -> Lines:
        """Connections of a pod along an edge."""
        key = host.pod.name, edge
        if key not in self._lines:
            spec = self.app.edges[edge]
            self._lines[key] = Lines(spec, partial(self.reach, host, spec.server), self.speak(spec.server))
        return self._lines[key]

    def speak(self, service: str) -> Speak:
        """What clients of a service speak on a new connection."""
        if self.programs and service in self.real:
            return self.programs.speak(service)
        if self.app.services[service].protocol == "grpc":
            from mimir.cluster.netns.http2_client import speak_grpc  # needs h2

            return speak_grpc
        return speak_plainly

    async def reach(
        self, host: PodHost, service: str, *, agent: bool = False, announce: Callable[[str, int], None] | None = None
    ) -> Streams:
        """A new connection of a pod to a service (`agent`: to the agent behind its port), its name looked up. OSError when there is none."""
        address = await host.stub.address(self.layout.host(service))
        if address is None:
            raise ConnectionError(f"{host.pod.name}: no such host {self.layout.host(service)}")
        return await host.connect(address, self.app.services[service].port, agent=agent, announce=announce)

    def entry(self, host: Host, edge: EdgeSpec | None) -> Lines:
        """Connections of a user to the service that users ask."""
        name = self.app.users.entry
        spec = self.app.services[name]
        address = self.layout.cluster.addresses.node if spec.node_port else self.layout.service_ip[name]
        known = edge or EdgeSpec(client=OUTSIDE, server=name, connection="session", keep=1, idle_s=0)
        return Lines(known, partial(host.connect, address, spec.node_port or spec.port))

    def draw(self, pair: tuple[float, float]) -> int:
        """A size from (log median, sigma)."""
        return max(1, round(math.exp(pair[0] + pair[1] * float(self._random.standard_normal()))))

    def close(self) -> None:
        """Close the connections of all clients."""
        for lines in self._lines.values():
            lines.close()

    def _host(self, target: int) -> str:
        return self.layout.host(self._names[int(self.trees.service[target])])

    async def _serve(
        self, host: PodHost | None, protocol: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One accepted connection of a server; `host` is None beyond the cluster."""
        peer = writer.get_extra_info("peername")
        self._accepted[peer] = writer
        agent = self.agents.pop(peer, None) if host else None
        try:
            if agent:
                await agent(host, (reader, writer))
            else:
                await serve_connection(reader, writer, protocol, partial(self._answer, host))
        except (ssl.SSLError, *BROKEN):
            pass
        finally:
            self._accepted.pop(peer, None)
            writer.close()

    async def _answer(self, host: PodHost | None, asked: Asked) -> int:
        """Do what is asked; size of the reply."""
        if asked.wanted or not 0 <= asked.endpoint < len(self._endpoints):
            return asked.wanted
        return await self._work(host, asked.endpoint, asked.size)

    async def _work(self, host: PodHost | None, number: int, asked: int) -> int:
        """Do what an endpoint does; size of its reply."""
        trees, brought = self.trees, 0
        self.requests += 1
        rows = range(int(trees.first_call[number]), int(trees.first_call[number + 1]))
        request = Request()
        async with request.stack:
            for stage in sorted({int(trees.stage[r]) for r in rows} - {-1}):
                calls = [self._repeated(host, r, request) for r in rows if trees.stage[r] == stage] if host else []
                brought += sum(await asyncio.gather(*calls))
        own_s = self.draw(trees.busy[number]) * _S
        self.busy_s[self._names[int(trees.service[number])]] += own_s
        await asyncio.sleep(own_s)
        if host:
            await self._replicas.pass_on(host, number, asked)
            self._trigger(number)
        return self._reply(number, brought)

    def _reply(self, number: int, brought: int) -> int:
        """Size of an endpoint's reply, whose calls brought so many bytes; what it inserts is there from now on."""
        trees = self.trees
        if trees.inserts[number] >= 0:
            self._collections[int(trees.inserts[number])] += 1
        low, high = (int(x) for x in trees.times[number])
        times = self._collections[high] if low < 0 else int(self._random.integers(low, high + 1))
        own = self.draw(trees.response[number]) if times else 0
        return round(own * times + float(trees.carries[number]) * brought)

    async def _repeated(self, host: PodHost, row: int, request: Request) -> int:
        trees = self.trees
        if self._random.random() >= trees.probability[row]:
            return 0
        low, high = (int(x) for x in trees.counts[row])
        total = 0
        for _ in range(int(self._random.integers(low, high + 1))):
            total += await self.call(host, int(trees.target[row]), int(trees.edge[row]), request)
        return total

    def _trigger(self, number: int) -> None:
        """Begin what follows from a call while nobody waits."""
        trees = self.trees
        for row in range(int(trees.first_call[number]), int(trees.first_call[number + 1])):
            if trees.stage[row] == -1 and self._random.random() < trees.probability[row]:
                clients = self.hosts.of(self.app.edges[int(trees.edge[row])].client)
                if not clients:
                    continue
                host = clients[int(self._random.integers(len(clients)))]
                low, high = (float(x) for x in trees.delay[row])
                self.tasks.start(self._later(host, row, float(self._random.uniform(low, high)) * _S), "trigger")

    async def _later(self, host: PodHost, row: int, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await self.call(host, int(self.trees.target[row]), int(self.trees.edge[row]))

    async def _pushed(self, use: AbstractAsyncContextManager[Line], target: int, size: int) -> int:
        """The server sends first, on a connection of the client; the client acknowledges."""
        service = self._services[int(self.trees.service[target])]
        async with use as line, line.lock:
            async with asyncio.timeout(_WAIT_FOR_PEER_S):
                while line.local not in self._accepted:
                    await asyncio.sleep(0.001)
            reply = self.draw(self.trees.response[target])
            self._accepted[line.local].write(reply_bytes(service.protocol, reply))
            head = await line.reader.readexactly(4)
            await line.reader.readexactly(int.from_bytes(head) - 4)
            line.writer.write(request_bytes(service.protocol, "", "", PUSHED_ACK, size))
            line.exchanges += 1
            return reply


def usual_response_s(trees: CallTrees) -> list[float]:
    """Seconds each endpoint usually takes: its own median time and that of its calls, stage by stage."""
    found: dict[int, float] = {}

    def took(number: int) -> float:
        if number not in found:
            stages: dict[int, float] = {}
            for row in range(int(trees.first_call[number]), int(trees.first_call[number + 1])):
                stage, count = int(trees.stage[row]), float(trees.counts[row].mean())
                if stage >= 0:
                    longest = took(int(trees.target[row])) * count
                    stages[stage] = max(stages.get(stage, 0.0), longest)
            found[number] = math.exp(float(trees.busy[number][0])) * _S + sum(stages.values())
        return found[number]

    return [took(number) for number in range(len(trees.endpoints))]
