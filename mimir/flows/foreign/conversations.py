"""`tshark -q -z conv,ip` (or conv,ipv6, conv,tcp, conv,udp): bytes between pairs over a whole capture.

Format: tshark(1), option -z conv,type; Wireshark's ui/cli/tap-iousers.c prints for each pair A <-> B the frames and bytes
B → A, A → B and both, the start and the duration. Bytes are those of frames, link headers included. Newer versions print
`120 kB` for `120034`: such rows are rounded, which the report says. Times are relative to the capture, so edges begin at the
epoch. In a table of addresses neither ports nor protocols are known (0). The order of A and B says nothing about who asked.
"""

from __future__ import annotations

import re
from pathlib import Path

from mimir.flows.foreign.lines import Lines
from mimir.flows.foreign.table import DNS_PORT, PROTO, UDP, FlowTable, Rows, proto_number

FORMAT = "a table of conversations"
TITLE = re.compile(r"(IPv4|IPv6|TCP|UDP|SCTP) Conversations\s*$")
SIZE = r"(\d+)\s*(bytes|kB|MB|GB)?"
ROW = re.compile(
    rf"(\S+)\s+<->\s+(\S+)\s+(\d+)\s+{SIZE}\s+(\d+)\s+{SIZE}\s+(\d+)\s+{SIZE}\s+(-?\d+[.,]\d+)\s+(\d+[.,]\d+)\s*$"
)
UNITS = {None: 1, "bytes": 1, "kB": 1000, "MB": 10**6, "GB": 10**9}
#: what stands around the rows
FURNITURE = re.compile(r"=+$|Filter:|[\s|]|$")


def read(path: Path) -> FlowTable:
    """One flow a pair, originator and responder undecided. Raises MimirError when no line can be used."""
    lines, rows, rounded, proto = Lines(path), Rows(), 0, 0
    for number, line in lines:
        title = TITLE.match(line)
        if title:  # several tables may follow each other; the one of addresses repeats what the others hold
            proto = 0 if title[1].startswith("IP") else proto_number(title[1])
            continue
        found = ROW.match(line)
        if found is None:
            if not FURNITURE.match(line):
                rows.bad.add(number, "not a conversation", line[:80])
            continue
        try:
            _add(rows, found, proto)
            rounded += any(UNITS[found[group]] > 1 for group in (5, 8))
        except (ValueError, OverflowError) as error:
            rows.bad.add(number, "unusable value", str(error)[:200])
    table = rows.table(path, FORMAT, False, "frame", lines)
    table.notes = {"rounded_sizes": rounded} if rounded else {}
    if len(set(table.data[:, PROTO].tolist()) - {0}) and (table.data[:, PROTO] == 0).any():
        table.remove(table.data[:, PROTO] == 0, "addresses")
    return table


def _add(rows: Rows, found: re.Match[str], proto: int) -> None:
    (a, a_port), (b, b_port) = (_endpoint(rows, found[side], proto) for side in (1, 2))
    to_a, to_b = int(found[4]) * UNITS[found[5]], int(found[7]) * UNITS[found[8]]
    packets_a, packets_b = int(found[3]), int(found[6])
    start, duration = (float(found[group].replace(",", ".")) for group in (12, 13))
    queries = (
        packets_b if (proto, b_port) == (UDP, DNS_PORT) else packets_a if (proto, a_port) == (UDP, DNS_PORT) else 0
    )
    counts = (to_b, to_a, 0, 0, packets_b, packets_a, 1, 0, 0, queries, 0)
    rows.add(
        max(start, 0.0),  # negative where a packet is older than the first of the capture
        duration,
        (a, b, a_port, b_port),
        proto,
        counts,
    )


def _endpoint(rows: Rows, text: str, proto: int) -> tuple[int, int]:
    """Number of the address, and the port where the table has one."""
    if not proto:
        return rows.address(text), 0
    address, _, port = text.rpartition(":")
    return rows.address(address.strip("[]")), int(port)
