"""Fragments have the protocol and the ports of their datagram, in whatever order and files they come."""

from __future__ import annotations

import gzip
import random
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mimir.capture import fragments as fragments_module
from mimir.capture import open_capture
from mimir.capture.fragments import WAIT_NS
from mimir.engine import JoblibEngine
from mimir.flows import build_edges
from tests.capture import capture_samples as s

T = 1_700_000_000 * 10**9


def datagram(
    ident: int, ports: tuple[int, int] = (1111, 2222), four: bool = True, headers: bool = False
) -> list[bytes]:
    """Ethernet frames of a datagram of 3000 bytes in fragments of 1000; `headers`: one behind the fragment header."""
    body = s.udp(*ports, bytes(3000))
    if four:
        return [
            s.ethernet(
                s.ipv4("10.0.0.1", "10.0.0.2", 17, body[a : a + 1000], ident=ident, place=a // 8 | 0x2000 * (a < 3000))
            )
            for a in range(0, len(body), 1000)
        ]
    body = (struct.pack(">BB6x", 17, 0) if headers else b"") + body
    return [
        s.ethernet(
            s.ipv6("fd00::1", "fd00::2", 44, struct.pack(">BxHI", 60 if headers else 17, a | (a < 3000), ident) + body[a : a + 1000]), 0x86DD
        )
        for a in range(0, len(body), 1000)
    ]  # fmt: skip


def ends(path: Path, **options: int) -> list[tuple[int, int, int]]:
    """Protocol and ports of all rows, which carry no marks."""
    batches = list(open_capture(path, **options))
    assert all((b.tunnel == -1).all() for b in batches)
    columns = [np.concatenate([getattr(b, name) for b in batches]).tolist() for name in ("proto", "sport", "dport")]
    return list(zip(*columns, strict=True))


def save(path: Path, frames: list[bytes], gap_ns: int = 1000) -> Path:
    return s.save(path, s.pcap([s.Frame(T + n * gap_ns, data) for n, data in enumerate(frames)]))


@pytest.mark.parametrize("four", [True, False])
def test_any_order(tmp_path: Path, four: bool) -> None:
    frames = datagram(5, four=four)
    random.Random(1).shuffle(frames)
    for order in (frames, frames[::-1], [frames[2], frames[1], frames[3], frames[0]]):
        for rows in (1, 2, 3, 100):
            assert ends(save(tmp_path / "x", order), batch_rows=rows) == [(17, 1111, 2222)] * 4


def test_extension_headers_behind_the_fragment_header_of_ipv6(tmp_path: Path) -> None:
    path = save(tmp_path / "x", datagram(9, four=False, headers=True))
    assert ends(path) == [(17, 1111, 2222)] * 4
    capture = open_capture(path)
    assert [int(i) for b in capture for i in b.ip_id] == [0] * 4
    assert capture.counts.protocols == {"ip6": 4, "udp": 4}


def test_datagrams_are_told_apart(tmp_path: Path) -> None:
    one, two, six = datagram(5), datagram(6, (3333, 4444)), datagram(5, (7, 8), four=False)
    mixed = [f for three in zip(one[::-1], two, six[::-1], strict=True) for f in three]
    assert ends(save(tmp_path / "x", mixed)) == [(17, 1111, 2222), (17, 3333, 4444), (17, 7, 8)] * 4


def test_a_first_fragment_is_waited_for_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, later = datagram(5)[:2]
    other = s.ethernet(s.ipv4("10.0.0.3", "10.0.0.2", 17, s.udp(9, 9, b"x")))
    for gap_ns, known in ((WAIT_NS, True), (WAIT_NS + 1, False)):
        for rows in (1, 100):
            found = ends(save(tmp_path / "x", [later, first], gap_ns), batch_rows=rows)
            assert found == [(17, 1111, 2222) if known else (17, 0, 0), (17, 1111, 2222)]
    monkeypatch.setattr(fragments_module, "WAIT_ROWS", 50)
    for between, known in ((49, True), (50, False)):
        found = ends(save(tmp_path / "x", [later, *[other] * between, first]))
        assert (found[0] == (17, 1111, 2222)) is known


def test_a_datagram_is_forgotten_after_half_a_minute(tmp_path: Path) -> None:
    first, later = datagram(5)[:2]
    assert ends(save(tmp_path / "x", [first, later], 30 * 10**9))[1] == (17, 1111, 2222)
    assert ends(save(tmp_path / "x", [first, later], 31 * 10**9))[1] == (17, 0, 0)


@pytest.mark.parametrize("packed", [False, True])
def test_any_cut_into_files_gives_the_same_edges(tmp_path: Path, packed: bool) -> None:
    rng = random.Random(2)
    frames = [(n // 3 * 1000 + rng.random() * 4000, f) for n in range(30) for f in datagram(n, (n, 53 if n % 2 else 9))]
    ordered = [s.Frame(T + int(at), f) for at, f in sorted(frames)]
    build_edges([s.save(tmp_path / "whole.pcap", s.pcap(ordered))], None, [60], "x", 20, tmp_path / "whole")
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, (a, b) in enumerate(pairwise([0, *sorted(rng.sample(range(120), 9)), 120])):
        content = s.pcap(ordered[a:b])
        s.save(folder / f"{number}.pcap{'.gz' * packed}", gzip.compress(content) if packed else content)
    build_edges([folder], None, [60], "x", 20, tmp_path / "cut", engine=JoblibEngine(1) if packed else None)
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_live_capture_does_not_wait(tmp_path: Path) -> None:
    later = datagram(5)[1]
    path = save(tmp_path / "x", [later, datagram(6)[0]])
    seen = []
    for batch in open_capture(path, follow=True, stop=lambda: bool(seen)):
        seen.append(len(batch))
    assert seen == [2]
