"""Recognise the legs of one connection: the service address before DNAT, the pod after it, the node in between.

Address translation changes endpoints, never TCP sequence numbers. Two tuples are legs of one connection when they
begin within `LEG_NS` of each other at different places (interface and direction) and agree in

* client endpoint and client sequence number (destination translated: service address or node port → pod), or
* server endpoint and client sequence number (source translated: pod → node, on the way out), or
* client sequence number, where one server is a known service address or node port (both translated).

UDP has no sequence numbers: length and IP identification of the first packet stand in, and knowledge of the service
or node address is required unless the identification is there and equal.

Captures that do not say on which interface a packet was seen (Ethernet, cooked version 1) hide where legs begin. There TCP
legs must have one endpoint in common and agree in both initial sequence numbers, 64 bits that address translation never
changes; without the handshake in both numbers and the size of the first segment. Datagrams, and connections of which both
ends were translated, then need the knowledge of addresses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import TCP, UDP
from mimir.flows.hashing import hash_endpoint, mix
from mimir.flows.table import (
    BY_MASQUERADE,
    BY_NODE_PORT,
    BY_SERVICE,
    CHAIN_HEADS,
    FIRST_FROM_CLIENT,
    NODE,
    NODE_PORT,
    NOT_A_COPY,
    PEER_SEEN,
    PROOF_ENTITIES,
    PROOF_MARKS,
    PROOF_NUMBERS,
    SERIAL,
    SERVICE,
    SYN_SEEN,
    WATERMARK_NS,
    Table,
)
from mimir.jit import U64, Flag, Int, inlined, kernel

LEG_NS = 1_000_000_000
#: sequence numbers this near belong to one stream when the handshake of one leg was not captured
NEAR_TOKENS = 1 << 20
MAX_STEPS = 64
SERVES = SERVICE | NODE_PORT
#: spots below have no interface index, at most a direction (see mimir.flows.packets.spot)
FIRST_PLACE = 1 << 8


@inlined
def same_client(table: Table, k: Int, m: Int) -> Flag:
    """Do two connections have the same client endpoint?"""
    x, y = table.connections[k], table.connections[m]
    x_port, y_port = x.b_port if x.client_is_b else x.a_port, y.b_port if y.client_is_b else y.a_port
    return x.client == y.client and x_port == y_port


@inlined
def same_server(table: Table, k: Int, m: Int) -> Flag:
    """Do two connections have the same server endpoint?"""
    x, y = table.connections[k], table.connections[m]
    x_port, y_port = x.a_port if x.client_is_b else x.b_port, y.a_port if y.client_is_b else y.b_port
    return x.server == y.server and x_port == y_port


@kernel
def are_legs(table: Table, k: Int, m: Int) -> Flag:
    """Are connection `k` (new) and `m` (older) legs of one connection?"""
    x, y = table.connections[k], table.connections[m]
    if x.proto != y.proto or (x.spot == y.spot and x.spot >= 0):
        return False
    x_serves, y_serves = (x.server_kind & SERVES) != 0, (y.server_kind & SERVES) != 0
    x_node, y_node = (x.client_kind & NODE) != 0, (y.client_kind & NODE) != 0
    clients, servers = same_client(table, k, m), same_server(table, k, m)
    placed = x.spot >= 0 and y.spot >= 0
    if clients and servers:
        return False
    if x.proto == 6:
        distance = np.int64(np.int32(np.int64(x.token) - np.int64(y.token)))
        if clients:
            both_began = (x.state & SYN_SEEN) != 0 and (y.state & SYN_SEEN) != 0
            near = abs(distance) <= NEAR_TOKENS and y.leg < 0 and not both_began
            return (distance == 0 and placed) or (x_serves != y_serves and (near or distance == 0))
        if servers:
            return distance == 0 and x.client != y.client and (x_node != y_node or placed)
        return distance == 0 and x_serves != y_serves
    if y.leg >= 0 or (x.token & np.uint32(0xFFFF)) != (y.token & np.uint32(0xFFFF)):
        return False
    marked = placed and x.token == y.token and (x.token >> np.uint32(16)) != 0
    if clients:
        return x_serves != y_serves or marked
    return (
        servers and x_node != y_node and (marked or (x.token >> np.uint32(16)) == 0 or (y.token >> np.uint32(16)) == 0)
    )


@kernel
def walk(table: Table, k: Int, m: Int, by_client: bool) -> Int:
    """First leg of `k` on a chain that begins with `m`; -1 if there is none. Chains run from new to old."""
    connections = table.connections
    serial = connections[k].serial
    for _ in range(MAX_STEPS):
        if m < 0:
            return -1
        other = connections[m]
        if other.serial >= serial or connections[k].born_ns - other.born_ns > LEG_NS:
            return -1
        if other.in_use and are_legs(table, k, m):
            return m
        serial = other.serial
        m = other.next_client if by_client else other.next_token
    return -1


@inlined
def head(heads: NDArray[np.int64], slot: Int, now_ns: Int, any_age: bool) -> Int:
    """The newest connection of a chain; -1 if there is none, or none within LEG_NS unless it may be of `any_age`.

    An entry is the connection's birth in steps of 2 ** 20 ns (32 bits, the rest is cut off), then its number plus one:
    so chains that went cold cost no look at their connections.
    """
    entry = heads[slot]
    age = ((now_ns >> 20) - (entry >> 32)) & 0xFFFFFFFF
    if entry == 0 or (age > (LEG_NS >> 20) + 1 and not any_age):
        return -1
    return (entry & 0xFFFFFFFF) - 1


@inlined
def chain(high: U64, low: U64, port: Int, proto: Int) -> Int:
    """The chain in `by_client` of a client endpoint. Datagrams have chains of their own: they may be of any age."""
    slot = np.int64(hash_endpoint(high, low, (port << 8) | proto) % np.uint64(CHAIN_HEADS))
    return slot if proto == TCP else slot + CHAIN_HEADS


@inlined
def token_chain(token: Int) -> Int:
    """The chain in `by_token` of a TCP client's sequence number."""
    return np.int64(mix(np.uint64(token)) % np.uint64(CHAIN_HEADS))


