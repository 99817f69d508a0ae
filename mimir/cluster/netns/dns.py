"""Real DNS: kube-dns in its pods, the resolver outside, and the stub resolver of the pods (RFC 1035 over UDP and TCP)."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from mimir.cluster.netns.layout import CLUSTER_ZONE, Layout
from mimir.cluster.netns.tasks import Tasks
from mimir.exfiltration.channels import dns_tunnel
from mimir.exfiltration.dns_messages import (
    NAME_ERROR,
    RECORD_TYPES,
    SERVER_FAILURE,
    address_data,
    query_message,
    response_message,
)
from mimir.spec.exfiltration import DnsTunnelSpec

SERVICE_TTL_S, OUTSIDE_TTL_S = 30, 300
_HEAD = struct.Struct("!HHHHHH")
_TYPES = {number: name for name, number in RECORD_TYPES.items()}
_TRIES = 3
Answer = Callable[[bytes], Awaitable[bytes | None]]


class Question(NamedTuple):
    """The one question of a message; `end` is the byte after it."""

    transaction: int
    name: bytes
    type: str
    end: int

    @property
    def text(self) -> str:
        """The name in lower case."""
        return self.name.decode("ascii", "replace").lower()


def question_of(message: bytes) -> Question:
    """ValueError for what is no query with one uncompressed name."""
    try:
        transaction, _, count, *_ = _HEAD.unpack_from(message)
        labels, at = [], _HEAD.size
        while message[at]:
            if message[at] > 63:
                raise ValueError("a compressed name in a question")
            labels.append(message[at + 1 : at + 1 + message[at]])
            at += 1 + message[at]
        kind = struct.unpack_from("!H", message, at + 1)[0]
    except (struct.error, IndexError) as error:
        raise ValueError(f"no DNS message: {error}") from error
    if count != 1:
        raise ValueError(f"{count} questions")
    return Question(transaction, b".".join(labels), _TYPES.get(kind, f"TYPE{kind}"), at + 5)


def query_of(message: bytes) -> Question | None:
    """The question of a query; None for what is no query."""
    try:
        return question_of(message)
    except ValueError:
        return None


def first_address(message: bytes) -> str | None:
    """Address of the first record when it is an A record, as `response_message` writes it; None for a negative answer."""
    end, answers = question_of(message).end, _HEAD.unpack_from(message)[3]
    if not answers or struct.unpack_from("!H", message, end + 2)[0] != RECORD_TYPES["A"]:
        return None
    return socket.inet_ntoa(message[end + 12 : end + 16])


def ttl_s(message: bytes) -> int:
    """Time to live of the first record (answer or authority); 0 when there is none."""
    _, _, _, answers, authorities, _ = _HEAD.unpack_from(message)
    end = question_of(message).end
    if answers:
        return int(struct.unpack_from("!I", message, end + 6)[0])
    return OUTSIDE_TTL_S if authorities else 0


class Server(asyncio.DatagramProtocol):
    """Answers over UDP what `answer` makes of a query."""

    def __init__(self, answer: Answer, tasks: Tasks):
        self._answer, self._tasks = answer, tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Called by asyncio for each query."""
        self._tasks.start(self._reply(data, addr), "dns")

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        message = await self._answer(data)
        if message is not None:
            self._transport.sendto(message, addr)  # type: ignore[attr-defined]


