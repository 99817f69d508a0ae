"""Conversations as a recorder on a node's `any` interface sees them: every leg of every packet, hand-packed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mimir.capture.batch import ACK, FIN, FROM_US, PSH, SYN, TO_US
from mimir.flows import build_edges
from mimir.flows.build import EdgeReport
from mimir.flows.edges import COUNTERS
from tests.capture import capture_samples as s

START_S = 1_700_000_040  # a multiple of 60 and 10
START_NS = START_S * 10**9
End = tuple[str, int]
CLIENT, SERVICE, POD = ("10.244.1.5", 40_000), ("10.96.0.10", 80), ("10.244.2.7", 8080)
NODE, OUTSIDE = "192.168.49.2", ("203.0.113.9", 51_000)


@dataclass(frozen=True)
class Leg:
    """How a connection looks at one interface; `direction` is that of packets from the client."""

    client: End
    server: End
    ifindex: int
    direction: int = TO_US


@dataclass(frozen=True)
class Step:
    """One packet: who sends, payload, TCP flags; `back` moves the sequence number back (a retransmission)."""

    from_client: bool
    payload: int = 0
    flags: int = ACK
    back: int = 0
    gap_ns: int = 100_000


def through_service(
    client: End = CLIENT, service: End = SERVICE, pod: End = POD, at: tuple[int, int] = (11, 12)
) -> list[Leg]:
    return [Leg(client, service, at[0]), Leg(client, pod, at[1], FROM_US)]


def directly(client: End = CLIENT, pod: End = POD, at: tuple[int, int] = (11, 12)) -> list[Leg]:
    return [Leg(client, pod, at[0]), Leg(client, pod, at[1], FROM_US)]


def http(exchanges: Sequence[tuple[int, int]] = ((300, 5000),), close: bool = True) -> list[Step]:
    """Handshake, requests and responses of the given payloads, close."""
    steps = [Step(True, flags=SYN), Step(False, flags=SYN | ACK), Step(True)]
    for request, response in exchanges:
        steps.append(Step(True, request, ACK | PSH))
        while response > 0:
            steps.append(Step(False, min(response, 1448), ACK | PSH))
            response -= 1448
        steps.append(Step(True))
    return [*steps, Step(True, flags=FIN | ACK), Step(False, flags=FIN | ACK), Step(True)] if close else steps


def conversation(
    legs: Sequence[Leg],
    steps: Iterable[Step],
    at_ns: int = START_NS,
    isn: tuple[int, int] = (1000, 900_000),
    link: int = s.SLL2,
) -> list[s.Frame]:
    """Frames of a TCP conversation on all legs, in time order; copies come 5 µs apart."""
    frames, sent = [], [isn[0], isn[1]]
    for step in steps:
        at_ns += step.gap_ns
        mine, other = (0, 1) if step.from_client else (1, 0)
        for number, leg in enumerate(legs if step.from_client else list(reversed(legs))):
            source, target = (leg.client, leg.server) if step.from_client else (leg.server, leg.client)
            ack = sent[other] if step.flags & ACK else 0
            head = s.tcp(source[1], target[1], sent[mine] - step.back, ack, step.flags)
            packet = s.ipv4(source[0], target[0], 6, head, wire=20 + step.payload, ident=7)
            direction = leg.direction if step.from_client else FROM_US - leg.direction
            frames.append(framed(at_ns + number * 5_000, packet, step.payload, leg.ifindex, direction, link))
        if not step.back:
            sent[mine] += step.payload + (1 if step.flags & (SYN | FIN) else 0)
    return frames


def framed(ts_ns: int, packet: bytes, missing: int, ifindex: int, direction: int, link: int = s.SLL2) -> s.Frame:
    """A packet of which `missing` bytes were not captured."""
    if link == s.SLL2:
        data = s.sll2(packet, ifindex=ifindex, direction=direction)
    else:
        data = s.sll(packet, direction=direction) if link == s.SLL else s.ethernet(packet)
    return s.Frame(ts_ns, data, len(data) + missing)


def datagrams(
    legs: Sequence[Leg],
    bodies: Iterable[tuple[bool, bytes]],
    at_ns: int = START_NS,
    ident: int = 0,
    gap_ns: int = 100_000,
) -> list[s.Frame]:
    """Frames of a UDP conversation on all legs."""
    frames = []
    for from_client, body in bodies:
        at_ns += gap_ns
        for number, leg in enumerate(legs if from_client else list(reversed(legs))):
            source, target = (leg.client, leg.server) if from_client else (leg.server, leg.client)
            packet = s.ipv4(source[0], target[0], 17, s.udp(source[1], target[1], body), ident=ident)
            direction = leg.direction if from_client else FROM_US - leg.direction
            frames.append(framed(at_ns + number * 5_000, packet, 0, leg.ifindex, direction))
    return frames


def pod(
    name: str, ip: str, workload: str, ts: float = START_S - 100, event: str = "added", **more: Any
) -> dict[str, Any]:
    return {
        "ts": ts,
        "event": event,
        "kind": "pod",
        "namespace": "shop",
        "name": name,
        "ip": ip,
        "workload": workload,
    } | more


def service(name: str, ip: str, ports: dict[str, int], **more: Any) -> dict[str, Any]:
    row = {
        "ts": START_S - 100,
        "event": "added",
        "kind": "service",
        "namespace": "shop",
        "name": name,
        "ip": ip,
        "ports": ports,
    }
    return row | more


ENTITIES = [
    {"ts": START_S - 100, "event": "added", "kind": "node", "name": "n1", "ip": NODE},
    pod("web-5d9-abcde", CLIENT[0], "web"),
    pod("user-7f-xyz12", POD[0], "user", labels={"app": "user"}),
    service("user", SERVICE[0], {"80": 8080}, selector={"app": "user"}, node_ports={"30001": 8080}),
    {"ts": START_S - 100, "event": "added", "kind": "external", "name": "users", "ip": "203.0.113.0/24"},
]


@dataclass(frozen=True)
class Result:
    """Edges as a table, and the report."""

    table: pd.DataFrame
    report: EdgeReport
    path: Path

    def edges(self, view: str = "pod", window_s: int = 60) -> dict[tuple[str, str, int, str], dict[str, int]]:
        """(client, server, port, proto) → counters, summed over time."""
        chosen = self.table[(self.table["view"] == view) & (self.table["window_s"] == window_s)]
        sums = chosen.groupby(["client", "server", "server_port", "proto"])[list(COUNTERS)].sum()
        return {key: dict(row) for key, row in zip(sums.index, sums.to_dict("records"), strict=True)}

    def total(self, view: str = "pod", window_s: int = 60) -> int:
        """IP bytes of all edges."""
        chosen = self.table[(self.table["view"] == view) & (self.table["window_s"] == window_s)]
        return int(chosen["request_bytes"].sum() + chosen["response_bytes"].sum())

    def removed(self) -> int:
        """IP bytes of all copies."""
        return sum(c["bytes"] for c in self.report.copies.values())


def edges_of(
    folder: Path,
    *conversations: list[s.Frame],
    entities: list[dict[str, Any]] | None = None,
    windows_s: Sequence[int] = (1, 10, 60),
    timeout_s: float = 300,
    link: int = s.SLL2,
    shuffled: bool = False,
) -> Result:
    """Write a capture of the conversations, build its edges."""
    from mimir.files import write_jsonl

    frames = [f for one in conversations for f in one]
    if not shuffled:
        frames.sort(key=lambda f: f.ts_ns)
    s.save(folder / "x.pcap", s.pcap(frames, link))
    log = None
    if entities is not None:
        log = folder / "entities.jsonl"
        write_jsonl(log, entities)
    out = folder / "edges.parquet"
    report = build_edges([folder / "x.pcap"], log, windows_s, "test", timeout_s, out)
    return Result(pd.read_parquet(out), report, out)


def moved(steps: list[Step], **changes: Any) -> list[Step]:
    """Steps with the first one changed."""
    return [replace(steps[0], **changes), *steps[1:]]
