"""Hash kernels: mixing, address numbers, what is known of an endpoint."""

from __future__ import annotations

import numpy as np

from mimir.flows.table import ADDRESSES, LISTENER, LISTENERS, Table
from mimir.jit import U64, Int, Records, inlined, kernel

K1, K2, K3 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@inlined
def mix(value: U64) -> U64:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * K2
    value = (value ^ (value >> np.uint64(27))) * K3
    return value ^ (value >> np.uint64(31))


@inlined
def hash_endpoint(high: U64, low: U64, port: Int) -> U64:
    """Hash of an address and a port."""
    return mix(high * K3 ^ low * K1 ^ np.uint64(port) * K2)


@inlined
def half_hash(high: U64, low: U64, port: Int) -> U64:
    """One end of a connection, for `hash_ends`."""
    value = (low ^ (np.uint64(port) << np.uint64(48)) ^ (high * K3)) * K1
    return (value ^ (value >> np.uint64(32))) * K2


@inlined
def hash_ends(one: U64, other: U64, proto: Int) -> U64:
    """Hash of a connection from the halves of both ends, whichever sends."""
    return mix((one + other) ^ np.uint64(proto))


@kernel
def address_number(table: Table, high: U64, low: U64) -> Int:
    """The number of an address, given on first sight. The caller made sure there is room."""
    slots, known = table.address_slots, table.addresses
    mask = len(slots) - 1
    at = np.int64(hash_endpoint(high, low, 0) & np.uint64(mask))
    while slots[at] >= 0:
        number = slots[at]
        if known[number].low == low and known[number].high == high:
            return np.int64(number)
        at = (at + 1) & mask
    number = np.int32(table.meta[ADDRESSES])
    known[number].high, known[number].low = high, low
    slots[at] = number
    table.meta[ADDRESSES] += 1
    return np.int64(number)


@kernel
def rebuild_addresses(table: Table) -> None:
    """Fill fresh slots after growth."""
    slots, known = table.address_slots, table.addresses
    mask = len(slots) - 1
    for number in range(table.meta[ADDRESSES]):
        at = np.int64(hash_endpoint(known[number].high, known[number].low, 0) & np.uint64(mask))
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = number


@kernel
def known_bits(endpoints: Records, high: U64, low: U64, port: Int) -> Int:
    """What is known of an endpoint (`port` 0: of an address); 0 for nothing."""
    mask = len(endpoints) - 1
    at = np.int64(hash_endpoint(high, low, port) & np.uint64(mask))
    while endpoints[at].bits != 0:
        if endpoints[at].low == low and endpoints[at].high == high and endpoints[at].port == port:
            return np.int64(endpoints[at].bits)
        at = (at + 1) & mask
    return 0


@kernel
def learn(table: Table, high: U64, low: U64, port: Int, bits: Int) -> None:
    """Add bits to an endpoint. A table half full learns nothing new: a port scan must not grow it."""
    endpoints = table.endpoints
    mask = len(endpoints) - 1
    at = np.int64(hash_endpoint(high, low, port) & np.uint64(mask))
    while endpoints[at].bits != 0:
        if endpoints[at].low == low and endpoints[at].high == high and endpoints[at].port == port:
            endpoints[at].bits |= bits
            return
        at = (at + 1) & mask
    if bits == LISTENER and table.meta[LISTENERS] * 2 > len(endpoints):
        return
    endpoints[at].high, endpoints[at].low, endpoints[at].port, endpoints[at].bits = high, low, port, bits
    table.meta[LISTENERS] += 1
