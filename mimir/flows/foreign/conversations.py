"""`tshark -q -z conv,ip`: bytes between pairs of addresses over a whole capture.

Format: tshark(1), option -z conv,type; Wireshark's ui/cli/tap-iousers.c prints for each pair A <-> B the frames and bytes
B → A, A → B and both, the start and the duration. Bytes are those of frames, link headers included. Newer versions print
`120 kB` for `120034`: such rows are rounded, which the report says. Times are relative to the capture, so edges begin at the
epoch; neither ports nor protocols are known (0), and the order of A and B says nothing about who asked.
"""

from __future__ import annotations

import re
from pathlib import Path

from mimir.flows.foreign.lines import Lines
from mimir.flows.foreign.table import FlowTable, Rows

FORMAT = "a table of conversations"
TITLE = re.compile(r"IPv[46] Conversations\s*$")
SIZE = r"(\d+)\s*(bytes|kB|MB|GB)?"
ROW = re.compile(
    rf"(\S+)\s+<->\s+(\S+)\s+(\d+)\s+{SIZE}\s+(\d+)\s+{SIZE}\s+(\d+)\s+{SIZE}\s+(\d+[.,]\d+)\s+(\d+[.,]\d+)\s*$"
)
UNITS = {None: 1, "bytes": 1, "kB": 1000, "MB": 10**6, "GB": 10**9}
#: what stands around the rows
FURNITURE = re.compile(r"=+$|IPv[46] Conversations|Filter:|[\s|]|$")


def read(path: Path) -> FlowTable:
    """One flow a pair, originator and responder undecided. Raises MimirError when no line can be used."""
    lines, rows, rounded = Lines(path), Rows(), 0
    for number, line in lines:
        found = ROW.match(line)
        if found is None:
            if not FURNITURE.match(line):
                rows.bad.add(number, "not a conversation", line[:80])
            continue
        try:
            a, b = rows.address(found[1]), rows.address(found[2])
            to_a, to_b = int(found[4]) * UNITS[found[5]], int(found[7]) * UNITS[found[8]]
            start, duration = (float(found[group].replace(",", ".")) for group in (12, 13))
            counts = (to_b, to_a, 0, 0, int(found[6]), int(found[3]), 1, 0, 0, 0, 0)
            rows.add(start, duration, (a, b, 0, 0), 0, counts)
            rounded += any(UNITS[found[group]] > 1 for group in (5, 8))
        except (ValueError, OverflowError) as error:
            rows.bad.add(number, "unusable value", str(error)[:200])
    table = rows.table(path, FORMAT, False, "frame", lines)
    table.notes = {"rounded_sizes": rounded} if rounded else {}
    return table
