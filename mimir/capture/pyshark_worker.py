"""Script: pyshark in a process of its own. Reads one JSON order from stdin, writes rows as JSON to stdout."""

from __future__ import annotations

import json
import sys


def main() -> int:
    """0 and rows, or 1 and tshark's complaint on stderr."""
    import pyshark
    from pyshark.capture.capture import TSharkCrashException

    path, display_filter, fields, limit = json.load(sys.stdin)
    rows: list[dict[str, str | None]] = []
    capture = pyshark.FileCapture(path, display_filter=display_filter or None, use_ek=True, keep_packets=False)
    try:
        for packet in capture:
            if len(rows) >= limit:
                break
            rows.append({name: value_of(packet, name) for name in fields})
    except TSharkCrashException as crash:
        sys.stderr.write(str(crash))
        return 1
    finally:
        capture.close()
    json.dump(rows, sys.stdout)
    return 0


def value_of(packet: object, name: str) -> str | None:
    """Field `layer.field` of a packet as text; None if the packet has no such layer or field."""
    value: object = packet
    for part in name.split("."):
        value = getattr(value, part, None)
        if value is None:
            return None
    return str(getattr(value, "value", value))


if __name__ == "__main__":
    sys.exit(main())
