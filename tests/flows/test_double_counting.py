"""Bytes are counted once, however many interfaces and addresses a packet passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mimir.capture.batch import FROM_US, TO_US
from tests.capture import capture_samples as s
from tests.flows.flow_samples import (
    CLIENT,
    ENTITIES,
    NODE,
    OUTSIDE,
    POD,
    SERVICE,
    START_NS,
    Leg,
    Step,
    conversation,
    datagrams,
    directly,
    edges_of,
    http,
    pod,
    service,
    through_service,
)

WEB, USER = "web-5d9-abcde", "user-7f-xyz12"
ONCE = 300 + 5000 + 12 * 40


def test_service_and_pod_leg_are_one_connection(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation(through_service(), http()), entities=ENTITIES)
    assert list(result.edges()) == [(WEB, USER, 8080, "tcp")]
    row = result.edges()[WEB, USER, 8080, "tcp"]
    assert row["request_bytes"] + row["response_bytes"] == row["mediated_bytes"] == ONCE
    assert (row["connections"], row["exchanges"], row["request_packets"]) == (1, 1, 6)
    assert list(result.edges("service")) == [("web", "user", 8080, "tcp")]
    assert result.report.copies["service_address"] == {"packets": 12, "bytes": ONCE}


def test_a_pod_that_does_not_use_the_service_address_shows(tmp_path: Path) -> None:
    row = edges_of(tmp_path, conversation(directly(), http()), entities=ENTITIES).edges()[WEB, USER, 8080, "tcp"]
    assert row["request_bytes"] + row["response_bytes"] == ONCE
    assert row["mediated_bytes"] == 0


def test_the_same_tuple_on_two_interfaces_counts_on_one(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation(directly(), http()), entities=ENTITIES)
    assert result.total() == ONCE
    assert result.report.copies["interface"] == {"packets": 12, "bytes": ONCE}


def test_a_service_leg_without_its_pod_leg_stays_under_the_service(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation(through_service()[:1], http()), entities=ENTITIES)
    assert result.edges()[WEB, "service:user", 80, "tcp"]["mediated_bytes"] == ONCE
    assert list(result.edges("service")) == [("web", "user", 80, "tcp")]
    assert result.removed() == 0


def test_a_pod_leg_without_its_service_leg_counts(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation(through_service()[1:], http()), entities=ENTITIES)
    assert result.edges()[WEB, USER, 8080, "tcp"]["mediated_bytes"] == 0
    assert result.total() == ONCE


@pytest.mark.parametrize("entities", [ENTITIES, None])
def test_legs_are_found_without_a_handshake_and_without_entities(
    tmp_path: Path, entities: list[dict[str, object]] | None
) -> None:
    middle = conversation(through_service(), http([(300, 5000), (300, 800)]))[12:]
    result = edges_of(tmp_path, middle, entities=entities)
    assert len(result.edges()) == 1
    assert result.report.copies["service_address"]["bytes"] == result.total()


@pytest.mark.parametrize("lost", [0, 1, 2, 3, 5])
def test_a_packet_lost_on_one_leg_does_not_part_the_legs(tmp_path: Path, lost: int) -> None:
    frames = conversation(through_service(), http())
    del frames[lost]
    result = edges_of(tmp_path, frames, entities=ENTITIES)
    assert list(result.edges()) == [(WEB, USER, 8080, "tcp")]
    assert result.edges()[WEB, USER, 8080, "tcp"]["connections"] == 1


def test_traffic_from_outside_through_a_node_port(tmp_path: Path) -> None:
    legs = [Leg(OUTSIDE, (NODE, 30_001), 2), Leg(OUTSIDE, POD, 12, FROM_US)]
    result = edges_of(tmp_path, conversation(legs, http()), entities=ENTITIES)
    assert result.edges()["outside:users", USER, 8080, "tcp"]["mediated_bytes"] == ONCE
    assert result.report.copies["node_port"]["bytes"] == result.total() == ONCE


def test_a_node_port_with_a_translated_client_keeps_the_one_who_asked(tmp_path: Path) -> None:
    legs = [Leg(OUTSIDE, (NODE, 30_001), 2), Leg((NODE, 61_234), POD, 12, FROM_US)]
    result = edges_of(tmp_path, conversation(legs, http()), entities=ENTITIES)
    assert list(result.edges()) == [("outside:users", USER, 8080, "tcp")]
    assert result.total() == ONCE


def test_three_legs_as_on_a_bridge(tmp_path: Path) -> None:
    """Client → node port, gateway → pod, and the reply once more with only its client translated back."""
    steps = http()
    both = conversation([Leg(OUTSIDE, (NODE, 30_001), 2), Leg(("172.17.0.1", 61_234), POD, 12, FROM_US)], steps)
    half = [
        f
        for f, step in zip(conversation([Leg(OUTSIDE, POD, 5)], steps, START_NS + 2), steps, strict=True)
        if not step.from_client
    ]
    result = edges_of(tmp_path, both, half, entities=ENTITIES)
    assert list(result.edges()) == [("outside:users", USER, 8080, "tcp")]
    assert result.total() == ONCE
    assert result.report.copies["masquerade"]["packets"] == 6


@pytest.mark.parametrize("entities", [ENTITIES, None])
def test_traffic_to_outside_counts_for_the_pod_not_the_node(
    tmp_path: Path, entities: list[dict[str, object]] | None
) -> None:
    target = ("198.51.100.7", 443)
    legs = [Leg(CLIENT, target, 11), Leg((NODE, 33_333), target, 2, FROM_US)]
    result = edges_of(tmp_path, conversation(legs, http()), entities=entities)
    name = WEB if entities else CLIENT[0]
    assert list(result.edges()) == [(name, "outside:198.51.100.7", 443, "tcp")]
    assert result.report.copies["masquerade"]["bytes"] == result.total() == ONCE


def test_a_probe_from_the_node_is_seen_once(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation([Leg((NODE, 50_000), POD, 12, FROM_US)], http()), entities=ENTITIES)
    assert list(result.edges()) == [("node:n1", USER, 8080, "tcp")]


def test_the_api_server_is_behind_a_service_address_too(tmp_path: Path) -> None:
    api = service("kubernetes", "10.96.0.1", {"443": 6443})
    legs = [Leg(CLIENT, ("10.96.0.1", 443), 11), Leg(CLIENT, (NODE, 6443), 11, FROM_US)]
    result = edges_of(tmp_path, conversation(legs, http()), entities=[*ENTITIES, api])
    assert list(result.edges()) == [(WEB, "node:n1", 6443, "tcp")]
    assert result.edges()[WEB, "node:n1", 6443, "tcp"]["mediated_bytes"] == ONCE


@pytest.mark.parametrize("ident", [0, 4711])
def test_dns_through_the_service_address(tmp_path: Path, ident: int) -> None:
    dns = [pod("coredns-1", "10.244.0.3", "kube-dns"), service("kube-dns", "10.96.0.2", {"53": 53})]
    legs = through_service((CLIENT[0], 41_000), ("10.96.0.2", 53), ("10.244.0.3", 53))
    bodies = [
        (True, s.dns("a.example")),
        (True, s.dns("a.example", ident=8)),
        (False, s.dns("a.example", response=True)),
    ]
    result = edges_of(tmp_path, datagrams(legs, bodies, ident=ident), entities=[*ENTITIES, *dns])
    row = result.edges()[WEB, "coredns-1", 53, "udp"]
    assert (row["dns_queries"], row["dns_name_bytes"], row["connections"]) == (2, 18, 1)
    assert row["mediated_bytes"] == result.total() == result.report.copies["service_address"]["bytes"]


def test_a_socket_whose_translation_was_renewed(tmp_path: Path) -> None:
    """The service tuple goes on, the pod behind it is another one."""
    dns = [pod(f"coredns-{i}", f"10.244.0.{i}", "kube-dns") for i in (3, 4)]
    log = [*ENTITIES, *dns, service("kube-dns", "10.96.0.2", {"53": 53})]
    talks = []
    for number, at_s in ((3, 0), (4, 60), (3, 120)):
        legs = through_service((CLIENT[0], 41_000), ("10.96.0.2", 53), (f"10.244.0.{number}", 53), (11, 12 + number))
        bodies = [(True, s.dns("a" * number + ".example")), (False, s.dns("a.example", response=True))]
        talks.append(datagrams(legs, bodies, START_NS + at_s * 10**9))
    result = edges_of(tmp_path, *talks, entities=log)
    assert sorted(key[1] for key in result.edges()) == ["coredns-3", "coredns-4"]
    assert sum(row["mediated_bytes"] for row in result.edges().values()) == result.total()
    assert result.report.copies["service_address"]["bytes"] == result.total()


def test_dns_leaving_the_node(tmp_path: Path) -> None:
    target = ("198.51.100.53", 53)
    legs = [Leg((POD[0], 42_000), target, 12), Leg((NODE, 42_001), target, 2, FROM_US)]
    result = edges_of(
        tmp_path, datagrams(legs, [(True, s.dns("a.example")), (False, s.dns("a.example"))]), entities=ENTITIES
    )
    assert list(result.edges()) == [(USER, "outside:198.51.100.53", 53, "udp")]
    assert result.report.copies["masquerade"]["packets"] == 2


def test_gossip_from_one_port_to_many_peers_is_not_taken_for_legs(tmp_path: Path) -> None:
    talks = [
        datagrams([Leg(CLIENT, (f"10.244.3.{i}", 7946), 11)], [(True, b"ping"), (False, b"pong")], START_NS + i * 1000)
        for i in range(5)
    ]
    result = edges_of(tmp_path, *talks, entities=ENTITIES)
    assert len(result.edges()) == 5
    assert result.removed() == 0


def test_equal_sequence_numbers_alone_prove_nothing(tmp_path: Path) -> None:
    """A flood with one initial sequence number from many addresses, as attack tools send it."""
    talks = [
        conversation([Leg((f"203.0.113.{i}", 2000), POD, 2)], http()[:1], START_NS + i * 1000) for i in range(1, 9)
    ]
    assert edges_of(tmp_path, *talks, entities=ENTITIES).removed() == 0
    scan = [
        conversation([Leg(CLIENT, (f"10.244.3.{i}", 22), 11)], http()[:1], START_NS + i * 1000) for i in range(1, 9)
    ]
    assert edges_of(tmp_path, *scan, entities=ENTITIES).removed() == 0


def test_two_connections_through_one_service_stay_apart(tmp_path: Path) -> None:
    other = pod("user-7f-other", "10.244.2.8", "user", labels={"app": "user"})
    one = conversation(through_service((CLIENT[0], 40_001)), http([(100, 1000)]), isn=(5, 6))
    two = conversation(
        through_service((CLIENT[0], 40_002), pod=("10.244.2.8", 8080), at=(11, 13)),
        http([(200, 2000)]),
        START_NS + 10,
        (50, 60),
    )
    result = edges_of(tmp_path, one, two, entities=[*ENTITIES, other])
    payloads = {key[1]: row["response_payload_bytes"] for key, row in result.edges().items()}
    assert payloads == {USER: 1000, "user-7f-other": 2000}
    assert result.edges("service")["web", "user", 8080, "tcp"]["connections"] == 2


def test_a_reused_client_port_finds_its_own_leg(tmp_path: Path) -> None:
    talks = [
        conversation(through_service(), http(), START_NS + i * 10**7, isn=(1000 + i * 10**6, 5)) for i in range(20)
    ]
    result = edges_of(tmp_path, *talks, entities=ENTITIES)
    row = result.edges()[WEB, USER, 8080, "tcp"]
    assert row["connections"] == 20
    assert row["mediated_bytes"] == result.total() == 20 * ONCE


def test_cooked_captures_of_version_1_have_only_the_direction(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation(directly(), http(), link=s.SLL), entities=ENTITIES, link=s.SLL)
    assert result.total() == result.report.copies["interface"]["bytes"] == ONCE
    result = edges_of(tmp_path, conversation(through_service(), http(), link=s.SLL), entities=ENTITIES, link=s.SLL)
    assert result.edges()[WEB, USER, 8080, "tcp"]["mediated_bytes"] == result.total() == ONCE


def proofs(result: Any) -> dict[str, int]:
    return {name: c["bytes"] for name, c in result.report.proofs.items() if c["packets"]}


def test_ethernet_without_entities_goes_by_sequence_numbers(tmp_path: Path) -> None:
    frames = conversation(through_service(), http(), link=s.ETHERNET)
    known = edges_of(tmp_path, frames, entities=ENTITIES, link=s.ETHERNET)
    assert (known.total(), proofs(known)) == (ONCE, {"entities": ONCE})
    unknown = edges_of(tmp_path, frames, link=s.ETHERNET)
    assert (unknown.total(), proofs(unknown)) == (ONCE, {"sequence_numbers": ONCE})
    row = unknown.edges()[CLIENT[0], POD[0], 8080, "tcp"]
    assert row["mediated_bytes"] == ONCE
    assert (row["connections"], row["request_packets"] + row["response_packets"]) == (1, 12)


@pytest.mark.parametrize("link", [s.ETHERNET, s.SLL])
def test_a_masqueraded_client_without_entities(tmp_path: Path, link: int) -> None:
    legs = [Leg(CLIENT, ("198.51.100.7", 443), 11), Leg((NODE, 33_333), ("198.51.100.7", 443), 2, FROM_US)]
    result = edges_of(tmp_path, conversation(legs, http(), link=link), link=link)
    assert [key[0] for key in result.edges()] == [CLIENT[0]]
    assert (result.total(), proofs(result)) == (ONCE, {"sequence_numbers": ONCE})


@pytest.mark.parametrize("link", [s.ETHERNET, s.SLL])
def test_both_ends_translated_need_entities(tmp_path: Path, link: int) -> None:
    """Made-up captures repeat both numbers between other hosts: without a common endpoint they prove nothing."""
    legs = [Leg(OUTSIDE, (NODE, 30_001), 2), Leg(("172.17.0.1", 61_234), POD, 12, FROM_US)]
    frames = conversation(legs, http(), link=link)
    assert edges_of(tmp_path, frames, link=link).removed() == 0
    assert edges_of(tmp_path, frames, entities=ENTITIES, link=link).total() == ONCE


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_ethernet_without_the_beginning(tmp_path: Path, first: int) -> None:
    """Legs are found from a SYN, its answer (each on both legs) or a first segment with payload on."""
    frames = conversation(through_service(), http(), link=s.ETHERNET)[2 * first :]
    result = edges_of(tmp_path, frames, link=s.ETHERNET)
    if first == 2:  # the bare ACK says too little to be sure
        assert result.removed() == 0
    else:
        assert result.total() == sum(proofs(result).values())


def test_equal_numbers_without_an_answer_prove_nothing_on_ethernet(tmp_path: Path) -> None:
    scan = [
        conversation([Leg(CLIENT, (f"10.244.3.{i}", 22), 11)], http()[:1], START_NS + i * 1000, link=s.ETHERNET)
        for i in range(1, 9)
    ]
    assert edges_of(tmp_path, *scan, link=s.ETHERNET).removed() == 0
    answered = [
        conversation([Leg(CLIENT, (f"10.244.3.{i}", 22), 11)], http(), START_NS + i * 1000, (7, i), s.ETHERNET)
        for i in range(1, 9)
    ]
    result = edges_of(tmp_path, *answered, link=s.ETHERNET)
    assert (result.removed(), result.total()) == (0, 8 * ONCE)


def test_legs_far_apart_in_time_are_two_connections(tmp_path: Path) -> None:
    one, two = (conversation([leg], http(), link=s.ETHERNET) for leg in through_service())
    late = [s.Frame(f.ts_ns + 1_500_000_000, f.data, f.original) for f in two]
    assert edges_of(tmp_path, one, late, link=s.ETHERNET).removed() == 0


def test_datagrams_on_ethernet_need_to_know_the_service(tmp_path: Path) -> None:
    """Resolvers that ask all name servers at once send the same message to each: no proof of a translation."""
    frames = [
        s.Frame(f.ts_ns, s.ethernet(f.data[20:]))
        for f in datagrams(through_service(pod=(POD[0], 53), service=(SERVICE[0], 53)), [(True, s.dns("a.example"))])
    ]
    assert edges_of(tmp_path, frames, link=s.ETHERNET).removed() == 0
    result = edges_of(tmp_path, frames, link=s.ETHERNET, entities=ENTITIES)
    assert sum(proofs(result).values()) == result.total()


def test_a_changed_route_goes_on_counting(tmp_path: Path) -> None:
    before = conversation(directly(at=(11, 12)), http([(100, 100)], close=False))
    steps = [Step(True, 1000), Step(False, 1000), Step(True)]
    after = conversation(directly(at=(13, 14)), steps, START_NS + 3 * 10**9, isn=(1101, 900_101))
    row = edges_of(tmp_path, before, after, entities=ENTITIES).edges()[WEB, USER, 8080, "tcp"]
    assert (row["request_payload_bytes"], row["response_payload_bytes"], row["connections"]) == (1100, 1100, 1)


def test_requests_and_replies_may_take_different_interfaces(tmp_path: Path) -> None:
    frames = conversation([Leg(CLIENT, POD, 11)], http())
    for i, frame in enumerate(frames):
        if frame.data[10] == FROM_US - TO_US:
            frames[i] = s.Frame(frame.ts_ns, frame.data[:4] + bytes([0, 0, 0, 99]) + frame.data[8:], frame.original)
    assert edges_of(tmp_path, frames, entities=ENTITIES).total() == ONCE


def test_hairpin_through_the_own_service(tmp_path: Path) -> None:
    """A pod reaches itself through its service: the node takes its place as the client on the way back."""
    me = (POD[0], 40_000)
    legs = [Leg(me, SERVICE, 12), Leg(("10.244.2.1", 40_000), POD, 12, FROM_US)]
    result = edges_of(tmp_path, conversation(legs, http()), entities=ENTITIES)
    assert list(result.edges()) == [(USER, USER, 8080, "tcp")]
    assert result.total() == ONCE
