"""DNS look-ups → packets: pod → kube-dns through the service address, kube-dns → outside for outside names."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mimir.capture.batch import FROM_US, TO_US, UDP
from mimir.cluster.simulated.layout import DNS_PORT, KUBE_DNS, NODE_IF, Layout
from mimir.cluster.simulated.names import ANSWER_A, INSIDE, NEVER_CACHED, OUTSIDE_SLOT, QUERY_A, Questions
from mimir.cluster.simulated.tables import Ints, Rows
from mimir.jit import kernel
from mimir.load.draws import State, below, between, lognormal

#: columns of a look-up: time, pod, name, kube-dns pod or -1, source port or -1
AT, POD, NAME, SERVER, PORT = range(5)
LOOKUP_COLUMNS = 5
_PAIR_NS = 15_000  # between the A and the AAAA query of one question
_NEXT_NS = 30_000  # from the last answer to the next question
_FORWARD_NS = 60_000  # kube-dns: from a query to forwarding it
_HEADERS = 28


class Resolver(NamedTuple):
    """Addresses and delays of the DNS service; times are ns, `*_log` natural logarithms of ns."""

    pod_ip: Ints  # of all pods
    pod_if: Ints
    servers: Ints  # numbers of the kube-dns pods
    service_ip: int
    node_ip: int
    outside_ip: int
    answer_log: float
    answer_sigma: float
    outside_log: float
    outside_sigma: float
    cache_ns: int
    copy_low_ns: float
    copy_high_ns: float


def resolver_of(layout: Layout) -> Resolver:
    """The DNS service of a layout."""
    dns, transport = layout.cluster.dns, layout.cluster.transport
    return Resolver(
        pod_ip=np.array([life.pod.ip for life in layout.roster.lives]),
        pod_if=np.array([life.pod.ifindex for life in layout.roster.lives]),
        servers=np.array(layout.roster.of(KUBE_DNS)),
        service_ip=layout.number("dns_service"),
        node_ip=layout.number("node"),
        outside_ip=layout.number("resolver"),
        answer_log=math.log(dns.answer_us[0] * 1e3),
        answer_sigma=dns.answer_us[1],
        outside_log=math.log(dns.resolver_ms[0] * 1e6),
        outside_sigma=dns.resolver_ms[1],
        cache_ns=int(dns.cache_s * 1e9),
        copy_low_ns=transport.copy_delay_us[0] * 1e3,
        copy_high_ns=transport.copy_delay_us[1] * 1e3,
    )


@kernel(allocates=True)
def _datagram(
    out: Rows,
    used: int,
    ts: int,
    ends: tuple[int, int, int, int],
    place: tuple[int, int],
    message: tuple[int, int, int],
    ident: int,
) -> int:
    """One packet at one place. `ends`: source and destination address, source and destination port; `place`: interface,
    direction; `message`: number, transaction, bytes. The transaction id waits in the (unused) TCP sequence number."""
    p = out[used]
    p.ts, p.src, p.dst, p.sport, p.dport = ts, ends[0], ends[1], ends[2], ends[3]
    p.ifindex, p.direction = place
    p.message, p.seq, p.ack = message[0], message[1], 0
    p.payload, p.ip_bytes = message[2], message[2] + _HEADERS
    p.flags, p.proto, p.ip_id = 0, UDP, ident
    return used + 1


@kernel(allocates=True)
def _forward(
    out: Rows,
    used: int,
    ts: int,
    server: int,
    query: tuple[int, int],
    answer: tuple[int, int],
    r: Resolver,
    random: State,
) -> tuple[int, int, int]:
    """A query from a kube-dns pod to the outside and its answer. Returns (used, when it is back, when it went out)."""
    hop = int(between(random, r.copy_low_ns, r.copy_high_ns))
    port, transaction = 32_768 + below(random, 28_232), below(random, 65_536)
    ident, back = below(random, 65_536), below(random, 65_536)
    pod, pod_if = r.pod_ip[server], r.pod_if[server]
    asked, told = (query[0], transaction, query[1]), (answer[0], transaction, answer[1])
    used = _datagram(out, used, ts, (pod, r.outside_ip, port, DNS_PORT), (pod_if, TO_US), asked, ident)
    used = _datagram(out, used, ts + hop, (r.node_ip, r.outside_ip, port, DNS_PORT), (NODE_IF, FROM_US), asked, ident)
    ts_back = ts + hop + int(lognormal(random, r.outside_log, r.outside_sigma))
    used = _datagram(out, used, ts_back, (r.outside_ip, r.node_ip, DNS_PORT, port), (NODE_IF, TO_US), told, back)
    used = _datagram(out, used, ts_back + hop, (r.outside_ip, pod, DNS_PORT, port), (pod_if, FROM_US), told, back)
    return used, ts_back + hop, ts + hop


@kernel(allocates=True)
def _ask(
    out: Rows, used: int, ts: int, client: int, server: int, port: int, query: tuple[int, int], answer: tuple[int, int],
    outside: bool, r: Resolver, random: State,
) -> tuple[int, int, int]:  # fmt: skip
    """One query of a pod and its answer. Returns (used, when the pod has the answer, when it left the node or 0)."""
    hop = int(between(random, r.copy_low_ns, r.copy_high_ns))
    transaction, ident, back = below(random, 65_536), below(random, 65_536), below(random, 65_536)
    pod, pod_if, dns, dns_if = r.pod_ip[client], r.pod_if[client], r.pod_ip[server], r.pod_if[server]
    asked, told = (query[0], transaction, query[1]), (answer[0], transaction, answer[1])
    used = _datagram(out, used, ts, (pod, r.service_ip, port, DNS_PORT), (pod_if, TO_US), asked, ident)
    used = _datagram(out, used, ts + hop, (pod, dns, port, DNS_PORT), (dns_if, FROM_US), asked, ident)
    left = 0
    if outside:
        used, ready, left = _forward(out, used, ts + hop + _FORWARD_NS, server, query, answer, r, random)
        ready += _FORWARD_NS
    else:
        ready = ts + hop + int(lognormal(random, r.answer_log, r.answer_sigma))
    used = _datagram(out, used, ready, (dns, pod, DNS_PORT, port), (dns_if, TO_US), told, back)
    used = _datagram(out, used, ready + hop, (r.service_ip, pod, DNS_PORT, port), (pod_if, FROM_US), told, back)
    return used, ready + hop, left


@kernel(allocates=True)
def resolve(
    out: Rows,
    used: int,
    lookups: Ints,
    questions: Questions,
    sizes: Ints,
    cached: Ints,
    r: Resolver,
    random: State,
    left: Ints,
) -> int:
    """Play look-ups (L, 5) in order of time; returns the new number of rows in `out`.

    `sizes` are the bytes of each message, `cached` (kube-dns pods, outside names) until when an answer is remembered.
    `left[i]` becomes when the last query of look-up `i` left the node, 0 if it never did.
    """
    for i in range(len(lookups)):
        ts, client, name = lookups[i, AT], lookups[i, POD], lookups[i, NAME]
        number = lookups[i, SERVER] if lookups[i, SERVER] >= 0 else below(random, len(r.servers))
        port = lookups[i, PORT] if lookups[i, PORT] >= 0 else 32_768 + below(random, 28_232)
        for q in range(questions.first[name], questions.first[name + 1]):
            row = questions.rows[q]
            slot = row[OUTSIDE_SLOT]
            outside = slot == NEVER_CACHED or (slot != INSIDE and cached[number, slot] <= ts)
            if outside and slot != NEVER_CACHED:
                cached[number, slot] = ts + r.cache_ns
            over = ts
            for k in range(2):
                query, answer = row[QUERY_A + 2 * k], row[ANSWER_A + 2 * k]
                if query >= 0:
                    used, end, gone = _ask(
                        out, used, ts + k * _PAIR_NS, client, r.servers[number], port, (query, sizes[query]),
                        (answer, sizes[answer]), outside, r, random,
                    )  # fmt: skip
                    over, left[i] = max(over, end), max(left[i], gone)
            ts = over + _NEXT_NS
    return used
