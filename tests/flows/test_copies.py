"""A packet is a copy only when it repeats what was counted: connections move and spread over interfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mimir.capture.batch import ACK, FIN, PSH, RST, SYN
from tests.capture import capture_samples as s
from tests.flows.flow_samples import CLIENT, POD, START_NS, Leg, Step, conversation, datagrams, edges_of, http

GAP_NS = 10_000_000
#: which of two interfaces each of 300 packets takes
PATHS: dict[str, Callable[[int], int]] = {
    "moves": lambda n: n // 150,
    "moves back": lambda n: n // 100 % 2,
    "alternates": lambda n: n % 2,
}
UPLOAD = [Step(True, flags=SYN), Step(False, flags=SYN | ACK), Step(True)]
UPLOAD += [Step(True, 100, PSH | ACK, gap_ns=GAP_NS) for _ in range(296)] + [Step(True, flags=FIN | ACK)]


def spread(frames: list[list[s.Frame]], path: Callable[[int], int]) -> list[s.Frame]:
    """Of the same packets at several places, each at one."""
    return [places[path(number)] for number, places in enumerate(zip(*frames, strict=True))]


@pytest.mark.parametrize("path", PATHS)
def test_segments_that_were_seen_once_count_wherever_they_were_seen(tmp_path: Path, path: str) -> None:
    places = [conversation([Leg(CLIENT, POD, index)], UPLOAD) for index in (2, 3)]
    result = edges_of(tmp_path, spread(places, PATHS[path]))
    (row,) = result.edges().values()
    assert (row["request_packets"], row["response_packets"], row["request_payload_bytes"]) == (299, 1, 29_600)
    assert result.removed() == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", ["identified", "of many lengths"])
def test_datagrams_that_were_seen_once_count_too(tmp_path: Path, path: str, body: str) -> None:
    def frames(index: int) -> list[s.Frame]:
        legs = [Leg(CLIENT, POD, index)]
        one = [
            datagrams(legs, [(True, bytes(100 if body == "identified" else number))], START_NS + number * GAP_NS,
                      ident=number + 1 if body == "identified" else 0)
            for number in range(300)
        ]  # fmt: skip
        return [frame for part in one for frame in part]

    result = edges_of(tmp_path, spread([frames(2), frames(3)], PATHS[path]))
    (row,) = result.edges().values()
    assert (row["request_packets"], result.removed()) == (300, 0)


def test_acknowledgements_and_the_end_of_a_download_over_two_interfaces(tmp_path: Path) -> None:
    steps = http([(100, 40_000)], close=False)
    steps = [step for one in steps for step in ((one, Step(True)) if not one.from_client and one.payload else (one,))]
    steps += [Step(True, flags=FIN | ACK), Step(False, flags=RST | ACK)]
    places = [conversation([Leg(CLIENT, POD, index)], steps) for index in (2, 3)]
    result = edges_of(tmp_path, spread(places, lambda number: number % 2))
    (row,) = result.edges().values()
    assert row["request_packets"] + row["response_packets"] == len(steps) - 1  # one repeats an acknowledgement
    assert row["response_payload_bytes"] == 40_000


@pytest.mark.parametrize("burst", [1, 7, 40])
@pytest.mark.parametrize("ident", [0, 1])
def test_copies_of_bursts_on_three_interfaces_are_copies(tmp_path: Path, burst: int, ident: int) -> None:
    """Segments out of order, repeated, with holes, and datagrams: each interface shows so many before the next does."""
    order = [0, 1, 5, 3, 2, 4, 9, 7, 7, 6, 8, *range(10, 40)]
    once = [
        s.Frame(
            START_NS + place * 1000,
            s.sll2(s.ipv4(CLIENT[0], POD[0], 6, s.tcp(40_000, 80, 100 + 50 * n, 7), wire=70)),
            110,
        )
        for place, n in enumerate(order)
    ]
    once += [
        s.Frame(START_NS + (50 + n) * 1000, s.sll2(s.ipv4(CLIENT[0], POD[0], 17, s.udp(4000, 5000, bytes(9)), ident=ident * n)))
        for n in range(40)
    ]  # fmt: skip
    seen = []
    for first in range(0, len(once), burst):
        for index in (2, 3, 4):
            seen += [
                replace(f, data=f.data[:4] + bytes([0, 0, 0, index]) + f.data[8:]) for f in once[first : first + burst]
            ]
    seen = [replace(f, ts_ns=START_NS + place * 1000) for place, f in enumerate(seen)]
    result = edges_of(tmp_path, seen, shuffled=True)
    assert result.edges() == edges_of(tmp_path, once, shuffled=True).edges()
    assert result.report.copies["interface"]["packets"] == 2 * len(once)


def test_pieces_of_offloaded_datagrams_are_copies(tmp_path: Path) -> None:
    whole = datagrams([Leg(CLIENT, POD, 2)], [(True, bytes(6000))])
    pieces = datagrams([Leg(CLIENT, POD, 3)], [(True, bytes(1200))] * 5, START_NS + 200_000, gap_ns=1000)
    result = edges_of(tmp_path, whole, pieces)
    assert result.total() == 6028
    assert result.report.copies["interface"]["packets"] == 5


def late(tmp_path: Path, order: list[int], ports: tuple[int, int] = (40_000, 80)) -> tuple[int, int]:
    """Payload of segments of 100 bytes that come in some order, and holes forgotten."""
    frames = [
        s.Frame(
            START_NS + place * 1000,
            s.sll2(s.ipv4(CLIENT[0], POD[0], 6, s.tcp(*ports, 2**32 - 350 + 100 * n, 7), wire=120)),
            160,
        )
        for place, n in enumerate(order)
    ]
    result = edges_of(tmp_path, frames, shuffled=True)
    (row,) = result.edges().values()
    return row["request_payload_bytes"], result.report.to_json()["holes_forgotten"]


def test_late_segments_fill_several_holes(tmp_path: Path) -> None:
    assert late(tmp_path, [0, 2, 4, 1, 3]) == (500, 0)
    assert late(tmp_path, [0, 2, 4, 6, 8, 3, 7, 1, 5, 3, 7, 1]) == (900, 0)
    assert late(tmp_path, [0, 9, 5, 3, 7, 12, 11, 4, 6]) == (900, 0)  # holes of which the middle comes first
    assert late(tmp_path, [*range(0, 40, 2), *range(1, 39, 2)]) == (100 * 28, 11)


def test_both_sides_may_open_at_the_same_time(tmp_path: Path) -> None:
    ends = ("10.0.0.1", 5000), ("10.0.0.2", 6000)
    said = [(0, SYN, 50, 0, 0), (1, SYN, 70, 0, 0), (1, SYN, 70, 0, 0), (0, SYN | ACK, 50, 71, 0), (1, SYN | ACK, 70, 51, 0),
            (0, ACK, 51, 71, 30), (1, ACK, 71, 81, 40)]  # fmt: skip
    frames = []
    for number, (who, flags, seq, ack, size) in enumerate(said):
        (src, sport), (dst, dport) = ends[who], ends[1 - who]
        packet = s.ipv4(src, dst, 6, s.tcp(sport, dport, seq, ack, flags), wire=20 + size)
        frames += [
            s.Frame(START_NS + number * GAP_NS + i, s.sll2(packet, ifindex=2 + i), 20 + 40 + size) for i in (0, 1)
        ]
    (found,) = edges_of(tmp_path, frames).edges().items()
    assert found[0] == ("10.0.0.1", "10.0.0.2", 6000, "tcp")
    row = found[1]
    assert (row["connections"], row["request_payload_bytes"], row["response_payload_bytes"]) == (1, 30, 40)
    assert (row["request_packets"], row["response_packets"]) == (3, 4)
