"""Script: pyshark in a process of its own. Reads one JSON order from stdin, writes rows as JSON to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

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


def value_of(packet: Any, name: str) -> str | None:
    """Field `layer.field` of a packet as text, several values joined by commas; None if no layer has it.

    pyshark looks only into the first layer of that name; multicast DNS, TLS inside QUIC and headers that repeat in
    tunnels stand elsewhere, so the whole tree is searched for the key that tshark's `ek` output gives the field.
    """
    key = f"{name.partition('.')[0]}_{name.replace('.', '_')}"
    held = [layer._fields_dict for layer in (packet.frame_info, *packet.layers)]
    texts = list(texts_under(held, key))
    return ",".join(texts)[:MAX_CHARACTERS] if texts else None


def texts_under(tree: object, key: str) -> Iterator[str]:
    """All values of a key in nested dicts and lists, as tshark writes them."""
    if isinstance(tree, list):
        for one in tree:
            yield from texts_under(one, key)
    elif isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield from (text_of(one) for one in (value if isinstance(value, list) else [value]))
            elif isinstance(value, dict | list):
                yield from texts_under(value, key)


def text_of(value: object) -> str:
    """One value; truth is 1 or 0."""
    return str(int(value)) if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
