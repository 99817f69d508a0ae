"""DNS names: counted in the kernel, read in Python, bounded against every message."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.capture import open_capture
from mimir.capture.dns import MAX_NAME_BYTES, query_names, query_of, read_name
from tests.capture import capture_samples as s

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=30)


def measure(message: bytes) -> tuple[int, int]:
    data = np.frombuffer(b"before" + message, np.uint8).copy()
    return query_of(data, 6, len(message))


@settings(deadline=None)  # the first call compiles
@given(st.lists(LABEL, min_size=1, max_size=7))
def test_names_and_their_lengths(labels: list[str]) -> None:
    name = ".".join(labels)
    assert read_name(s.dns(name)) == (name, 12 + len(name) + 2)
    assert measure(s.dns(name)) == (1, len(name))


def test_replies_and_empty_questions_are_no_queries() -> None:
    assert measure(s.dns("a.example", response=True)) == (0, 0)
    assert measure(struct.pack(">6H", 1, 0x0100, 0, 0, 0, 0) + bytes(5)) == (0, 0)
    assert measure(bytes(11)) == (0, 0)


def test_a_cut_name_counts_as_far_as_it_goes() -> None:
    message = s.dns("abcdef.example.com")
    assert [measure(message[:n])[1] for n in (12, 13, 15, 19, 20, 23)] == [0, 0, 2, 6, 7, 10]


def test_compressed_names_are_followed_backwards_only() -> None:
    message = s.dns("www.example.com") + b"\x04mail\xc0\x10"
    assert read_name(message, len(message) - 7) == ("mail.example.com", len(message))
    for bad, reason in [
        (bytes(12) + b"\xc0\x0c", "backwards"),
        (bytes(12) + b"\xc0\x20" + bytes(40), "backwards"),
        (bytes(12) + b"\xc0", "cut off"),
        (bytes(12) + b"\x05ab", "cut off"),
        (bytes(12) + b"\x80abc", "label type"),
        (bytes(12) + b"\x01a" * 200 + b"\0", "longer than 255"),
    ]:
        with pytest.raises(ValueError, match=reason):
            read_name(bad)


def test_odd_bytes_are_escaped() -> None:
    assert read_name(bytes(12) + b"\x03a.\\\x02\xffb\0")[0] == r"a\046\092.\255b"


@given(st.binary(max_size=400), st.integers(0, 30))
def test_any_message_ends(message: bytes, at: int) -> None:
    queries, size = measure(message)
    assert queries in (0, 1)
    assert 0 <= size <= MAX_NAME_BYTES
    try:
        _, end = read_name(message, at)
    except ValueError:
        return
    assert at < end <= len(message)


def test_names_of_a_batch(tmp_path: Path) -> None:
    bodies = [
        s.dns("a.example"),
        s.dns("a.example", response=True),
        s.dns("b.example"),
        s.dns("cut.example")[:15],
        b"\0" * 12,
    ]
    frames = [s.Frame(i, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, s.udp(9, 53, b)))) for i, b in enumerate(bodies)]
    (batch,) = open_capture(s.save(tmp_path / "x", s.pcap(frames)))
    assert list(query_names(batch)) == [(0, "a.example"), (2, "b.example")]
