"""The connection kernel: packets → what each connection did in each base window."""

from __future__ import annotations

import numpy as np

from mimir.capture.batch import ACK, SYN, TCP, UDP
from mimir.capture.dns import query_of
from mimir.flows.copies import NOWHERE, copy_rule
from mimir.flows.hashing import address_number, half_hash, hash_ends, known_bits
from mimir.flows.legs import chain, join_by_numbers, link, token_chain
from mimir.flows.packets import Packets, begins_anew, client_token, sender_is_client, source, spot, target
from mimir.flows.table import (
    ADDRESSES,
    AHEAD,
    CONNECTIONS,
    COPY_BYTES,
    COPY_PACKETS,
    DEAD,
    FIRST_FROM_CLIENT,
    FREE,
    NOT_A_COPY,
    PEER_SEEN,
    PROOF_INTERFACE,
    ROWS,
    SERIAL,
    SYN_SEEN,
    WATERMARK_NS,
    Table,
)
from mimir.flows.tcp import expired, fresh_payload, update_state
from mimir.jit import U64, Int, inlined, kernel, prefetch

#: packets may come this much out of order without any effect on time-outs
REORDER_NS = 2_000_000_000
DONE, CONNECTIONS_FULL, ROWS_FULL, ADDRESSES_FULL = range(4)


@inlined
def find(table: Table, p: Packets, i: Int) -> tuple[U64, bool]:
    """Slot of the connection of packet `i`, or the empty slot where it belongs; is `b` the sender?"""
    slots, key = table.slots, p.key[i]
    mask = np.uint64(len(slots) - 1)
    at, from_b = key & mask, False
    src_high, src_low = source(p, i)
    dst_high, dst_low = target(p, i)
    while slots[at] != 0:
        if (slots[at] ^ key) >> np.uint64(32) == 0:
            c = table.connections[number_in(slots[at])]
            forth = (c.a_low ^ src_low) | (c.b_low ^ dst_low) | (c.a_high ^ src_high) | (c.b_high ^ dst_high)
            back = (c.b_low ^ src_low) | (c.a_low ^ dst_low) | (c.b_high ^ src_high) | (c.a_high ^ dst_high)
            forth |= np.uint64((c.a_port ^ p.sport[i]) | (c.b_port ^ p.dport[i]))
            back |= np.uint64((c.b_port ^ p.sport[i]) | (c.a_port ^ p.dport[i]))
            if ((forth == 0) | (back == 0)) & (c.proto == p.proto[i]):
                from_b = forth != 0
                break
        at = (at + np.uint64(1)) & mask
    return at, from_b


@inlined
def entry_of(key: U64, k: Int) -> U64:
    """What a slot holds for connection `k` with the hash `key`."""
    return (key >> np.uint64(32) << np.uint64(32)) | np.uint64(k + 1)


@inlined
def number_in(entry: U64) -> U64:
    """The connection of a slot that is not empty."""
    return (entry & np.uint64(0xFFFFFFFF)) - np.uint64(1)


@kernel
def rebuild(table: Table) -> None:
    """Fill empty slots with the living connections; slots are asked for a few connections ahead."""
    slots, mask, waiting = table.slots, np.uint64(len(table.slots) - 1), 0
    for k in range(len(table.connections)):
        c = table.connections[k]
        if c.in_use and not c.state & DEAD:
            key = hash_ends(half_hash(c.a_high, c.a_low, c.a_port), half_hash(c.b_high, c.b_low, c.b_port), c.proto)
            prefetch(slots, np.int64(key & mask))
            table.hashes[waiting], table.numbers[waiting] = key, k
            waiting += 1
        if waiting == AHEAD or k == len(table.connections) - 1:
            for j in range(waiting):
                at = table.hashes[j] & mask
                while slots[at] != 0:
                    at = (at + np.uint64(1)) & mask
                slots[at] = entry_of(table.hashes[j], table.numbers[j])
            waiting = 0


