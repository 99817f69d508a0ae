"""smtp: each message is a mail (RFC 5321) with one base64 attachment in lines of 76 characters (RFC 2045)."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.channels.exchange import Exchange, Hop
from mimir.exfiltration.paths import carriages
from mimir.exfiltration.plan import Incident
from mimir.spec.exfiltration import SmtpSpec

LINE_CHARACTERS = 76
END = b".\r\n"
ACCEPTED = b"250 2.0.0 Ok: queued as 4F0A1B2C3D\r\n"


def write_body(data: bytes) -> bytes:
    """The data as base64 lines, each ended by CRLF."""
    text = base64.b64encode(data)
    return b"".join(text[at : at + LINE_CHARACTERS] + b"\r\n" for at in range(0, len(text), LINE_CHARACTERS))


def body_bytes(data_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Length of `write_body` for each data length."""
    characters = (data_bytes + 2) // 3 * 4
    return characters + 2 * -(-characters // LINE_CHARACTERS)


def head(spec: SmtpSpec) -> bytes:
    """Header lines of a mail and the empty line after them."""
    lines = [
        f"From: <{spec.sender}>", f"To: <{spec.recipient}>", "Subject: report", "MIME-Version: 1.0",
        "Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def dialogue(spec: SmtpSpec) -> dict[str, tuple[tuple[bytes, bytes], ...]]:
    """(command, reply) pairs that open a connection, precede a mail's content and close; the banner has no command."""
    host, name = spec.recipient.partition("@")[2], spec.sender.partition("@")[2]
    ehlo = f"250-{host}\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250 PIPELINING\r\n".encode()
    return {
        "opening": ((b"", f"220 {host} ESMTP\r\n".encode()), (f"EHLO {name}\r\n".encode(), ehlo)),
        "before": (
            (f"MAIL FROM:<{spec.sender}>\r\n".encode(), b"250 2.1.0 Ok\r\n"),
            (f"RCPT TO:<{spec.recipient}>\r\n".encode(), b"250 2.1.5 Ok\r\n"),
            (b"DATA\r\n", b"354 End data with <CR><LF>.<CR><LF>\r\n"),
        ),
        "closing": ((b"QUIT\r\n", b"221 2.0.0 Bye\r\n"),),
    }


def hops(incident: Incident, allowed_edges: Iterable[tuple[str, str]], spec: SmtpSpec) -> list[Hop]:
    """Sizes per hop. The side that has the data must connect: mail cannot be pulled."""
    mail = len(head(spec)) + body_bytes(incident.message_bytes) + len(END)
    accepted = np.full_like(mail, len(ACCEPTED))
    said = {part: tuple(Exchange(len(c), len(r), not c) for c, r in pairs) for part, pairs in dialogue(spec).items()}
    sides = zip(incident.path, incident.path[1:], carriages(incident.path, allowed_edges), strict=False)
    return [
        Hop(
            source,
            target,
            how,
            mail,
            accepted,
            opening=said["opening"],
            before=said["before"],
            closing=said["closing"],
            per_connection=spec.messages_per_connection,
        )
        for source, target, how in sides
    ]
