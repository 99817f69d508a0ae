"""`python -m mimir.capture inspect FILE`: what a person wants to know about a capture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import numpy as np

from mimir.capture.batch import NODE_BITS, TCP, UDP, PacketBatch
from mimir.capture.counts import CaptureCounts
from mimir.capture.losses import losses
from mimir.capture.nodes import NodeCaptures
from mimir.capture.reader import Capture, open_capture
from mimir.units import NS_PER_S, format_bytes, format_duration

#: address pairs remembered while reading, and shown at the end
MAX_PAIRS, SHOWN_PAIRS = 1 << 16, 8


def inspect(files: list[Path], idle_s: float | None = None) -> str:
    """A report in plain text. Raises CaptureError for a file that is no capture.

    With `idle_s`, a file still being written is read until nothing came for so many seconds.
    """
    capture = open_capture(files, follow=idle_s is not None, timeout_s=idle_s)
    pairs, ports, interfaces = Pairs(), Ports(), set[int]()
    for batch in capture:
        pairs.add(batch)
        ports.add(batch)
        interfaces |= set(np.unique(batch.ifindex[batch.ifindex >= 0]).tolist())
    sections = [
        _overview(capture.paths, capture.counts, _as_captured(interfaces, capture)),
        _nodes(capture.by_node) if isinstance(capture, NodeCaptures) else "",
        _protocols(capture.counts),
        pairs.text(),
        ports.text(),
        _losses(capture.counts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _as_captured(interfaces: set[int], capture: Capture | NodeCaptures) -> set[int]:
    """Interface numbers as they stand in the files."""
    nodes = list(capture.nodes.values()) if isinstance(capture, NodeCaptures) else [capture]
    out = set()
    for number in interfaces:
        node, inner = number >> NODE_BITS, number & ((1 << NODE_BITS) - 1)
        out.add(nodes[node].interfaces.taken.get(inner, inner))
    return out


class Pairs:
    """IP bytes between pairs of addresses, in both directions together."""

    def __init__(self) -> None:
        self._bytes: Counter[tuple[int, int, int, int]] = Counter()

    def add(self, batch: PacketBatch) -> None:
        """Count a batch; when too many pairs are known, the small ones are forgotten."""
        ends = np.concatenate([batch.src, batch.dst], axis=1)
        swap = (ends[:, 0] > ends[:, 2]) | ((ends[:, 0] == ends[:, 2]) & (ends[:, 1] > ends[:, 3]))
        ends[swap] = ends[swap][:, [2, 3, 0, 1]]
        found, inverse = np.unique(ends, axis=0, return_inverse=True)
        sizes = np.bincount(inverse.ravel(), weights=batch.ip_bytes, minlength=len(found))
        for row, size in zip(found.tolist(), sizes.tolist(), strict=True):
            self._bytes[tuple(row)] += int(size)
        if len(self._bytes) > MAX_PAIRS:
            self._bytes = Counter(dict(self._bytes.most_common(MAX_PAIRS // 2)))

    def text(self) -> str:
        """The busiest pairs."""
        rows = [
            (f"{_address(*key[:2])} <-> {_address(*key[2:])}", size)
            for key, size in self._bytes.most_common(SHOWN_PAIRS)
        ]
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"  {name:<{width}}  {format_bytes(size):>8}" for name, size in rows]
        return "\n".join(["busiest addresses (IP bytes, copies included)", *lines]) if lines else ""


class Ports:
    """IP bytes by the lower port of each TCP or UDP packet: mostly the one that somebody listens on."""

    def __init__(self) -> None:
        self._bytes = {TCP: np.zeros(1 << 16), UDP: np.zeros(1 << 16)}

    def add(self, batch: PacketBatch) -> None:
        """Count a batch; packets without ports (later fragments) are left out."""
        lower = np.minimum(batch.sport, batch.dport)
        for proto, counted in self._bytes.items():
            rows = (batch.proto == proto) & (lower > 0)
            counted += np.bincount(lower[rows], weights=batch.ip_bytes[rows], minlength=1 << 16)

    def text(self) -> str:
        """The busiest ports."""
        rows = [
            (size, f"{name} {port}")
            for name, counted in (("tcp", self._bytes[TCP]), ("udp", self._bytes[UDP]))
            for port, size in zip(np.flatnonzero(counted).tolist(), counted[counted > 0].tolist(), strict=True)
        ]
        busiest = sorted(rows, key=lambda row: (-row[0], row[1]))[:SHOWN_PAIRS]
        lines = [f"  {name:<12}  {format_bytes(int(size)):>12}" for size, name in busiest]
        return (
            "\n".join(["busiest ports (the lower one of a packet; IP bytes, copies included)", *lines]) if lines else ""
        )


def _address(high: int, low: int) -> str:
    if high == 0 and low >> 32 == 0xFFFF:
        return str(IPv4Address(low & 0xFFFFFFFF))
    return str(IPv6Address(high << 64 | low))


def _time(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}.{ns % NS_PER_S:09d} UTC"


def _overview(paths: list[Path], counts: CaptureCounts, interfaces: set[int]) -> str:
    name = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files from {paths[0]} to {paths[-1]}"
    rows = [("packets", f"{counts.packets:,}"), ("IP packets", f"{counts.rows:,}")]
    rows.append(("bytes", f"{format_bytes(counts.bytes)} on the wire, {format_bytes(counts.captured_bytes)} captured"))
    if counts.first_ns is not None and counts.last_ns is not None:
        rows += [("first", _time(counts.first_ns)), ("last", _time(counts.last_ns))]
        rows.append(("duration", f"{format_duration(counts.duration_s)} ({counts.duration_s:.6f} s)"))
        if seconds := counts.duration_s:
            rate = f"{counts.packets / seconds:,.1f} packets/s, {format_bytes(round(counts.bytes / seconds))}/s"
            rows.append(("average rate", rate))
    rows.append(("link types", ", ".join(f"{k} ({v:,})" for k, v in counts.link_types.items()) or "none"))
    if interfaces:
        rows.append(
            ("interfaces", ", ".join(map(str, sorted(interfaces)[:20])) + (" …" if len(interfaces) > 20 else ""))
        )
    if counts.truncated:
        share = 100 * counts.truncated / counts.packets
        rows.append(
            ("cut short", f"{counts.truncated:,} packets ({share:.1f} %): less was captured than was on the wire")
        )
    if counts.out_of_order:
        step = format_duration(counts.largest_step_back_ns / NS_PER_S)
        rows.append(("order", f"{counts.out_of_order:,} packets are earlier than one before them, by up to {step}"))
    if counts.without_time:
        rows.append(
            (
                "without time",
                f"{counts.without_time:,} packets take the time of the one before (the first ones: behind)",
            )
        )
    return "\n".join([name, *(f"  {key:<12}  {value}" for key, value in rows)])


def _nodes(parts: Mapping[str, CaptureCounts]) -> str:
    """What each node gave."""
    width = max(map(len, parts))
    lines = [
        f"  {name:<{width}}  {part.packets:>12,} packets  {format_bytes(part.bytes):>8}  {part.files:,} files"
        for name, part in parts.items()
    ]
    return "\n".join(["nodes", *lines])


def _protocols(counts: CaptureCounts) -> str:
    ranked = sorted(counts.protocols.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"  {name:<12}  {n:>12,}" for name, n in ranked]
    lines += [
        f"  {name:<12}  {n:>12,}  headers taken off: what they carry is counted" for name, n in counts.overlays.items()
    ]
    return "\n".join(["protocols (packets)", *lines]) if lines else ""


def _losses(counts: CaptureCounts) -> str:
    lines = losses(counts)
    return "\n".join(["left out", *(f"  {line}" for line in lines)]) if lines else ""
