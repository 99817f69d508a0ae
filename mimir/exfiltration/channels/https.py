"""https: http_post inside TLS 1.3 (RFC 8446) with X25519 and AES-128-GCM: handshake, records, tickets, resumption."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.channels import http_post, http_relay
from mimir.exfiltration.channels.exchange import Exchange, Hop
from mimir.exfiltration.plan import Incident
from mimir.spec.exfiltration import TlsSpec

RECORD_BYTES = 1 << 14  #: most plaintext of one record (RFC 8446, 5.1)
OVERHEAD_BYTES = 5 + 1 + 16  #: header, content type, tag of one protected record
_HEADER, _CHANGE_CIPHER_SPEC = 5, 6
_SERVER_HELLO = 122  # 4 + version 2, random 32, session id 1 + 32, suite 2, compression 1, extensions 2 + 6 + 40
_EXTENSIONS, _VERIFY, _FINISHED = 6, 264, 36  # EncryptedExtensions (none), RSA-2048 signature, SHA-256
_TICKET, _TICKETS = 25, 2  # NewSessionTicket without the ticket; OpenSSL sends two, one after a resumption
_IDENTITY, _CHOSEN = 47, 6  # pre_shared_key extension without the ticket, and the server's
_ALERT = 2


def protected_bytes(plain: NDArray[np.int64]) -> NDArray[np.int64]:
    """Length of application data as records."""
    return plain + -(-plain // RECORD_BYTES) * OVERHEAD_BYTES


def handshake(tls: TlsSpec, *, resumed: bool) -> tuple[Exchange, ...]:
    """ClientHello and the server's flight; the client's Finished and the tickets."""
    hello = tls.client_hello_bytes + (_IDENTITY + tls.ticket_bytes if resumed else 0)
    messages = [_EXTENSIONS, _FINISHED] if resumed else [_EXTENSIONS, tls.certificate_bytes, _VERIFY, _FINISHED]
    plain = _HEADER + _SERVER_HELLO + (_CHOSEN if resumed else 0) + _CHANGE_CIPHER_SPEC
    flight = plain + sum(_record(count) for count in messages)
    tickets = (1 if resumed else _TICKETS) * _record(_TICKET + tls.ticket_bytes)
    return Exchange(hello, flight), Exchange(_CHANGE_CIPHER_SPEC + _record(_FINISHED), tickets)


def hops(
    incident: Incident, allowed_edges: Iterable[tuple[str, str]], body: http_relay.Body, tls: TlsSpec
) -> list[Hop]:
    """Sizes per hop; each connection ends with a close_notify alert."""
    return [
        replace(
            hop,
            request_bytes=protected_bytes(hop.request_bytes),
            response_bytes=protected_bytes(hop.response_bytes),
            opening=handshake(tls, resumed=False),
            reopening=handshake(tls, resumed=tls.resume),
            closing=(Exchange(_record(_ALERT), 0),),
            per_connection=tls.messages_per_connection,
        )
        for hop in http_post.hops(incident, allowed_edges, body)
    ]


def _record(plain: int) -> int:
    return int(protected_bytes(np.array([plain], dtype=np.int64))[0])
