"""gRPC calls share an HTTP/2 connection, have the sizes that were drawn, and do not wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.cluster.netns.http2_client import Http2Line, speak_grpc
from mimir.cluster.netns.lines import Lines
from mimir.cluster.netns.messages import grpc_message, read_message
from mimir.cluster.netns.serving import serve_connection
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import Asked, Call
from mimir.spec.app import EdgeSpec

Answer = Callable[[Asked], Awaitable[int]]
EDGE = EdgeSpec(client="a", server="b", connection="shared", keep=1, idle_s=0)


class Counted:
    """Bytes each end sent, counted where they pass."""

    def __init__(self) -> None:
        self.asked = self.answered = self.connections = 0


@asynccontextmanager
async def service(answer: Answer) -> AsyncIterator[tuple[Lines, Counted]]:
    """A gRPC server on the loopback interface and a client pod's connections to it."""
    counted = Counted()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted.connections += 1
        write = writer.write
        writer.write = lambda data: (setattr(counted, "answered", counted.answered + len(data)), write(data))[1]  # type: ignore[assignment, method-assign, arg-type, func-returns-value]
        try:
            await serve_connection(reader, writer, "grpc", answer)
        except BROKEN:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        write = writer.write
        writer.write = lambda data: (setattr(counted, "asked", counted.asked + len(data)), write(data))[1]  # type: ignore[assignment, method-assign, arg-type, func-returns-value]
        return reader, writer

    lines = Lines(EDGE, connect, speak_grpc)
    try:
        yield lines, counted
    finally:
        lines.close()
        server.close()
        await asyncio.sleep(0)


async def ask(lines: Lines, size: int, wanted: int = 0, endpoint: int = 3, *, close: bool = False) -> int:
    async with lines.use() as line:
        return await line.ask(Call("grpc", "Convert", "currency", endpoint, size, wanted, close))


async def echo(asked: Asked) -> int:
    return asked.wanted


def test_exchanges_have_their_sizes_once_headers_are_compressed() -> None:
    async def run() -> None:
        async with service(echo) as (lines, counted):
            await ask(lines, 200, 200)  # settings and names of headers, once
            for size, wanted in ((45, 50), (105, 290), (130, 2350), (520, 75), (9000, 40_000)):
                before = counted.asked, counted.answered
                assert await ask(lines, size, wanted) == pytest.approx(wanted, abs=30)
                assert counted.asked - before[0] in (size, size + 13, size + 26)  # with WINDOW_UPDATE, now and then
                assert counted.answered - before[1] in range(wanted, wanted + 14 + 9 * (wanted // 16384))

    asyncio.run(run())


def test_a_health_check_counts_all_that_its_connection_needs() -> None:
    async def run() -> None:
        async with service(echo) as (lines, counted):
            await ask(lines, 250, 105, 0xFFFF, close=True)
            await asyncio.sleep(0.01)
            assert counted.asked == 250

    asyncio.run(run())


def test_calls_on_one_connection_overlap_and_replies_overtake() -> None:
    order: list[int] = []
    all_here = asyncio.Event()

    async def answer(asked: Asked) -> int:
        order.append(asked.endpoint)
        if len(order) == 250:
            all_here.set()
        if asked.endpoint == 0:  # the first is answered last
            await all_here.wait()
        return 100

    async def run() -> None:
        async with service(answer) as (lines, counted):
            done: list[int] = []

            async def one(endpoint: int) -> None:
                await ask(lines, 60, endpoint=endpoint)
                done.append(endpoint)

            async with asyncio.timeout(20):
                await asyncio.gather(*(one(number) for number in range(250)))
            assert done[-1] == 0
            assert sorted(order) == sorted(done) == list(range(250))
            assert counted.connections == 1

    asyncio.run(run())


def test_messages_beyond_the_windows_wait_for_room() -> None:
    async def run() -> None:
        async with service(echo) as (lines, _), asyncio.timeout(20):
            sizes = await asyncio.gather(*(ask(lines, 300_000, 400_000 + n) for n in range(4)))
            assert sizes == [pytest.approx(400_000 + n, rel=0.001) for n in range(4)]

    asyncio.run(run())


def test_a_failed_call_is_a_status_and_a_lost_connection_an_error() -> None:
    async def answer(asked: Asked) -> int:
        if asked.endpoint == 1:
            raise ConnectionResetError
        await asyncio.sleep(60)
        return 1

    async def run() -> None:
        async with service(answer) as (lines, _), asyncio.timeout(20):
            with pytest.raises(ConnectionError, match="grpc-status 14"):
                await ask(lines, 80, endpoint=1)
            async with lines.use() as line:
                assert isinstance(line, Http2Line)
                late = asyncio.ensure_future(line.ask(Call("grpc", "Convert", "currency", 2, 80)))
                await asyncio.sleep(0.01)
                line.writer.transport.abort()
                with pytest.raises(ConnectionError, match="closed"):
                    await late
                assert not line.open

    asyncio.run(run())


@given(st.integers(0, 70_000), st.integers(0, 0xFFFF), st.integers(0, 70_000))
def test_messages_say_what_is_asked_for_and_have_their_length(size: int, endpoint: int, wanted: int) -> None:
    message = grpc_message(size, endpoint, wanted)
    assert read_message(message) == (endpoint, wanted)
    assert len(message) == size or size < 10
    assert len(grpc_message(size)) == size or size < 2


@pytest.mark.parametrize("message", [b"\x08", b"\x08\xff\xff", b"\x10" + b"\x80" * 30])
def test_numbers_without_an_end_are_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="does not end"):
        read_message(message)
