"""The flow table: what every reader fills, one row per flow record."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.errors import MimirError
from mimir.flows.addresses import Address, parse_address
from mimir.flows.edges import COUNTERS
from mimir.flows.foreign.lines import BadLines, Lines
from mimir.units import DAY_S, NS_PER_S

#: columns before the counters of mimir.flows.edges; addresses are numbers into `addresses`
KEYS = ("start_ns", "end_ns", "orig", "resp", "orig_port", "resp_port", "proto")
START, END, ORIG, RESP, ORIG_PORT, RESP_PORT, PROTO = range(len(KEYS))
FIRST_COUNTER = len(KEYS)
WIDTH = FIRST_COUNTER + len(COUNTERS)
MEDIATED = FIRST_COUNTER + COUNTERS.index("mediated_bytes")
CONNECTIONS = FIRST_COUNTER + COUNTERS.index("connections")
REQUEST, RESPONSE = FIRST_COUNTER, FIRST_COUNTER + 1
PACKETS = [FIRST_COUNTER + COUNTERS.index(name) for name in ("request_packets", "response_packets")]
#: columns that change places when originator and responder do
PAIRS = ((ORIG, RESP), (ORIG_PORT, RESP_PORT), *((FIRST_COUNTER + i, FIRST_COUNTER + i + 1) for i in (0, 2, 4)))

PROTO_NUMBERS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "ipv4": 4, "tcp": 6, "egp": 8, "udp": 17, "ipv6": 41, "rsvp": 46, "gre": 47, "esp": 50,
    "ah": 51, "icmp6": 58, "ipv6-icmp": 58, "eigrp": 88, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132,
    "udplite": 136,
}  # fmt: skip
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
DNS_PORT = 53
#: smallest IP and transport header: what is taken off where a source knows IP bytes only
HEADER_BYTES = {TCP: 40, UDP: 28, ICMP: 28, ICMP6: 48}
#: a record that lasts longer says nothing about any window that it is spread over
LARGEST_COUNT, LATEST_S, LONGEST_S = 1 << 53, 1 << 33, 7 * DAY_S


@dataclass
class FlowTable:
    """Flow records of one file. `sizes` says what its bytes are: `ip`, `frame` or `none`.

    `directed`: does the source say who opened a flow? `entities` are events as in entities.jsonl, where the source
    names pods itself. `copies` are flows removed as repetitions: rule → (flows, bytes).
    """

    path: Path
    format: str
    directed: bool
    sizes: str
    data: NDArray[np.int64]  #: (flows, WIDTH)
    addresses: list[Address]
    bad: BadLines
    lines: int = 0
    damage: str = ""
    notes: dict[str, int] = field(default_factory=dict)
    entities: list[dict[str, Any]] = field(default_factory=list)
    copies: dict[str, tuple[int, int]] = field(default_factory=dict)

    def bytes(self) -> int:
        """Both directions."""
        return int(self.data[:, REQUEST : RESPONSE + 1].sum())

    def swap(self, rows: NDArray[np.bool_]) -> None:
        """Exchange originator and responder of some rows, in place."""
        for a, b in PAIRS:
            self.data[rows, a], self.data[rows, b] = self.data[rows, b], self.data[rows, a]

    def remove(self, rows: NDArray[np.bool_], rule: str) -> None:
        """Take rows out as repetitions and account for them."""
        if rows.any():
            gone = self.data[rows, REQUEST : RESPONSE + 1]
            before = self.copies.get(rule, (0, 0))
            self.copies[rule] = before[0] + len(gone), before[1] + int(gone.sum())
            self.data = self.data[~rows]


class Rows:
    """Collects flow records while a file is read. Values are checked; what is impossible raises ValueError."""

    def __init__(self) -> None:
        self.bad = BadLines()
        self._numbers: dict[str, int] = {}
        self._addresses: list[Address] = []
        self._data = array("q")

    def __len__(self) -> int:
        return len(self._data) // WIDTH

    def address(self, text: str) -> int:
        """Number of a textual address. Raises ValueError for what is none."""
        number = self._numbers.get(text)
        if number is None:
            self._addresses.append(parse_address(text))
            number = self._numbers[text] = len(self._addresses) - 1
        return number

    def is_ipv6(self, number: int) -> bool:
        """Is the address number `number` one of IPv6?"""
        high, low = self._addresses[number]
        return high != 0 or low >> 32 != 0xFFFF

    def add(
        self, start_s: float, duration_s: float, ends: tuple[int, int, int, int], proto: int, counts: tuple[int, ...]
    ) -> None:
        """One flow: `ends` are numbers of both addresses, then both ports; `counts` in the order of COUNTERS."""
        if not 0 <= start_s < LATEST_S:
            raise ValueError(f"a time of {start_s:g} s is not between 1970 and 2242")
        if not 0 <= duration_s <= LONGEST_S:
            raise ValueError(f"a duration of {duration_s:g} s is not between 0 and a week")
        if not (0 <= ends[2] <= 0xFFFF and 0 <= ends[3] <= 0xFFFF and 0 <= proto <= 0xFF):
            raise ValueError(f"ports {ends[2]} and {ends[3]} or protocol {proto} do not exist")
        if min(counts) < 0 or max(counts) > LARGEST_COUNT:
            raise ValueError("a count is negative or larger than 2^53")
        start_ns = round(start_s * NS_PER_S)
        self._data.extend((start_ns, start_ns + round(duration_s * NS_PER_S), *ends, proto, *counts))

    def table(self, path: Path, form: str, directed: bool, sizes: str, lines: Lines) -> FlowTable:
        """What was collected. Raises MimirError when that is nothing."""
        if not self._data:
            first = self.bad.examples[0] if self.bad.examples else None
            why = f"; line {first['line']}: {first['reason']}" if first else "; it holds no records"
            raise MimirError(
                f"{path}: looks like {form}, but no line of it can be used{why}{lines.damage and f' ({lines.damage})'}"
            )
        data = np.array(self._data, np.int64).reshape(-1, WIDTH)
        return FlowTable(path, form, directed, sizes, data, self._addresses, self.bad, lines.count, lines.damage)


def proto_number(text: str) -> int:
    """IANA number of a protocol by name or number. Raises ValueError."""
    known = PROTO_NUMBERS.get(text.strip().lower())
    if known is not None:
        return known
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"unknown protocol {text[:40]!r}") from None
