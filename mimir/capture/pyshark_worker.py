"""Script: pyshark in a process of its own. Reads one JSON order from stdin, writes rows as JSON to stdout."""

from __future__ import annotations

import json
import sys

MAX_CHARACTERS = 4096


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
    """Field `layer.field` of a packet as text, several values joined by commas; None if no layer has it."""
    layer, _, field = name.partition(".")
    layers = [packet.frame_info] if layer == "frame" else packet.layers  # type: ignore[attr-defined]
    values = [one.get_field(field) for one in layers if layer in ("frame", one.layer_name)]
    texts = [text for value in values for text in texts_of(value)]
    return ",".join(texts)[:MAX_CHARACTERS] if texts else None


def texts_of(value: object) -> list[str]:
    """A value of pyshark, a list of them, or a field with parts and a value of its own → texts as tshark writes them."""
    value = getattr(value, "value", value)
    if value is None:
        return []
    if isinstance(value, list):
        return [text for one in value for text in texts_of(one)]
    return [str(int(value)) if isinstance(value, bool) else str(value)]


if __name__ == "__main__":
    sys.exit(main())