@inlined
def open_connection(table: Table, p: Packets, i: Int, slot: U64) -> Int:
    """Take an unused connection for packet `i` and link it to its other leg. Returns its number."""
    meta = table.meta
    meta[FREE] -= 1
    k = np.int64(table.free[meta[FREE]])
    meta[CONNECTIONS] += 1
    meta[SERIAL] += 1
    table.slots[slot] = entry_of(p.key[i], k)
    c = table.connections[k]
    src_high, src_low = source(p, i)
    dst_high, dst_low = target(p, i)
    c.a_high, c.a_low, c.b_high, c.b_low = src_high, src_low, dst_high, dst_low
    c.a_port, c.b_port = p.sport[i], p.dport[i]
    from_client = sender_is_client(table, p, i)
    c.proto, c.client_is_b, c.state = p.proto[i], not from_client, FIRST_FROM_CLIENT if from_client else 0
    if c.proto == TCP and p.tcp_flags[i] & SYN:
        c.state |= SYN_SEEN
    c.in_use, c.rule, c.payload_from, c.mediated, c.row, c.leg = 1, NOT_A_COPY, 0, 0, -1, -1
    c.first_ns, c.last_ns, c.born_ns, c.serial = p.ts_ns[i], p.ts_ns[i], meta[WATERMARK_NS], meta[SERIAL]
    c.spot, c.token = spot(p, i), client_token(p, i, from_client)
    c.recent, c.tunnel, c.proof = c.token, -1, 0
    src, dst = address_number(table, src_high, src_low), address_number(table, dst_high, dst_low)
    src_bits = known_bits(table.endpoints, src_high, src_low, 0)
    dst_bits = known_bits(table.endpoints, dst_high, dst_low, 0)
    if from_client:
        c.client, c.server, c.client_kind = src, dst, src_bits
        c.server_kind = dst_bits | known_bits(table.endpoints, dst_high, dst_low, np.int64(p.dport[i]))
    else:
        c.client, c.server, c.client_kind = dst, src, dst_bits
        c.server_kind = src_bits | known_bits(table.endpoints, src_high, src_low, np.int64(p.sport[i]))
    table.sides[2 * k].shown, table.sides[2 * k].place = 0, NOWHERE
    table.sides[2 * k + 1].shown, table.sides[2 * k + 1].place = 0, NOWHERE
    link(table, k)
    if c.proto == TCP and p.tcp_flags[i] & (SYN | ACK) == ACK and p.payload_bytes[i] > 0:
        number = p.tcp_ack[i] if from_client else p.tcp_seq[i]
        join_by_numbers(table, k, np.uint32(np.int64(number) + 0x9E3779B1 * np.int64(p.payload_bytes[i])))
    return k


@inlined
def row_of(table: Table, k: Int, window: Int) -> Int:
    """The pending row of connection `k` for a window. The caller made sure there is room for a new one."""
    c = table.connections[k]
    if c.row >= 0 and table.rows[c.row].window == window:
        return np.int64(c.row)
    number = table.meta[ROWS]
    table.meta[ROWS] += 1
    row = table.rows[number]
    row.window, row.connection = window, k
    row.request_bytes, row.response_bytes, row.request_payload, row.response_payload = 0, 0, 0, 0
    row.request_packets, row.response_packets, row.connections, row.exchanges = 0, 0, 0, 0
    row.dns_queries, row.dns_name_bytes = 0, 0
    c.row = number
    return number


@inlined
def add_packet(table: Table, p: Packets, i: Int, k: Int, from_b: bool, opened: bool, window: Int, now: Int) -> None:
    """Account for one packet of connection `k`."""
    c, side = table.connections[k], table.sides[2 * k + (1 if from_b else 0)]
    c.last_ns = max(c.last_ns, now)
    request = from_b == (c.client_is_b != 0)
    if p.tunnel[i] >= 0 and c.tunnel < 0:
        c.tunnel = 2 * p.tunnel[i] + (0 if request else 1)
    owner = 2 * c.serial + (1 if from_b else 0)
    rule = copy_rule(table, side, p, i, owner, now)
    if rule != NOT_A_COPY:
        table.copies[rule, COPY_PACKETS] += 1
        table.copies[rule, COPY_BYTES] += np.int64(p.ip_bytes[i])
        table.proofs[PROOF_INTERFACE, COPY_PACKETS] += 1
        table.proofs[PROOF_INTERFACE, COPY_BYTES] += np.int64(p.ip_bytes[i])
        return
    row = table.rows[row_of(table, k, window)]
    payload, flags = np.int64(p.payload_bytes[i]), p.tcp_flags[i]
    if c.proto == TCP and flags != 0:
        payload = fresh_payload(table, side, owner, p.tcp_seq[i], payload, flags & SYN != 0)
        update_state(table, p, i, c, flags, from_b, request)
        if flags & SYN and not request and not c.state & PEER_SEEN:
            join_by_numbers(table, k, p.tcp_seq[i])
        opened = opened and flags & SYN != 0
    if opened:
        row.connections += 1
    if payload > 0:
        row.exchanges += 1 if request and c.payload_from != 1 else 0
        c.payload_from = 1 if request else 2
    if request:
        if c.proto == UDP:
            c.recent = client_token(p, i, True)
        row.request_bytes += np.int64(p.ip_bytes[i])
        row.request_payload += payload
        row.request_packets += 1
        if p.dns_offset[i] >= 0 and c.proto == UDP and p.dport[i] == 53:
            queries, name_bytes = query_of(p.data, p.dns_offset[i], np.int64(p.dns_bytes[i]))
            row.dns_queries += queries
            row.dns_name_bytes += name_bytes
    else:
        row.response_bytes += np.int64(p.ip_bytes[i])
        row.response_payload += payload
        row.response_packets += 1