@inlined
def link(table: Table, k: Int) -> None:
    """Enter new connection `k` into both chains and join it to its other leg, if that is there."""
    c = table.connections[k]
    client = table.addresses[c.client]
    port = c.b_port if c.client_is_b else c.a_port
    slot = chain(client.high, client.low, np.int64(port), np.int64(c.proto))
    datagrams = c.proto != TCP
    if datagrams:
        server = table.addresses[c.server]
        server_port = c.a_port if c.client_is_b else c.b_port
        mark = (np.int64(server_port) << 16) | np.int64(c.token & np.uint32(0xFFFF))
        other_slot = np.int64(hash_endpoint(server.high, server.low, mark) % np.uint64(CHAIN_HEADS)) + CHAIN_HEADS
    else:
        other_slot = token_chain(c.token)
    c.next_client = head(table.by_client, slot, c.born_ns, datagrams)
    c.next_token = head(table.by_token, other_slot, c.born_ns, datagrams)
    entry = ((c.born_ns >> 20) << 32) | (k + 1)
    table.by_client[slot], table.by_token[other_slot] = entry, entry
    m = walk(table, k, c.next_client, True)
    if m < 0:
        m = walk(table, k, c.next_token, False)
    if m >= 0:
        join(table, m, k)
    elif c.proto == UDP:
        join_to_old_leg(table, k)


@kernel
def join_to_old_leg(table: Table, k: Int) -> None:
    """A datagram socket goes on using a service address whose translation was renewed: another pod, no new first leg."""
    c = table.connections[k]
    m, serial = np.int64(c.next_client), c.serial
    for _ in range(MAX_STEPS):
        if m < 0 or (c.server_kind & SERVES) != 0:
            return
        old = table.connections[m]
        if old.serial >= serial:
            return
        serial = old.serial
        current = (
            old.in_use
            and old.recent & np.uint32(0xFFFF) == c.token & np.uint32(0xFFFF)
            and c.first_ns - old.last_ns <= LEG_NS
        )
        if current and old.proto == c.proto and (old.server_kind & SERVES) != 0 and same_client(table, k, m):
            if old.rule == NOT_A_COPY:
                old.rule = BY_NODE_PORT if (old.server_kind & NODE_PORT) != 0 else BY_SERVICE
            c.mediated, c.leg, old.leg, old.proof = 1, m, k, PROOF_ENTITIES
            return
        m = np.int64(old.next_client)


