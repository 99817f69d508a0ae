"""Messages between services have the sizes that were drawn."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.cluster.netns import wire


async def fed(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def asked_of(message: bytes, protocol: str) -> wire.Asked:
    reader = await fed(message)
    return await wire.read_asked(reader, protocol, await reader.readexactly(4))


async def reply_of(message: bytes, protocol: str) -> int:
    return await wire.read_reply(await fed(message), protocol)


@given(
    st.sampled_from(["http", "redis"]),
    st.sampled_from(["GET /a/{id}", "POST /b"]),
    st.integers(8, 30_000),
    st.integers(0, 90),
)
def test_a_request_has_its_size_and_names_its_endpoint(protocol: str, action: str, size: int, endpoint: int) -> None:
    message = wire.request_bytes(protocol, action, "user", endpoint, size)
    asked = asyncio.run(asked_of(message, protocol))
    assert (asked.endpoint, asked.wanted, asked.size) == (endpoint, 0, len(message))
    assert len(message) == size or (protocol == "http" and size < len(message) < 160)


@given(st.sampled_from(["http", "mongodb"]), st.integers(4, 200_000))
def test_a_reply_has_its_size(protocol: str, size: int) -> None:
    message = wire.reply_bytes(protocol, size)
    assert asyncio.run(reply_of(message, protocol)) == len(message)
    assert len(message) == size or (protocol == "http" and size < len(message) < 100)


def test_large_http_requests_are_exact() -> None:
    for action in ("GET /x", "POST /x"):
        assert len(wire.request_bytes("http", action, "a", 3, 500, close=True)) == 500


def test_what_is_wanted_back_and_the_end_of_a_connection_are_said() -> None:
    asked = asyncio.run(
        asked_of(wire.request_bytes("http", "GET /health", "a", wire.BACKGROUND, 117, wanted=340, close=True), "http")
    )
    assert (asked.endpoint, asked.wanted, asked.close) == (wire.BACKGROUND, 340, True)
    asked = asyncio.run(asked_of(wire.request_bytes("amqp", "", "", wire.BACKGROUND, 8, wanted=8), "amqp"))
    assert (asked.wanted, asked.size) == (8, 8)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff\0\1\0\0", b"\0\0\0\2\0\1\0\0"])
def test_absurd_frames_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="a frame of"):
        asyncio.run(asked_of(data, "redis"))
