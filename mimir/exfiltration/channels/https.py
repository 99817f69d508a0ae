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
HEADER_BYTES, _CHANGE_CIPHER_SPEC = 5, 6
SERVER_HELLO_BYTES = 122  # 4 + version 2, random 32, session id 1 + 32, suite 2, compression 1, extensions 2 + 6 + 40
EXTENSIONS_BYTES, VERIFY_BYTES, FINISHED_BYTES = 6, 264, 36  # EncryptedExtensions (none), RSA-2048 signature, SHA-256
TICKET_BYTES, TICKETS = 25, 2  # NewSessionTicket without the ticket; OpenSSL sends two, one after a resumption
IDENTITY_BYTES, CHOSEN_BYTES = 47, 6  # pre_shared_key extension without the ticket, and the server's
ALERT_BYTES = 2


def protected_bytes(plain: NDArray[np.int64]) -> NDArray[np.int64]:
    """Length of application data as records."""
    return plain + -(-plain // RECORD_BYTES) * OVERHEAD_BYTES


def handshake(tls: TlsSpec, *, resumed: bool) -> tuple[Exchange, ...]:
    """ClientHello and the server's flight; the client's Finished and the tickets."""
    hello = tls.client_hello_bytes + (IDENTITY_BYTES + tls.ticket_bytes if resumed else 0)
    messages = (
        [EXTENSIONS_BYTES, FINISHED_BYTES]
        if resumed
        else [EXTENSIONS_BYTES, tls.certificate_bytes, VERIFY_BYTES, FINISHED_BYTES]
    )
    plain = HEADER_BYTES + SERVER_HELLO_BYTES + (CHOSEN_BYTES if resumed else 0) + _CHANGE_CIPHER_SPEC
    flight = plain + sum(_record(count) for count in messages)
    tickets = (1 if resumed else TICKETS) * _record(TICKET_BYTES + tls.ticket_bytes)
    return Exchange(hello, flight), Exchange(_CHANGE_CIPHER_SPEC + _record(FINISHED_BYTES), tickets)


def hops(
    incident: Incident, allowed_edges: Iterable[tuple[str, str]], body: http_relay.Body, tls: TlsSpec
) -> list[Hop]:
    """Sizes per hop; each connection ends with a close_notify alert."""
    plain = http_post.hops(incident, allowed_edges, body)
    return [protect(hop, hop.request_bytes, hop.response_bytes, tls) for hop in plain]


def protect(hop: Hop, request_bytes: NDArray[np.int64], response_bytes: NDArray[np.int64], tls: TlsSpec) -> Hop:
    """A hop with these requests and responses in TLS."""
    return replace(
        hop,
        request_bytes=protected_bytes(request_bytes),
        response_bytes=protected_bytes(response_bytes),
        opening=handshake(tls, resumed=False),
        reopening=handshake(tls, resumed=tls.resume),
        closing=(Exchange(_record(ALERT_BYTES), 0),),
        per_connection=tls.messages_per_connection,
    )


def _record(plain: int) -> int:
    return int(protected_bytes(np.array([plain], dtype=np.int64))[0])
