"""From packets to connections: who is the client, what counts once, when a connection begins and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir.capture.batch import ACK, FIN, FROM_US, PSH, RST, SYN
from tests.capture import capture_samples as s
from tests.flows.flow_samples import (
    CLIENT,
    POD,
    START_NS,
    START_S,
    Leg,
    Step,
    conversation,
    datagrams,
    edges_of,
    http,
    moved,
    pod,
    service,
)

ONE = [Leg(CLIENT, POD, 11)]
KEY = (CLIENT[0], POD[0], 8080, "tcp")


def test_a_request_and_its_response(tmp_path: Path) -> None:
    (row,) = edges_of(tmp_path, conversation(ONE, http([(300, 5000)]))).edges().values()
    assert row == {
        "request_bytes": 300 + 6 * 40, "response_bytes": 5000 + 6 * 40,
        "request_payload_bytes": 300, "response_payload_bytes": 5000, "request_packets": 6, "response_packets": 6,
        "connections": 1, "exchanges": 1, "mediated_bytes": 0, "dns_queries": 0, "dns_name_bytes": 0,
    }  # fmt: skip


def test_exchanges_count_turns_to_the_client(tmp_path: Path) -> None:
    kept_alive = conversation(ONE, http([(100, 200), (100, 3000), (5000, 10)]))
    assert edges_of(tmp_path, kept_alive).edges()[KEY]["exchanges"] == 3
    greeting = [
        *http([], close=False),
        Step(False, 80),
        Step(True, 30),
        Step(False, 11),
        Step(True, 500),
        Step(True, 500),
    ]
    assert edges_of(tmp_path, conversation(ONE, greeting)).edges()[KEY]["exchanges"] == 2


def test_retransmissions_carry_bytes_but_no_payload_and_no_exchange(tmp_path: Path) -> None:
    steps = [
        *http([(300, 1000)], close=False),
        Step(True, 300, back=300),
        Step(False, 600, back=600),
        Step(False, 700, back=500),
    ]
    steps[-1] = Step(False, 500, back=500)
    row = edges_of(tmp_path, conversation(ONE, steps)).edges()[KEY]
    assert (row["request_payload_bytes"], row["response_payload_bytes"], row["exchanges"]) == (300, 1000, 1)
    assert row["request_bytes"] == 5 * 40 + 600
    assert row["response_bytes"] == 4 * 40 + 1000 + 600 + 500


def test_a_retransmission_that_brings_news_counts_the_news(tmp_path: Path) -> None:
    frames = conversation(ONE, http([(300, 1000)], close=False))
    head = s.tcp(POD[1], CLIENT[1], 900_001 + 500, 1301, ACK)
    frames.append(
        s.Frame(
            START_NS + 9**9, s.sll2(s.ipv4(POD[0], CLIENT[0], 6, head, wire=20 + 800), ifindex=11, direction=4), 860
        )
    )
    assert edges_of(tmp_path, frames).edges()[KEY]["response_payload_bytes"] == 1300


def test_segments_out_of_order_count_once(tmp_path: Path) -> None:
    frames = conversation(ONE, http([(300, 1448 * 6)]))
    frames[6], frames[5] = frames[5], frames[6]
    frames[8], frames[9] = frames[9], frames[8]
    result = edges_of(tmp_path, frames, shuffled=True)
    assert result.edges()[KEY]["response_payload_bytes"] == 1448 * 6
    assert result.edges()[KEY]["exchanges"] == 1


def test_sequence_numbers_wrap_around(tmp_path: Path) -> None:
    frames = conversation(ONE, http([(300, 5000)] * 3), isn=(2**32 - 200, 2**32 - 3000))
    row = edges_of(tmp_path, frames).edges()[KEY]
    assert (row["request_payload_bytes"], row["response_payload_bytes"], row["exchanges"]) == (900, 15_000, 3)


def test_a_syn_decides_who_asks_even_from_a_low_port(tmp_path: Path) -> None:
    legs = [Leg(("10.244.1.5", 80), ("10.244.2.7", 50_000), 11)]
    assert list(edges_of(tmp_path, conversation(legs, http())).edges()) == [("10.244.1.5", "10.244.2.7", 50_000, "tcp")]


def test_a_lost_syn_is_made_good_by_its_answer(tmp_path: Path) -> None:
    frames = conversation([Leg(("10.244.1.5", 80), ("10.244.2.7", 50_000), 11)], http())[1:]
    ((key, row),) = edges_of(tmp_path, frames).edges().items()
    assert key == ("10.244.1.5", "10.244.2.7", 50_000, "tcp")
    assert row["connections"] == 1


def test_without_a_syn_the_listener_is_the_server(tmp_path: Path) -> None:
    talk = [Step(False, 100), Step(True, 50), Step(False, 100)]  # begins with the server
    high = [Leg(("10.244.1.5", 3000), ("10.244.2.7", 2000), 11)]
    entities = [
        pod("a", "10.244.2.7", "a", labels={"x": "y"}),
        service("a", "10.96.0.9", {"80": 2000}, selector={"x": "y"}),
    ]
    found = edges_of(tmp_path, conversation(high, talk), entities=entities).edges()
    assert list(found) == [("10.244.1.5", "a", 2000, "tcp")]
    assert found["10.244.1.5", "a", 2000, "tcp"]["connections"] == 0  # it began before the capture


def test_a_port_that_answered_is_known_from_then_on(tmp_path: Path) -> None:
    other = [Leg(("10.244.1.6", 3000), ("10.244.2.7", 2000), 12)]
    first = conversation([Leg(("10.244.1.5", 3001), ("10.244.2.7", 2000), 11)], http())
    later = conversation(other, [Step(False, 100), Step(True, 50)], START_NS + 10**9)
    assert ("10.244.1.6", "10.244.2.7", 2000, "tcp") in edges_of(tmp_path, first, later).edges()


@pytest.mark.parametrize(
    ("ends", "server"),
    [
        ((("10.0.0.1", 45_000), ("10.0.0.2", 5432)), "10.0.0.2"),  # the ephemeral side asks
        ((("10.0.0.1", 6000), ("10.0.0.2", 5432)), "10.0.0.1"),  # no side is ephemeral: the first packet decides
    ],
)
def test_other_ways_to_tell_client_and_server(tmp_path: Path, ends: tuple[tuple[str, int], ...], server: str) -> None:
    frames = conversation([Leg(ends[0], ends[1], 3)], [Step(False, 100), Step(True, 50)])
    assert [key[1] for key in edges_of(tmp_path, frames).edges()] == [server]


def test_a_repeated_syn_is_one_connection_and_a_new_one_another(tmp_path: Path) -> None:
    repeated = [Step(True, flags=SYN), Step(True, flags=SYN, back=1, gap_ns=10**9), *http()[1:]]
    again = conversation(ONE, http(), START_NS + 5 * 10**9, isn=(77, 88))
    assert edges_of(tmp_path, conversation(ONE, repeated)).edges()[KEY]["connections"] == 1
    assert edges_of(tmp_path, conversation(ONE, repeated), again).edges()[KEY]["connections"] == 2
    refused = [Step(True, flags=SYN), Step(False, flags=RST | ACK)]
    tries = [conversation(ONE, refused, START_NS + i * 10**9, isn=(i * 7919, 0)) for i in range(4)]
    assert edges_of(tmp_path, *tries).edges()[KEY]["connections"] == 4


def test_silence_ends_a_connection(tmp_path: Path) -> None:
    legs = [Leg(("10.0.0.1", 40_000), ("10.0.0.2", 9999), 3)]
    packets = [*datagrams(legs, [(True, b"a")]), *datagrams(legs, [(False, b"b")], START_NS + 25 * 10**9)]
    packets += datagrams(legs, [(True, b"a")], START_NS + 60 * 10**9)
    for timeout_s, connections in ((30, 2), (20, 3), (100, 1)):
        found = edges_of(tmp_path, packets, timeout_s=timeout_s).edges()
        assert sum(row["connections"] for row in found.values()) == connections


def test_a_stray_packet_after_the_end_is_no_connection(tmp_path: Path) -> None:
    closed = conversation(ONE, http())
    stray = conversation(ONE, [Step(False, flags=RST)], START_NS + 100 * 10**9, isn=(0, 905_000))
    row = edges_of(tmp_path, closed, stray).edges()[KEY]
    assert row["connections"] == 1
    assert row["response_packets"] == 7


def test_connections_count_in_the_window_they_began(tmp_path: Path) -> None:
    steps = [*http([(100, 100)], close=False), Step(True, 100, gap_ns=12 * 10**9), Step(False, 100, gap_ns=50 * 10**9)]
    table = edges_of(tmp_path, conversation(ONE, steps)).table
    tens = table[(table["window_s"] == 10) & (table["view"] == "pod")]
    assert (tens["window_start"] - START_S).tolist() == [0, 10, 60]
    assert tens["connections"].tolist() == [1, 0, 0]
    assert tens["exchanges"].tolist() == [1, 1, 0]
    assert tens["response_payload_bytes"].tolist() == [100, 0, 100]


def test_dns_queries_and_their_names(tmp_path: Path) -> None:
    legs = [Leg(("10.244.1.5", 41_000), ("10.244.0.3", 53), 11)]
    bodies = [
        (True, s.dns("a.example")),
        (True, s.dns("bb.example")),
        (False, s.dns("a.example", response=True)),
        (False, b"torn"),
    ]
    (row,) = edges_of(tmp_path, datagrams(legs, bodies)).edges().values()
    assert (row["dns_queries"], row["dns_name_bytes"], row["exchanges"], row["connections"]) == (2, 19, 1, 1)


def test_other_protocols_are_edges_too(tmp_path: Path) -> None:
    echo = s.ipv4("10.0.0.1", "10.0.0.2", 1, bytes([8]) + bytes(63))
    reply = s.ipv4("10.0.0.2", "10.0.0.1", 1, bytes(64))
    gre = s.ipv4("10.0.0.1", "10.0.0.2", 47, bytes(10))
    six = s.ipv6("2001:db8::1", "fd00::2", 132, bytes([0x90, 0, 0x0F, 0xA0]) + bytes(20))
    frames = [s.Frame(START_NS + i, s.sll2(p)) for i, p in enumerate((echo, reply, gre))] + [
        s.Frame(START_NS + 9, s.sll2(six, 0x86DD))
    ]
    found = edges_of(tmp_path, frames).edges()
    assert {k: (v["request_bytes"], v["response_bytes"], v["connections"]) for k, v in found.items()} == {
        ("10.0.0.1", "10.0.0.2", 0, "icmp"): (84, 84, 1),
        ("10.0.0.1", "10.0.0.2", 0, "47"): (30, 0, 1),
        ("outside:2001:db8::1", "fd00::2", 4000, "sctp"): (64, 0, 1),
    }


def test_fragments_belong_to_their_connection(tmp_path: Path) -> None:
    first = s.ipv4("10.0.0.1", "10.0.0.2", 17, s.udp(40_000, 9999, bytes(56), wire=120), ident=5, place=0x2000)
    later = s.ipv4("10.0.0.1", "10.0.0.2", 17, bytes(64), ident=5, place=8)
    frames = [s.Frame(START_NS + i, s.sll2(p)) for i, p in enumerate((first, later))]
    ((key, row),) = edges_of(tmp_path, frames).edges().items()
    assert key[2] == 9999
    assert (row["request_packets"], row["request_payload_bytes"], row["connections"]) == (2, 120, 1)


def test_halves_that_close_and_data_after_a_fin(tmp_path: Path) -> None:
    steps = [
        *http([(100, 100)], close=False),
        Step(True, flags=FIN | ACK),
        Step(False, 500, PSH | ACK),
        Step(False, flags=FIN | ACK),
    ]
    row = edges_of(tmp_path, conversation(ONE, steps)).edges()[KEY]
    assert (row["response_payload_bytes"], row["connections"]) == (600, 1)


def test_the_syn_of_an_answered_syn_may_come_late(tmp_path: Path) -> None:
    frames = conversation(ONE, http())
    result = edges_of(tmp_path, [frames[1], frames[0], *frames[2:]], shuffled=True)
    assert result.edges()[KEY]["connections"] == 1


def test_moved_first_step_keeps_the_shape() -> None:
    assert moved(http(), gap_ns=5)[1:] == http()[1:]
    assert FROM_US == 4
