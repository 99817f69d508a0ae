"""TLS 1.3 records as bytes (RFC 8446), with the lengths that `https` computes. What is encrypted is pseudo-random.

Nothing is negotiated: keys, randoms and ciphertext are a function of the content, so that captures are reproducible.
"""

from __future__ import annotations

import hashlib
import struct

from mimir.exfiltration.channels import https
from mimir.spec.exfiltration import TlsSpec

_CHANGE_CIPHER_SPEC = bytes.fromhex("140303000101")
HANDSHAKE, APPLICATION = 22, 23  #: types of records
_SUITES = bytes.fromhex("130113021303")
LEAST_HELLO_BYTES = 200  #: of a ClientHello, the host's name not counted


def noise(seed: bytes, count: int) -> bytes:
    """`count` bytes that look random and depend on `seed` only."""
    return hashlib.shake_128(seed).digest(count)


def records(plain: bytes) -> bytes:
    """Application data as protected records."""
    pieces = [plain[at : at + https.RECORD_BYTES] for at in range(0, len(plain), https.RECORD_BYTES)]
    return b"".join(_protected(piece) for piece in pieces)


def handshake(tls: TlsSpec, host: str, connection: int, *, resumed: bool) -> tuple[tuple[bytes, bytes], ...]:
    """ClientHello and the server's flight; the client's Finished and the tickets. ValueError for too short a hello."""
    seed = f"{host} {connection}".encode()
    flight = _server_hello(seed, resumed) + _CHANGE_CIPHER_SPEC
    sizes = [https.EXTENSIONS_BYTES, tls.certificate_bytes, https.VERIFY_BYTES, https.FINISHED_BYTES]
    for size in [sizes[0], sizes[3]] if resumed else sizes:
        flight += _protected(noise(seed + bytes([size & 0xFF]), size))
    ticket = _protected(noise(seed + b"ticket", https.TICKET_BYTES + tls.ticket_bytes))
    finished = _CHANGE_CIPHER_SPEC + _protected(noise(seed + b"finished", https.FINISHED_BYTES))
    return (_client_hello(tls, host, seed, resumed), flight), (finished, ticket * (1 if resumed else https.TICKETS))


def close_notify() -> bytes:
    """The alert that ends a connection, encrypted."""
    return _protected(bytes(https.ALERT_BYTES))


def _protected(plain: bytes) -> bytes:
    size = len(plain) + https.OVERHEAD_BYTES - https.HEADER_BYTES
    return struct.pack("!BHH", APPLICATION, 0x0303, size) + noise(plain, size)


def _client_hello(tls: TlsSpec, host: str, seed: bytes, resumed: bool) -> bytes:
    name = host.encode()
    server_name = struct.pack("!HBH", len(name) + 3, 0, len(name)) + name
    extensions = _extension(0, server_name) + _extension(10, bytes.fromhex("0002001d"))
    extensions += _extension(13, bytes.fromhex("0006040308040401")) + _extension(43, bytes.fromhex("020304"))
    extensions += _extension(45, bytes.fromhex("0101"))
    extensions += _extension(51, struct.pack("!HHH", 36, 29, 32) + noise(seed + b"client key", 32))
    session, random = noise(seed + b"session", 32), noise(seed + b"client", 32)
    start = b"\x03\x03" + random + b"\x20" + session + struct.pack("!H", len(_SUITES)) + _SUITES + b"\x01\x00"
    room = tls.client_hello_bytes - 5 - 4 - len(start) - 2 - len(extensions) - 4
    if room < 0:
        raise ValueError(f"a ClientHello for {host} needs {tls.client_hello_bytes - room} bytes")
    extensions += _extension(21, bytes(room))
    if resumed:  # must be the last extension
        identity = struct.pack("!H", tls.ticket_bytes) + noise(seed + b"ticket", tls.ticket_bytes) + noise(seed, 4)
        binder = b"\x20" + noise(seed + b"binder", 32)
        offered = struct.pack("!H", len(identity)) + identity + struct.pack("!H", len(binder)) + binder
        extensions += _extension(41, offered)
    return _message(0x0301, 1, start + struct.pack("!H", len(extensions)) + extensions)


def _server_hello(seed: bytes, resumed: bool) -> bytes:
    extensions = _extension(43, b"\x03\x04")
    extensions += _extension(51, struct.pack("!HH", 29, 32) + noise(seed + b"server key", 32))
    if resumed:
        extensions += _extension(41, b"\0\0")
    start = b"\x03\x03" + noise(seed + b"server", 32) + b"\x20" + noise(seed + b"session", 32) + _SUITES[:2] + b"\0"
    return _message(0x0303, 2, start + struct.pack("!H", len(extensions)) + extensions)


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data


def _message(version: int, kind: int, body: bytes) -> bytes:
    message = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return struct.pack("!BHH", HANDSHAKE, version, len(message)) + message