@inlined
def look_ahead(table: Table, p: Packets, start: Int, stop: Int) -> None:
    """Ask for the memory that packets up to `stop` will need. No result depends on it."""
    slots, mask, unused = table.slots, np.uint64(len(table.slots) - 1), table.meta[FREE]
    for at in range(start, stop):
        i = np.uint64(at)
        prefetch(slots, np.int64(p.key[i] & mask))
        if p.proto[i] == TCP and p.tcp_flags[i] & (SYN | ACK) == SYN:
            if unused > 0:
                unused -= 1
                prefetch(table.connections, np.int64(table.free[unused]))
                prefetch(table.sides, 2 * np.int64(table.free[unused]))
            high, low = source(p, i)
            prefetch(table.by_client, chain(high, low, np.int64(p.sport[i]), TCP))
            prefetch(table.by_token, token_chain(p.tcp_seq[i]))
    for at in range(start, stop):
        i, j = np.uint64(at), np.uint64(at - start)
        entry = slots[p.key[i] & mask]
        known = entry != 0 and (entry ^ p.key[i]) >> np.uint64(32) == 0
        table.numbers[j] = np.int64(number_in(entry)) if known else -1
        if known:
            prefetch(table.connections, table.numbers[j])
            prefetch(table.sides, 2 * table.numbers[j])
    for at in range(start, stop):
        k = table.numbers[np.uint64(at - start)]
        if k >= 0:
            prefetch(table.rows, np.int64(table.connections[k].row))


@kernel
def follow(table: Table, p: Packets, start: Int, base_ns: Int, timeout_ns: Int) -> tuple[Int, Int]:
    """Account for packets from `start` on → (why it stopped, next packet). Room is checked before each packet."""
    meta, window, window_ns = table.meta, 0, 0
    first = start
    while first < len(p.ts_ns):
        stop = min(first + AHEAD, len(p.ts_ns))
        look_ahead(table, p, first, stop)
        for at in range(first, stop):
            if meta[FREE] == 0:
                return CONNECTIONS_FULL, at
            if meta[ROWS] == len(table.rows):
                return ROWS_FULL, at
            if meta[ADDRESSES] + 2 > len(table.addresses):
                return ADDRESSES_FULL, at
            i = np.uint64(at)  # a signed index could count from the end: a test for every column
            ts = p.ts_ns[i]
            if not window_ns <= ts < window_ns + base_ns:
                window = ts // base_ns
                window_ns = window * base_ns
            meta[WATERMARK_NS] = max(meta[WATERMARK_NS], ts)
            now = max(ts, meta[WATERMARK_NS] - REORDER_NS)
            slot, from_b = find(table, p, i)
            opened = False
            k: Int = -1
            if table.slots[slot] != 0:
                k = np.int64(number_in(table.slots[slot]))
                c = table.connections[k]
                if expired(c, now, timeout_ns) or begins_anew(p, i, c, from_b):
                    c.state |= DEAD
                    k = -1
            if k < 0:
                k, opened, from_b = open_connection(table, p, i, slot), True, False
            add_packet(table, p, i, k, from_b, opened, window, now)
        first = stop
    return DONE, len(p.ts_ns)
