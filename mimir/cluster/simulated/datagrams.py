"""Questions of a pod to a host outside and their answers, one packet each way: DNS around kube-dns, ICMP echoes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mimir.capture.batch import FROM_US, ICMP, TO_US, UDP
from mimir.cluster.simulated import frames
from mimir.cluster.simulated.layout import NODE_IF, Layout
from mimir.cluster.simulated.roster import Life
from mimir.cluster.simulated.tables import Ints, Rows

_HEADERS = 28  # IPv4, and UDP or ICMP
ECHO, ECHO_REPLY = 8, 0  #: ICMP types


@dataclass(frozen=True)
class Exchanges:
    """`n` questions at `at_ns` (rising) and their answers. Numbers are of messages that hold the contents, -1: none.

    `identifiers` (n,) are transaction ids of DNS, or sequence numbers of echoes of `session`.
    """

    at_ns: Ints
    asked_bytes: Ints
    told_bytes: Ints
    asked_message: Ints
    told_message: Ints
    identifiers: Ints


def arrivals(messages: int, message_of: list[int], left_ns: list[int]) -> list[int]:
    """When the last piece of each message left the node; 0 where one of them never did."""
    of, left = np.array(message_of, dtype=np.int64), np.array(left_ns, dtype=np.int64)
    last = np.zeros(messages, dtype=np.int64)
    np.maximum.at(last, of, left)
    last[of[left == 0]] = 0
    return [int(at) for at in last]


def play(
    exchanges: Exchanges, life: Life, layout: Layout, far: tuple[int, int], session: int, random: np.random.Generator
) -> tuple[Rows, Ints]:
    """Packets beside the pod and at the node, and when each question left the node (ns), 0 if the pod was gone.

    `far` is the address outside and its UDP port, 0 for ICMP. `session` is the pod's port, or the identifier of echoes.
    The node puts its own address in place of the pod's.
    """
    pod = life.pod
    count, transport = len(exchanges.at_ns), layout.cluster.transport
    hop = random.uniform(*transport.copy_delay_us, count) * 1e3
    away = random.lognormal(math.log(transport.outside_rtt_ms[0] * 1e6), transport.outside_rtt_ms[1], count)
    left = exchanges.at_ns + hop.astype(np.int64)
    back = left + away.astype(np.int64)
    rows = frames.empty(4 * count).reshape(4, count)
    node, idents = layout.number("node"), random.integers(0, 1 << 16, (2, count))
    plans = (
        (exchanges.at_ns, (pod.ip, far[0]), (pod.ifindex, TO_US), True),
        (left, (node, far[0]), (NODE_IF, FROM_US), True),
        (back, (far[0], node), (NODE_IF, TO_US), False),
        (back + hop.astype(np.int64), (far[0], pod.ip), (pod.ifindex, FROM_US), False),
    )
    for p, (ts, ends, place, asks) in zip(rows, plans, strict=True):
        p["ts"], p["src"], p["dst"], p["ifindex"], p["direction"] = ts, *ends, *place
        p["payload"] = exchanges.asked_bytes if asks else exchanges.told_bytes
        p["message"] = exchanges.asked_message if asks else exchanges.told_message
        p["ip_bytes"], p["flags"], p["ip_id"] = p["payload"] + _HEADERS, 0, idents[0 if asks else 1]
        p["seq"], p["ack"] = exchanges.identifiers, 0
        if far[1]:
            p["proto"] = UDP
            p["sport"], p["dport"] = (session, far[1]) if asks else (far[1], session)
        else:
            p["proto"], p["ack"] = ICMP, session
            p["sport"], p["dport"] = (ECHO, ECHO_REPLY) if asks else (ECHO_REPLY, ECHO)
    there = exchanges.at_ns < life.gone_ns
    return rows[:, there].reshape(-1), np.where(there, left, 0)
