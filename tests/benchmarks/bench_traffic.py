"""Synthetic Kubernetes-like captures, written at millions of packets a second.

Short TCP connections of 10 packets from pods to pods. `any` (link type LINUX_SLL2) holds every packet twice, before and
after the service address is translated, headers only; `ethernet` once; `pcapng` is `any` in the newer format, `full` is
`any` with payloads (an HTTP request and its reply). The same arguments give the same bytes, and a smaller capture is a
prefix of a larger one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PODS, SERVICES, CHUNK = 60, 14, 1 << 16
START_NS, STEP_NS, COPY_NS = 1_700_000_000_000_000_000, 150_000, 5_000
TCP_PART = [
    ("version", "u1"), ("tos", "u1"), ("total", ">u2"), ("id", ">u2"), ("place", ">u2"), ("ttl", "u1"), ("proto", "u1"),
    ("sum", ">u2"), ("src", ">u4"), ("dst", ">u4"), ("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"),
    ("offset", "u1"), ("flags", "u1"), ("window", ">u2"), ("check", ">u2"), ("urgent", ">u2"),
]  # fmt: skip
RECORD = [("sec", "<u4"), ("nsec", "<u4"), ("captured", "<u4"), ("original", "<u4")]
BLOCK = [("kind", "<u4"), ("size", "<u4"), ("interface", "<u4"), ("high", "<u4"), ("low", "<u4"), *RECORD[2:]]
TRAILER = [("end", "<u4")]
SLL2 = [("type", ">u2"), ("zero", ">u2"), ("ifindex", ">u4"), ("hardware", ">u2"), ("direction", "u1"), ("length", "u1"),
        ("address", "S8")]  # fmt: skip
ETHERNET = [("to", "S6"), ("from", "S6"), ("type", ">u2")]
#: of each packet of a connection: 1 if the client sends it, TCP flags, payload bytes
SHAPE = [
    (1, 2, 0),
    (0, 18, 0),
    (1, 16, 0),
    (1, 24, 300),
    (0, 24, 1448),
    (0, 24, 900),
    (1, 16, 0),
    (1, 17, 0),
    (0, 17, 0),
    (1, 16, 0),
]
_REQUEST = b"GET /catalogue?page=2&size=6 HTTP/1.1\r\nHost: catalogue\r\nX-Request-Id: ".ljust(296, b"7") + b"\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2275\r\n\r\n"
_REPLY = (_HEAD + b'{"name": "socks", "price": 17.5}' * 80)[: 1448 + 900]
#: what packets with so many bytes of payload carry
CONTENT = {300: _REQUEST, 1448: _REPLY[:1448], 900: _REPLY[1448:]}


def write(path: Path, count: int, kind: str, gap_ns: int = 200_000, pods: int = PODS) -> None:
    """A capture of `count` packets with nanoseconds; a new connection between two of `pods` begins every `gap_ns`."""
    linktype = 1 if kind == "ethernet" else 276
    with path.open("wb") as out:
        if kind == "pcapng":
            out.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
            out.write(struct.pack("<IIHHIHHBxxxII", 1, 32, linktype, 0, 96, 9, 1, 9, 0, 32))
        else:
            out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 96, linktype))
        for chunk in packets(count, kind != "ethernet", kind == "pcapng", gap_ns, pods):
            out.write(whole(chunk) if kind == "full" else chunk)


def packets(count: int, any_interface: bool, pcapng: bool, gap_ns: int, pods: int) -> Iterator[bytes]:
    """Records of a capture in time order, a chunk at a time; connections overlap."""
    rng = np.random.Generator(np.random.PCG64(7))
    link = SLL2 if any_interface else ETHERNET
    dtype = np.dtype([*BLOCK, *link, *TCP_PART, *TRAILER] if pcapng else RECORD + link + TCP_PART)
    copies, done, number = 2 if any_interface else 1, 0, 0
    n = CHUNK // (len(SHAPE) * copies)
    while done < count:
        rows = np.zeros((n, len(SHAPE), copies), dtype)
        begin = (number + np.arange(n, dtype=np.int64))[:, None, None] * gap_ns
        ts = START_NS + begin + np.arange(len(SHAPE))[None, :, None] * STEP_NS + np.arange(copies) * COPY_NS
        _frame(rows, ts, np.dtype(link).itemsize, pcapng)
        _endpoints(rows, rng, number, any_interface, pods)
        _sequence(rows, rng)
        flat = rows.reshape(-1)
        flat = flat[np.argsort(ts.reshape(-1), kind="stable")][: count - done]
        yield flat.tobytes()
        done, number = done + len(flat), number + n + len(SHAPE)


def whole(chunk: bytes) -> bytes:
    """Records of `any` with all of their packets."""
    rows = np.frombuffer(chunk, np.dtype(RECORD + SLL2 + TCP_PART)).copy()
    rows["captured"] = rows["original"]
    sizes = rows["original"].astype(np.int64) + np.dtype(RECORD).itemsize
    out = np.zeros(int(sizes.sum()), np.uint8)
    starts = np.cumsum(sizes) - sizes
    out[starts[:, None] + np.arange(rows.itemsize)] = rows.view(np.uint8).reshape(len(rows), -1)
    for size, content in CONTENT.items():
        begin = starts[rows["total"] == 40 + size] + rows.itemsize
        out[begin[:, None] + np.arange(size)] = np.frombuffer(content, np.uint8)
    return out.tobytes()


def _shape() -> Any:
    """Sender, flags and payload of the packets, shaped (1, packets, 1)."""
    return (np.array(column)[None, :, None] for column in zip(*SHAPE, strict=True))


def _frame(rows: Any, ts: Any, link_bytes: int, pcapng: bool) -> None:
    """Record headers, lengths and the constant part of the IP header."""
    _, _, payload = _shape()
    if pcapng:
        rows["kind"], rows["size"], rows["end"] = 6, rows.dtype.itemsize, rows.dtype.itemsize
        rows["high"], rows["low"] = ts >> 32, ts & 0xFFFFFFFF
    else:
        rows["sec"], rows["nsec"] = ts // 10**9, ts % 10**9
    rows["captured"], rows["original"] = link_bytes + 40, link_bytes + 40 + payload
    rows["type"], rows["version"], rows["total"], rows["proto"], rows["ttl"] = 0x0800, 0x45, 40 + payload, 6, 64


def _endpoints(rows: Any, rng: np.random.Generator, number: int, any_interface: bool, pods: int) -> None:
    """Addresses and ports: client → service address (first copy, `any` only), client → pod; where they were seen."""
    n, _, copies = rows.shape
    client, server, service = (
        rng.integers(0, k, n)[:, None, None] for k in (pods, pods, max(pods * SERVICES // PODS, 1))
    )
    forward, _, _ = _shape()
    pod = 0x0AF40000
    target = (
        np.concatenate([0x0A600000 + service, pod + max(256, pods) + server], axis=2)[:, :, 2 - copies :] + 0 * forward
    )
    port = np.where(np.arange(2) == 0, 80, 8080)[2 - copies :][None, None, :] + 0 * forward
    source, sport = pod + client + 0 * target, 32768 + (number + np.arange(n))[:, None, None] % 28000 + 0 * target
    toward = np.broadcast_to(forward == 1, target.shape)
    rows["src"], rows["dst"] = np.where(toward, source, target), np.where(toward, target, source)
    rows["sport"], rows["dport"] = np.where(toward, sport, port), np.where(toward, port, sport)
    if any_interface:
        place = np.concatenate([10 + client, max(100, 10 + pods) + server], axis=2) + 0 * forward
        rows["ifindex"], rows["hardware"], rows["length"] = place, 1, 6
        rows["direction"] = np.where(toward == (np.arange(2) == 0), 0, 4)


def _sequence(rows: Any, rng: np.random.Generator) -> None:
    """TCP sequence and acknowledgement numbers that fit the payloads, and the flags."""
    isn = rng.integers(0, 2**32, (2, len(rows), 1, 1), dtype=np.uint64)
    forward, flags, payload = _shape()
    spent = [np.where(forward == side, payload + ((flags & 3) > 0), 0) for side in (1, 0)]
    sent = [np.cumsum(one, axis=1) for one in spent]
    before = [total - one for total, one in zip(sent, spent, strict=True)]
    rows["seq"] = np.where(forward == 1, isn[0] + before[0].astype(np.uint64), isn[1] + before[1].astype(np.uint64)) & (
        0xFFFFFFFF
    )
    rows["ack"] = np.where(forward == 1, isn[1] + sent[1].astype(np.uint64), isn[0] + sent[0].astype(np.uint64)) & (
        0xFFFFFFFF
    )
    rows["offset"], rows["flags"] = 0x50, flags
