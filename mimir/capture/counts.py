"""What a reader counted: nothing in a capture goes missing without a number and a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mimir.capture import decode as d
from mimir.capture.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6
from mimir.capture.link import NAMES as LINK_NAMES
from mimir.capture.tunnels import OVERLAY_NAMES

#: IP protocols and ethertypes with a name of their own in reports
PROTOCOL_NAMES = {
    1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 17: "udp", 41: "6in4", 47: "gre", 50: "esp", 51: "ah", 58: "icmp6",
    89: "ospf", 103: "pim", 112: "vrrp", 132: "sctp",
}  # fmt: skip
ETHERTYPE_NAMES = {
    0x0806: "arp",
    0x8035: "arp",
    0x8847: "mpls",
    0x88CC: "lldp",
    0x8863: "pppoe",
    0x8864: "pppoe",
    0x888E: "eapol",
}


@dataclass
class Skipped:
    """Packets left out for one reason: how many, their bytes on the wire, where the first one stands."""

    packets: int
    bytes: int
    first_file: str
    first_offset: int


@dataclass(frozen=True)
class Damage:
    """A place from which a file could not be read on."""

    file: str
    offset: int
    reason: str
    unread_bytes: int | None  #: to the end of the file; None when unknown (compressed)


@dataclass
class CaptureCounts:
    """Counts over all files read so far; complete when the iterator is exhausted.

    `bytes == row_bytes + sum(s.bytes for s in skipped.values())` always holds (bytes on the wire).
    """

    files: int = 0
    packets: int = 0
    rows: int = 0  #: IP packets handed out
    bytes: int = 0  #: original lengths on the wire
    row_bytes: int = 0
    captured_bytes: int = 0
    truncated: int = 0  #: packets of which less was captured than was on the wire
    without_time: int = 0
    out_of_order: int = 0  #: packets earlier than one read before, also of another file
    largest_step_back_ns: int = 0  #: how much earlier, at most
    longer_than_frame: int = 0  #: packets whose IP header claims more than their frame had; the frame's length counts
    unfinished_bytes: int = 0  #: of a record that was being written when following a file stopped
    fragments: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    link_types: dict[str, int] = field(default_factory=dict)
    protocols: dict[str, int] = field(default_factory=dict)  #: of the rows: ip4, ip6, arp, vlan, tcp, udp, dns53 …
    overlays: dict[str, int] = field(default_factory=dict)  #: headers taken off rows: vxlan, geneve, gre, ipip
    skipped: dict[str, Skipped] = field(default_factory=dict)
    damaged: list[Damage] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Seconds between the earliest and the latest packet; 0 without packets."""
        return 0.0 if self.first_ns is None or self.last_ns is None else (self.last_ns - self.first_ns) / 1e9

    @classmethod
    def total(cls, parts: Iterable[CaptureCounts]) -> CaptureCounts:
        """Counts of several captures together."""
        out = cls()
        for part in parts:
            out.include(part)
        return out

    def include(self, part: CaptureCounts) -> None:
        """Add the counts of another part."""
        for name in (
            "files", "packets", "rows", "bytes", "row_bytes", "captured_bytes", "truncated", "without_time",
            "out_of_order", "longer_than_frame", "unfinished_bytes", "fragments",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self.largest_step_back_ns = max(self.largest_step_back_ns, part.largest_step_back_ns)
        if part.first_ns is not None and part.last_ns is not None:
            self.first_ns = part.first_ns if self.first_ns is None else min(self.first_ns, part.first_ns)
            self.last_ns = part.last_ns if self.last_ns is None else max(self.last_ns, part.last_ns)
        for kind in ("link_types", "protocols", "overlays"):
            for name, count in getattr(part, kind).items():
                _increase(getattr(self, kind), name, count)
        for reason, s in part.skipped.items():
            self._add_skipped(reason, s.first_file, s.packets, s.bytes, s.first_offset)
        self.damaged.extend(part.damaged)

    def note_empty(self, file: str) -> None:
        """A file of a set that has no byte."""
        self.files += 1
        self.damaged.append(Damage(file, 0, "the file is empty", 0))

    def to_json(self) -> dict[str, Any]:
        """JSON values, for capture.json."""
        out = dict(self.__dict__)
        out["skipped"] = {reason: s.__dict__ for reason, s in self.skipped.items()}
        out["damaged"] = [x.__dict__ for x in self.damaged]
        return out

    def add(self, tally: d.Tally, file: str) -> None:
        """Add what one file gave."""
        sums = tally.sums.tolist()
        self.files += 1
        for name, index in (
            ("packets", d.PACKETS), ("rows", d.ROWS), ("bytes", d.WIRE_BYTES), ("row_bytes", d.ROW_BYTES),
            ("captured_bytes", d.CAPTURED_BYTES), ("truncated", d.CUT_SHORT), ("without_time", d.NO_TIME_STAMP),
            ("fragments", d.FRAGMENTS), ("out_of_order", d.OUT_OF_ORDER),
            ("longer_than_frame", d.LONGER_THAN_FRAME),
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + sums[index])
        self.largest_step_back_ns = max(self.largest_step_back_ns, sums[d.STEP_BACK_NS])
        if sums[d.PACKETS] > sums[d.NO_TIME_STAMP]:
            self.first_ns = min(sums[d.FIRST_NS], sums[d.FIRST_NS] if self.first_ns is None else self.first_ns)
            self.last_ns = max(sums[d.LAST_NS], sums[d.LAST_NS] if self.last_ns is None else self.last_ns)
        for number in np.flatnonzero(tally.linktypes).tolist():
            _increase(self.link_types, LINK_NAMES.get(number, f"linktype {number}"), tally.linktypes[number])
        self._add_protocols(tally)
        for name, number in zip(OVERLAY_NAMES, tally.overlays.tolist(), strict=True):
            _increase(self.overlays, name, number)
        for reason, name in enumerate(d.REASON_NAMES):
            self._add_skipped(name, file, *tally.skipped[reason].tolist())

    def correct_protocols(self, rows: Mapping[int, int]) -> None:
        """Add (or take away) rows of protocols by number: fragments were decoded before their protocol was known."""
        for number, count in rows.items():
            name = PROTOCOL_NAMES.get(number, f"ip proto {number}")
            _increase(self.protocols, name, count)
            if self.protocols.get(name) == 0:
                del self.protocols[name]

    def _add_protocols(self, tally: d.Tally) -> None:
        for name, index in (("ip4", d.IP4), ("ip6", d.IP6), ("vlan", d.TAGGED), ("dns53", d.DNS53)):
            _increase(self.protocols, name, tally.sums[index])
        for number in np.flatnonzero(tally.protocols).tolist():
            _increase(self.protocols, PROTOCOL_NAMES.get(number, f"ip proto {number}"), tally.protocols[number])
        for number in np.flatnonzero(tally.ethertypes).tolist():
            if number not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
                name = ETHERTYPE_NAMES.get(number, f"ethertype 0x{number:04x}")
                _increase(self.protocols, name, tally.ethertypes[number])

    def _add_skipped(self, reason: str, file: str, packets: int, wire: int, first: int) -> None:
        if packets and reason in self.skipped:
            self.skipped[reason].packets += packets
            self.skipped[reason].bytes += wire
        elif packets:
            self.skipped[reason] = Skipped(packets, wire, file, first)


def _increase(counts: dict[str, int], name: str, by: int) -> None:
    if by:
        counts[name] = counts.get(name, 0) + int(by)
