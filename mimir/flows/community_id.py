"""Community ID version 1: one name for a flow in Zeek, Suricata, Wireshark, Elastic and here.

Source: C. Kreibich (Corelight), "Community ID Flow Hashing", github.com/corelight/community-id-spec, version 1: base64 of SHA-1 over
seed, both addresses, protocol, a zero byte and both ports, in network byte order, the smaller endpoint first.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimir.flows.addresses import parse_address

VERSION = "1:"
ICMP, ICMP6 = 1, 58
#: protocols with ports, or with a type and code in their place
WITH_PORTS = (ICMP, 6, 17, ICMP6, 132)
#: message types that come in pairs (request, answer); other ICMP goes one way and is not reordered
ICMP_PAIRS = {
    ICMP: ((8, 0), (13, 14), (15, 16), (17, 18), (10, 9)),
    ICMP6: ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)),
}
MAPPED = np.uint64(0xFFFF)


def community_id(
    source: str, target: str, proto: int, source_port: int = 0, target_port: int = 0, seed: int = 0
) -> str:
    """ID of one flow. For ICMP the "ports" are type and code. Raises ValueError for addresses that are none.

    >>> community_id("128.232.110.120", "66.35.250.204", 6, 34855, 80)
    '1:LQU9qZlK+B5F3KDmev6m5PMibrg='
    """
    ends = [np.array([parse_address(text)], np.uint64) for text in (source, target)]
    return community_ids(ends[0], ends[1], [proto], [source_port], [target_port], seed)[0]


def community_ids(
    source: NDArray[np.uint64],
    target: NDArray[np.uint64],
    proto: ArrayLike,
    source_port: ArrayLike,
    target_port: ArrayLike,
    seed: int = 0,
) -> list[str]:
    """IDs of `n` flows: addresses are (n, 2) halves as in packet batches (IPv4 mapped), the rest (n,).

    For ICMP the "ports" are type and code. Raises ValueError for a seed that is no 16-bit number.
    """
    if not 0 <= seed <= 0xFFFF:
        raise ValueError(f"the seed of a Community ID is 0 to 65535 (got {seed})")
    kind = np.asarray(proto, np.uint8)
    ports = np.stack([np.asarray(source_port), np.asarray(target_port)], axis=1).astype(np.uint16)
    one_way = _map_icmp(kind, ports)
    turn = ~one_way & _is_larger(source, target, ports)
    low, high = np.where(turn[:, None], target, source), np.where(turn[:, None], source, target)
    ports = np.where(turn[:, None], ports[:, ::-1], ports)
    ipv4 = _is_ipv4(source) & _is_ipv4(target)
    ported = np.isin(kind, WITH_PORTS)
    out = np.empty(len(kind), object)
    for rows, size in ((ipv4, 4), (~ipv4, 16)):
        for some, tail in ((rows & ported, 4), (rows & ~ported, 0)):
            message = _messages(low[some], high[some], kind[some], ports[some], seed, size, tail)
            out[some] = _hashes(message)
    return list(out)


def _map_icmp(kind: NDArray[np.uint8], ports: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Put the counterpart of a message type in place of its code; True where a message has none."""
    one_way = np.zeros(len(kind), np.bool_)
    for proto, pairs in ICMP_PAIRS.items():
        answer = np.full(1 << 16, -1, np.int32)
        for a, b in pairs:
            answer[a], answer[b] = b, a
        rows = np.flatnonzero(kind == proto)
        found = answer[ports[rows, 0]]
        ports[rows[found >= 0], 1] = found[found >= 0]
        one_way[rows[found < 0]] = True
    return one_way


def _is_larger(a: NDArray[np.uint64], b: NDArray[np.uint64], ports: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Is endpoint a larger than b, by address and then port?"""
    low = (a[:, 1] > b[:, 1]) | ((a[:, 1] == b[:, 1]) & (ports[:, 0] > ports[:, 1]))
    larger: NDArray[np.bool_] = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & low)
    return larger


def _is_ipv4(address: NDArray[np.uint64]) -> NDArray[np.bool_]:
    mapped: NDArray[np.bool_] = (address[:, 0] == 0) & (address[:, 1] >> np.uint64(32) == MAPPED)
    return mapped


def _messages(
    low: NDArray[np.uint64],
    high: NDArray[np.uint64],
    kind: NDArray[np.uint8],
    ports: NDArray[np.uint16],
    seed: int,
    size: int,
    tail: int,
) -> NDArray[np.uint8]:
    """(n, bytes) of what is hashed."""
    out = np.zeros((len(kind), 4 + 2 * size + tail), np.uint8)
    out[:, 0], out[:, 1] = seed >> 8, seed & 0xFF
    for place, address in ((2, low), (2 + size, high)):
        raw = np.ascontiguousarray(address.astype(">u8")).view(np.uint8).reshape(-1, 16)
        out[:, place : place + size] = raw[:, 16 - size :]
    out[:, 2 + 2 * size] = kind
    if tail:
        out[:, 4 + 2 * size :] = np.ascontiguousarray(ports.astype(">u2")).view(np.uint8).reshape(-1, 4)
    return out


def _hashes(messages: NDArray[np.uint8]) -> list[str]:
    width, data = messages.shape[1], messages.tobytes()
    return [
        VERSION
        + b2a_base64(hashlib.sha1(data[at : at + width], usedforsecurity=False).digest(), newline=False).decode()
        for at in range(0, len(data), width)
    ]