async def serve(answer: Answer, udp: socket.socket, tcp: socket.socket, tasks: Tasks) -> None:
    """Serve bound sockets until the loop ends."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
                message = await answer(await reader.readexactly(size))
                if message is not None:
                    writer.write(struct.pack("!H", len(message)) + message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    await asyncio.get_running_loop().create_datagram_endpoint(lambda: Server(answer, tasks), sock=udp)
    await asyncio.start_server(stream, sock=tcp)


class KubeDns:
    """One kube-dns pod: answers for the cluster zone, forwards the rest, remembers answers as long as they allow."""

    def __init__(self, layout: Layout, connect: Callable[[], socket.socket], pod: str, through: dict[bytes, str]):
        """`through` is told which pod each name was passed on by."""
        self._layout, self._connect, self._pod, self._through = layout, connect, pod, through
        self._cache: dict[tuple[bytes, str], tuple[float, bytes]] = {}

    async def answer(self, message: bytes) -> bytes | None:
        """The reply to a query; None for what is no query."""
        question = query_of(message)
        if question is None:
            return None
        text = question.text
        if not text.endswith(f".{CLUSTER_ZONE}"):
            return await self._forward(question, message)
        address, zone = self._layout.zone.get(text), CLUSTER_ZONE.encode()
        if address is None:
            return response_message(
                question.name, _known(question), question.transaction, ttl_s=SERVICE_TTL_S, code=NAME_ERROR, zone=zone
            )
        if question.type == "A":
            return response_message(
                question.name, "A", question.transaction, [address_data(address)], ttl_s=SERVICE_TTL_S
            )
        return response_message(question.name, _known(question), question.transaction, ttl_s=SERVICE_TTL_S, zone=zone)

    async def _forward(self, question: Question, message: bytes) -> bytes:
        key, now = (question.name.lower(), question.type), time.monotonic()
        until, known = self._cache.get(key, (0.0, b""))
        if now < until:
            return message[:2] + known[2:]
        dns = self._layout.cluster.dns
        self._through[key[0]] = self._pod
        for _ in range(_TRIES):
            reply = await exchange(self._connect(), message, dns.timeout_s)
            if reply is not None:
                keep_s = min(dns.cache_s, ttl_s(reply))
                if keep_s > 0:
                    self._cache[key] = (now + keep_s, reply)
                return reply
        return response_message(question.name, _known(question), question.transaction, code=SERVER_FAILURE)


class Outside:
    """The resolver beyond the cluster. It answers for the attacker's zone too and keeps what it was asked there."""

    def __init__(self, layout: Layout, tunnel: DnsTunnelSpec | None, delay_s: Callable[[], float]):
        self._hosts, self._tunnel, self._delay_s = layout.zone, tunnel, delay_s
        self._timeout_s = layout.cluster.dns.timeout_s
        self.names: dict[str, str] = {}  #: further names outside → address
        self.heard: list[tuple[float, bytes]] = []  #: (UTC epoch s, name) asked for under the attacker's zone
        #: connects to the name server of a tool's zone, which takes its names over; set while the tool runs
        self.zone_server: Callable[[], socket.socket] | None = None
        self.through: dict[bytes, str] = {}  #: name → pod of kube-dns that passed it on

    async def answer(self, message: bytes) -> bytes | None:
        """The reply to a query; None for what is no query."""
        question = query_of(message)
        if question is None:
            return None
        text = question.text
        stolen = self._tunnel is not None and text.endswith("." + self._tunnel.domain)
        if stolen and self.zone_server is not None:
            await asyncio.sleep(self._delay_s())
            return await exchange(self.zone_server(), message, self._timeout_s)
        if stolen:
            self.heard.append((time.time(), question.name))
        await asyncio.sleep(self._delay_s())
        if stolen and self._tunnel is not None:
            return dns_tunnel.answer(question.name, self._tunnel, question.transaction)
        if question.type == "A":
            address = (
                self._hosts.get(text)
                or self.names.get(text)
                or f"192.0.2.{1 + hashlib.sha256(text.encode()).digest()[0] % 50}"
            )
            return response_message(
                question.name, "A", question.transaction, [address_data(address)], ttl_s=OUTSIDE_TTL_S
            )
        return response_message(
            question.name, _known(question), question.transaction, ttl_s=OUTSIDE_TTL_S, zone=b"example"
        )


class Stub:
    """The resolver library of one pod: search domains, A and AAAA together, its own memory (`dns_cache_s`)."""

    def __init__(self, layout: Layout, namespace: str, cache_s: float, connect: Callable[[], socket.socket]):
        dns = layout.cluster.dns
        self._domains = [f"{namespace}.svc.{CLUSTER_ZONE}", *dns.search]
        self._ndots, self._timeout_s = dns.ndots, dns.timeout_s
        self._cache_s, self._connect = cache_s, connect
        self._known: dict[str, tuple[float, str]] = {}
        self._transaction = int.from_bytes(hashlib.sha256(repr(connect).encode()).digest()[:2])

    async def address(self, name: str) -> str | None:
        """Address of a name, None when it does not exist. TimeoutError when nobody answers."""
        until, known = self._known.get(name, (0.0, ""))
        if time.monotonic() < until:
            return known
        searched = [f"{name}.{domain}" for domain in self._domains] if name.count(".") < self._ndots else []
        for full in [*searched, name]:
            found = await self._ask(full.encode())
            if found is not None:
                self._known[name] = (time.monotonic() + self._cache_s, found)
                return found
        return None

    async def query(self, channel: socket.socket, name: bytes, record_type: str) -> bytes | None:
        """One query on a given connected socket, asked again when nothing comes; the reply, or None."""
        self._transaction = (self._transaction + 1) & 0xFFFF
        message = query_message(name, record_type, self._transaction)
        for _ in range(_TRIES):
            reply = await exchange(channel, message, self._timeout_s, close=False)
            if reply is not None:
                return reply
        return None

    async def _ask(self, full: bytes) -> str | None:
        loop = asyncio.get_running_loop()
        self._transaction = (self._transaction + 2) & 0xFFFF
        pair = {
            self._transaction: query_message(full, "A", self._transaction),
            self._transaction + 1 & 0xFFFF: query_message(full, "AAAA", self._transaction + 1 & 0xFFFF),
        }
        wanted, found = next(iter(pair)), None
        with self._connect() as channel:
            for _ in range(_TRIES):
                for message in pair.values():
                    await loop.sock_sendall(channel, message)
                try:
                    async with asyncio.timeout(self._timeout_s):
                        while pair:
                            reply = await loop.sock_recv(channel, 4096)
                            number = struct.unpack_from("!H", reply)[0]
                            if number == wanted and number in pair:
                                found = first_address(reply)
                            pair.pop(number, None)
                        return found
                except TimeoutError:
                    continue
        raise TimeoutError(f"no answer for {full.decode()}")


async def exchange(channel: socket.socket, message: bytes, timeout_s: float, *, close: bool = True) -> bytes | None:
    """Send one query on a connected UDP socket and wait for its reply; None after the time-out."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            await loop.sock_sendall(channel, message)
            while True:
                reply = await loop.sock_recv(channel, 4096)
                if reply[:2] == message[:2]:
                    return reply
    except (TimeoutError, ConnectionError):
        return None
    finally:
        if close:
            channel.close()


def _known(question: Question) -> str:
    return question.type if question.type in RECORD_TYPES else "TXT"
