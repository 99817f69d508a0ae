"""Head of an HTTP/1 message (RFC 9112) as far as it is in one segment."""

from __future__ import annotations

import re

from mimir.capture.text import printable

#: longest value kept of a header and of a request target, bytes
MAX_VALUE_BYTES, MAX_TARGET_BYTES = 256, 2048
MAX_HEADERS = 128
HEADERS = {b"host": "http.host", b"user-agent": "http.user_agent", b"content-length": "http.content_length"}
REQUEST = re.compile(rb"([A-Z_-]{3,20}) ([^ \r\n]{1,16384}) HTTP/1\.[0-9]\r?\Z")
STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\Z")


def read_http(data: bytes) -> tuple[dict[str, str], bool]:
    """Segment → (fields under Wireshark's names, was the head there to its empty line?); no fields: not HTTP/1.

    The first value of a repeated header counts. Values longer than the bounds are cut.
    """
    first, *rest = data.split(b"\n", MAX_HEADERS + 1)
    if not rest:
        return {}, False
    out = _start_line(first)
    if not out:
        return {}, False
    for line in rest[:-1]:  # the last piece has no end of line: it is body, or a header that goes on elsewhere
        line = line.rstrip(b"\r")
        if not line:
            return out, True
        name, colon, value = line.partition(b":")
        field = HEADERS.get(name.lower()) if colon else None
        if field and field not in out:
            _keep(out, field, value.strip(b" \t"))
    return out, False


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
