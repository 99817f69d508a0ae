"""What a reader left out, in words: for `inspect`, and for commands that turn captures into something else."""

from __future__ import annotations

from mimir.capture.counts import CaptureCounts
from mimir.units import format_bytes


def losses(counts: CaptureCounts) -> list[str]:
    """A line for each kind of packet left out, for bytes that were claimed and not there, and for each damage."""
    lines = [
        f"{s.packets:,} packets, {format_bytes(s.bytes)}: {reason}; first at byte {s.first_offset} of {s.first_file}"
        for reason, s in counts.skipped.items()
    ]
    if counts.longer_than_frame:
        lines.append(
            f"{counts.longer_than_frame:,} packets whose IP header claims more bytes than their frame had: "
            "the frame's length counts"
        )
    for d in counts.damaged:
        unread = f", {format_bytes(d.unread_bytes)} not read" if d.unread_bytes else ""
        lines.append(f"damaged: {d.file} at byte {d.offset}: {d.reason}{unread}")
    return lines
