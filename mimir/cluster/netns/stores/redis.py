"""Redis: `redis-server` in the pod, commands of the model's verbs and sizes on a pipelined connection.

A value that is to be read is put there first through the pod's loopback, which is in no capture, under a key of the length
that the request needs; so GET and HGET are real, and both their sizes are those that were drawn.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from mimir.cluster.netns.lines import Streams
from mimir.cluster.netns.stores.driver import StoreLine
from mimir.cluster.netns.wire import BACKGROUND, Call, filler

Command = tuple[bytes, ...]
_READS, _SMALL = ("GET", "HGET"), 16
_FIELD, _TTL = b"data", b"1800"


class _OnStreams(AbstractConnection):
    """The library's connection on streams that are open already."""

    def __init__(self, streams: Streams):
        super().__init__(protocol=2, driver_info=None)
        self._streams = streams

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return []

    async def _connect(self) -> None:
        self._reader, self._writer = self._streams

    def _host_error(self) -> str:
        return "a pod"


class Keys:
    """What lies in a store for reading; `put` is a connection that no capture sees."""

    def __init__(self) -> None:
        self.put: RedisLine | None = None
        self._there: set[Command] = set()
        self._putting = asyncio.Lock()

    async def prepare(self, verb: str, key: bytes, size: int) -> None:
        """Let a key hold a value of `size` bytes; it does when this returns. ConnectionError when Redis refuses."""
        async with self._putting:
            if self.put is None or (verb.encode(), key) in self._there:
                return
            value = filler(size)
            await self.put.send(*((b"SET", key, value) if verb == "GET" else (b"HSET", key, _FIELD, value)))
            self._there.add((verb.encode(), key))


class RedisLine(StoreLine):
    """A client's connection. Commands do not wait for each other: Redis answers in their order."""

    def __init__(self, streams: Streams, keys: Keys):
        super().__init__(*streams)
        self._keys, self._connection = keys, _OnStreams(streams)

    async def begin(self) -> RedisLine:
        """Ask for a sign of life, as a client library does."""
        await self._connection.connect()  # type: ignore[no-untyped-call]
        await self.send(b"PING")
        return self

    async def prepare(self) -> None:
        """Put values there for the other connections."""
        self._keys.put = self

    def close(self) -> None:
        """Close it."""
        self._connection._reader = self._connection._writer = None  # the library would, too
        super().close()

    async def send(self, *arguments: bytes) -> Any:
        """One command; its reply. ConnectionError when Redis refuses it or is gone."""
        self.writer.writelines(self._connection.pack_command(*arguments))
        async with self.lock:  # in the order of the writes
            try:
                return await self._connection.read_response()
            except RedisError as error:
                raise ConnectionError(f"Redis: {error}") from None

    async def ask(self, call: Call) -> int:
        """The command that the endpoint's action names."""
        verb = "PING" if call.endpoint == BACKGROUND else call.action.split()[0].upper()
        if verb not in (*_PLAIN, *_READS):
            verb = "GET" if call.wanted > _SMALL else "SETEX"
        if verb in _READS:
            size = value_bytes(call.wanted)
            arguments = (verb.encode(), b"%d:" % size, *((_FIELD,) if verb == "HGET" else ()))
            whole = self._padded(arguments, 1, call.size)
            await self._keys.prepare(verb, whole[1], size)
        else:
            arguments, where = _PLAIN[verb]
            whole = self._padded(arguments, where, call.size) if where else arguments
        reply = await self.send(*whole)
        if reply is None:
            raise ConnectionError(f"Redis: {verb} {whole[1][:20]!r} found nothing")
        self.used_s, self.exchanges = asyncio.get_running_loop().time(), self.exchanges + 1
        return len(reply) + 5 + len(str(len(reply))) if isinstance(reply, bytes) and verb in _READS else call.wanted

    def _padded(self, arguments: Command, where: int, size: int) -> Command:
        """The command with one argument made longer, so that all of it has `size` bytes, one less, or a few more."""
        before, head, after = arguments[:where], arguments[where], arguments[where + 1 :]
        pad = max(0, size - self._length(arguments))
        while pad and self._length((*before, head + filler(pad), *after)) > size:
            pad -= 1
        return (*before, head + filler(pad), *after)

    def _length(self, arguments: Command) -> int:
        return sum(len(piece) for piece in self._connection.pack_command(*arguments))


#: verb → command, and which of its arguments is filled
_PLAIN: dict[str, tuple[Command, int]] = {
    "PING": ((b"PING",), 0),
    "SETEX": ((b"SETEX", b"w", _TTL, b""), 3),
    "SET": ((b"SET", b"w", b""), 2),
    "HMSET": ((b"HMSET", b"h", _FIELD, b""), 3),
    "HSET": ((b"HSET", b"h", _FIELD, b""), 3),
    "EXPIRE": ((b"EXPIRE", b"e:", _TTL), 1),
    "DEL": ((b"DEL", b"d:"), 1),
    "INCR": ((b"INCR", b"n:"), 1),
}


def value_bytes(reply: int) -> int:
    """Length of the value whose reply has `reply` bytes: `$n CRLF value CRLF`.

    >>> [value_bytes(size) for size in (6, 15, 16, 17, 240)]
    [0, 9, 9, 10, 232]
    """
    value = max(0, reply - 6)
    while value and value + 5 + len(str(value)) > reply:
        value -= 1
    return value


class Redis:
    """The driver."""

    user = "redis"

    def __init__(self) -> None:
        self._keys = Keys()

    def job(self, port: int) -> dict[str, Any]:
        """Nothing is kept on a disk."""
        command = ["redis-server", "--port", str(port), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "",  # noqa: S104
                   "--appendonly", "no", "--dir", "/tmp", "--daemonize", "no"]  # noqa: S108  # fmt: skip
        return {"commands": {"redis-server": command}}

    async def speak(self, streams: Streams) -> StoreLine:
        """RESP2."""
        return await RedisLine(streams, self._keys).begin()
