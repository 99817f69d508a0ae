"""The beginning of a capture, as a capture. Standard library only, so that the measuring process stays small."""

from __future__ import annotations

import struct
from pathlib import Path

ETHERNET, SLL2 = 1, 276


def linktype(path: Path) -> int:
    """Of a pcap file in this machine's byte order."""
    with path.open("rb") as file:
        return int(struct.unpack_from("<I", file.read(24), 20)[0]) & 0xFFFF


def head(source: Path, out: Path, count: int, ethernet: bool) -> int:
    """The first `count` packets of a pcap file; with `ethernet` those of SLL2 behind an Ethernet header.

    Returns how many there were. Reads record by record and needs no memory to speak of.
    """
    done, ethernet = 0, ethernet and linktype(source) == SLL2
    with source.open("rb") as reading, out.open("wb") as writing:
        start = reading.read(24)
        writing.write(start[:20] + struct.pack("<I", ETHERNET) if ethernet else start)
        while done < count and len(record := reading.read(16)) == 16:
            sec, nsec, captured, original = struct.unpack("<IIII", record)
            frame = reading.read(captured)
            if ethernet:
                frame = bytes(5) + b"\x02" + bytes(5) + b"\x01" + frame[:2] + frame[20:]
                record = struct.pack("<IIII", sec, nsec, captured - 6, original - 6)
            writing.write(record + frame)
            done += 1
    return done


def repeat(source: Path, out: Path, count: int) -> int:
    """A pcap file over and over, each time a minute after the last packet, until there are `count` packets."""
    data, starts, at = source.read_bytes(), [], 24
    while at + 16 <= len(data) and at + 16 + (size := struct.unpack_from("<I", data, at + 8)[0]) <= len(data):
        starts.append(at)
        at += 16 + size
    first, last = (struct.unpack_from("<I", data, place)[0] for place in (starts[0], starts[-1]))
    done = 0
    with out.open("wb") as writing:
        writing.write(
            data[:4] + struct.pack("<HH", 2, 4) + data[8:24]
        )  # some tool wrote the version the wrong way round
        while done < count:
            body, shift = bytearray(data[24:at]), done // len(starts) * (last - first + 60)
            for place in starts:
                struct.pack_into("<I", body, place - 24, struct.unpack_from("<I", data, place)[0] + shift)
            writing.write(body)
            done += len(starts)
    return done
