"""Real TLS 1.3 (Python's ssl, OpenSSL) on streams that exist already, with a certificate made for one recording."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mimir.cluster.netns.lines import Streams
from mimir.cluster.netns.requirements import tool
from mimir.cluster.netns.tasks import BROKEN
from mimir.errors import MimirError
from mimir.spec.exfiltration import TlsSpec

_BARE_BYTES = 800  # of a Certificate message with a self-signed RSA-2048 certificate and no comment
_PIECE = 65536


@dataclass(frozen=True)
class Certificate:
    """Contexts of both ends: the client trusts this one certificate."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def make_certificate(host: str, spec: TlsSpec) -> Certificate:
    """A self-signed certificate for a name, made about `certificate_bytes` long by a comment; nothing touches a disk.

    MimirError when openssl is not there or refuses.
    """
    program = tool("openssl")
    if program is None:
        raise MimirError("leaks in TLS need the program openssl: apt-get install openssl")
    comment = "x" * max(1, spec.certificate_bytes - _BARE_BYTES - 2 * len(host))
    done = subprocess.run(  # noqa: S603
        [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "-", "-out", "-", "-days", "2",
         "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-addext", f"nsComment={comment}"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise MimirError(f"openssl made no certificate: {done.stderr.strip()[-300:]}")
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.minimum_version = client.minimum_version = ssl.TLSVersion.TLSv1_3
    memory = os.memfd_create("certificate")
    try:
        os.write(memory, done.stdout.encode())
        server.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    client.load_verify_locations(cadata=done.stdout[done.stdout.index("-----BEGIN CERTIFICATE") :])
    return Certificate(server, client)


class Secure:
    """A TLS session on streams. `reader` gives plain bytes; `write`, `drain`, `close` and `is_closing` are a writer's."""

    def __init__(
        self, streams: Streams, context: ssl.SSLContext, host: str | None = None, session: ssl.SSLSession | None = None
    ):
        """`host` (client only) is the name asked for, `session` one to be resumed."""
        self._below, self._writer = streams
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=host is None, server_hostname=host, session=session
        )
        self.reader = asyncio.StreamReader()
        self._pumping: asyncio.Task[None] | None = None
        self.on_ticket: Callable[[ssl.SSLSession | None], None] | None = (
            None  #: told what a later connection may resume
        )

    async def handshake(self) -> None:
        """Shake hands. ConnectionError or ssl.SSLError when that fails."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                data = await self._below.read(_PIECE)
                if not data:
                    raise ConnectionResetError("the connection ended in the handshake") from None
                self._in.write(data)
        self._flush()
        self._pumping = asyncio.ensure_future(self._pump())

    @property
    def resumed(self) -> bool:
        """Did this connection resume an earlier one?"""
        return bool(self._tls.session_reused)

    def write(self, data: bytes) -> None:
        """Send plain bytes as records."""
        self._tls.write(data)
        self._flush()

    async def drain(self) -> None:
        """Wait until the other side keeps up."""
        await self._writer.drain()

    def is_closing(self) -> bool:
        """Is it closed?"""
        return self._writer.is_closing()

    def close(self) -> None:
        """Say goodbye (close_notify) and close."""
        if self.on_ticket:
            self.on_ticket(self._tls.session)
            self.on_ticket = None
        with suppress(ssl.SSLError, ValueError):  # the other side need not answer
            self._tls.unwrap()
        if not self._writer.is_closing():
            self._flush()
        self._writer.close()

    async def _pump(self) -> None:
        """Decrypt what comes until it ends."""
        try:
            while self._decrypt():
                data = await self._below.read(_PIECE)
                if not data:
                    break
                self._in.write(data)
        except (ssl.SSLError, *BROKEN):
            pass
        finally:
            self.reader.feed_eof()

    def _decrypt(self) -> bool:
        try:
            while piece := self._tls.read(_PIECE):
                self.reader.feed_data(piece)
        except ssl.SSLWantReadError:
            self._flush()
            return True
        return False

    def _flush(self) -> None:
        if data := self._out.read():
            self._writer.write(data)
