"""Heads of HTTP/1 messages (RFC 9112) as far as they are in one segment; of several, each (pipelining)."""

from __future__ import annotations

import re

from mimir.capture.text import printable

#: longest value kept of a header and of a request target, bytes
MAX_VALUE_BYTES, MAX_TARGET_BYTES = 256, 2048
MAX_HEADERS = 128
#: messages of one segment, at most
MAX_MESSAGES = 32
#: kept to know where a body ends
ENCODING = "http.transfer_encoding"
HEADERS = {b"host": "http.host", b"user-agent": "http.user_agent", b"content-length": "http.content_length",
           b"transfer-encoding": ENCODING}  # fmt: skip
REQUEST = re.compile(rb"([A-Z_-]{3,20}) ([^ \r\n]{1,16384}) HTTP/1\.[0-9]\r?\Z")
STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\Z")


def read_http(data: bytes) -> tuple[dict[str, str], bool]:
    """Segment → (fields under Wireshark's names, was the last head there to its empty line?); no fields: not HTTP/1.

    The first value of a repeated header counts. Values longer than the bounds are cut. Where a message ends within the
    segment and another begins, the values of a field stand in one text, joined by commas, as tshark joins them.
    """
    found: dict[str, list[str]] = {}
    complete, at = False, 0
    for _ in range(MAX_MESSAGES):
        head, size = _head(data[at:])
        if not head:
            break
        for field, value in head.items():
            found.setdefault(field, []).append(value)
        complete = size > 0
        body = _body_bytes(head) if complete else None
        if body is None or at + size + body >= len(data):
            break
        at += size + body
    return {field: ",".join(values) for field, values in found.items() if field != ENCODING}, complete


def _head(data: bytes) -> tuple[dict[str, str], int]:
    """Fields of the message that begins here, and the bytes of its head with the empty line; 0 where that is not there."""
    first, *rest = data.split(b"\n", MAX_HEADERS + 1)
    out = _start_line(first) if rest else {}
    if not out:
        return {}, 0
    size = len(first) + 1
    for line in rest[:-1]:  # the last piece has no end of line: it is body, or a header that goes on elsewhere
        size += len(line) + 1
        line = line.rstrip(b"\r")
        if not line:
            return out, size
        name, colon, value = line.partition(b":")
        field = HEADERS.get(name.lower()) if colon else None
        if field and field not in out:
            _keep(out, field, value.strip(b" \t"))
    return out, 0


def _body_bytes(head: dict[str, str]) -> int | None:
    """Bytes of the body behind a head (RFC 9112, 6.3); None where only reading it tells."""
    code = head.get("http.response.code")
    if code and (code[0] == "1" or code in ("204", "304")):
        return 0
    if ENCODING in head:
        return None
    if "http.content_length" in head:
        return int(head["http.content_length"])
    return None if code else 0


def _start_line(line: bytes) -> dict[str, str]:
    request = REQUEST.match(line)
    if request:
        method, target = request.groups()
        return {"http.request.method": method.decode(), "http.request.uri": printable(target[:MAX_TARGET_BYTES])}
    status = STATUS.match(line)
    return {"http.response.code": status[1].decode()} if status else {}


def _keep(out: dict[str, str], field: str, value: bytes) -> None:
    if field == "http.content_length":
        if value.isdigit() and len(value) <= 19:
            out[field] = str(int(value))
    elif value:
        out[field] = printable(value[:MAX_VALUE_BYTES])