@kernel
def join(table: Table, older: Int, newer: Int) -> None:
    """Mark one of two legs as a copy of the other: the pod leg counts, with the client that really asked.

    A third leg (a reply seen half translated, say) is always a copy of the one that already counts.
    """
    if table.connections[older].rule != NOT_A_COPY:
        kept = np.int64(table.connections[older].leg)
        if table.connections[kept].leg != older:  # forgotten early, its place taken by another
            return
        older = kept
    x, y = table.connections[older], table.connections[newer]
    forward = (y.state & FIRST_FROM_CLIENT) != 0
    clients, servers = same_client(table, older, newer), same_server(table, older, newer)
    x_serves, y_serves = (x.server_kind & SERVES) != 0, (y.server_kind & SERVES) != 0
    x_node, y_node = (x.client_kind & NODE) != 0, (y.client_kind & NODE) != 0
    third = x.leg >= 0
    known = x_node != y_node if servers and not clients else x_serves != y_serves
    proof = PROOF_ENTITIES if known else PROOF_NUMBERS if x.proto == 6 else PROOF_MARKS
    if servers and not clients:
        newer_is_copy = third or (y_node if x_node != y_node else forward)
        copy, kept = (newer, older) if newer_is_copy else (older, newer)
        table.connections[copy].rule = BY_MASQUERADE
    else:
        older_is_copy = not third and (x_serves if x_serves != y_serves else forward)
        copy, kept = (older, newer) if older_is_copy else (newer, older)
        node_port = (table.connections[copy].server_kind & NODE_PORT) != 0
        table.connections[copy].rule = BY_NODE_PORT if node_port else BY_SERVICE
        table.connections[kept].mediated = 1
        if not third:
            table.connections[kept].client = table.connections[copy].client
    table.connections[copy].leg, table.connections[kept].leg = kept, copy
    table.connections[copy].proof = proof


@inlined
def is_same_stream(table: Table, k: Int, m: Int) -> Flag:
    """Do two TCP connections, seen at unknown places, have the same numbers in both directions?"""
    x, y = table.connections[k], table.connections[m]
    if y.proto != 6 or x.token != y.token or x.peer != y.peer or not y.state & PEER_SEEN:
        return False
    if y.spot >= FIRST_PLACE or y.leg >= 0 or (x.state & SYN_SEEN) != (y.state & SYN_SEEN):
        return False
    clients, servers = same_client(table, k, m), same_server(table, k, m)
    if clients == servers:
        return False
    settled_ns = table.meta[WATERMARK_NS] - LEG_NS
    return abs(x.first_ns - y.first_ns) <= LEG_NS and x.born_ns >= settled_ns and y.born_ns >= settled_ns


@kernel
def join_by_numbers(table: Table, k: Int, peer: Int) -> None:
    """The server's number of connection `k` became known: look for a leg with the same numbers in both directions."""
    c = table.connections[k]
    c.peer = peer
    c.state |= PEER_SEEN
    if c.spot >= FIRST_PLACE or c.leg >= 0:
        return
    m = np.int64(head(table.by_token, token_chain(c.token), table.meta[WATERMARK_NS], False))
    newest = table.meta[SERIAL] + 1
    for _ in range(MAX_STEPS):
        if m < 0 or table.connections[m].serial >= newest:
            return
        newest = table.connections[m].serial
        if m != k and table.connections[m].in_use and is_same_stream(table, k, m):
            if newest < c.serial:
                join(table, m, k)
            else:
                join(table, k, m)
            return
        m = np.int64(table.connections[m].next_token)
