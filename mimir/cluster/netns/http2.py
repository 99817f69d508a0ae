"""gRPC on HTTP/2 (RFC 9113), by the libraries h2 and hpack: calls share a connection and do not wait for each other.

An exchange is what gRPC sends: HEADERS, a length-prefixed message in DATA, in a reply HEADERS again as trailers. Sizes count
all of that as it is on the wire, so the message fills what the compressed headers leave. Messages are protocol buffers:
endpoint (field 1) and reply length wanted (field 2) in a request, filler (field 3).
"""

from __future__ import annotations

import asyncio
from asyncio import StreamWriter

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event
from h2.exceptions import ProtocolError

FRAME_BYTES, PREFIX_BYTES = 9, 5
READ = 65536
REPLY_HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc")]


class Side:
    """One end of a connection: what both client and server do."""

    def __init__(self, writer: StreamWriter, *, client: bool):
        how = H2Configuration(
            client_side=client, header_encoding=None, validate_inbound_headers=False, validate_outbound_headers=False,
            normalize_inbound_headers=False, normalize_outbound_headers=False,
        )  # fmt: skip
        self.h2, self.writer, self.sent = H2Connection(config=how), writer, 0
        self._ready = bytearray()
        self._room, self._ended = asyncio.Event(), False
        self.h2.initiate_connection()

    def gather(self) -> int:
        """Bytes of the frames made since the last time; they leave with the next flush."""
        data = self.h2.data_to_send()
        self._ready += data
        self.sent += len(data)
        return len(data)

    def flush(self) -> None:
        """Hand all frames to the kernel at once."""
        self.gather()
        if self._ready and not self.writer.is_closing():
            self.writer.write(bytes(self._ready))
        self._ready.clear()

    def feed(self, data: bytes) -> list[Event]:
        """What arrived. ConnectionError when it breaks the protocol."""
        try:
            events: list[Event] = self.h2.receive_data(data)
        except ProtocolError as error:
            self.flush()
            raise ConnectionError(f"HTTP/2: {error}") from None
        for event in events:
            if isinstance(event, DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, ConnectionTerminated):
                raise ConnectionError("HTTP/2: the peer said GOAWAY")
        self._room.set()  # windows may have grown, streams may be gone
        return events

    def end(self) -> None:
        """Nothing more will arrive: whoever waits to send gives up."""
        self._ended = True
        self._room.set()

    async def send(self, stream: int, message: bytes, *, end: bool) -> None:
        """A gRPC message in DATA frames, as fast as the peer's windows allow. ConnectionError when the stream is gone."""
        data = b"\0" + len(message).to_bytes(4) + message
        try:
            while True:
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                if room >= len(data):
                    self.h2.send_data(stream, data, end_stream=end)
                    return
                if room > 0:
                    self.h2.send_data(stream, data[:room])
                    data = data[room:]
                self.flush()
                self._room.clear()
                if room <= 0:
                    await self._room.wait()
                if self._ended:
                    raise ConnectionError("the HTTP/2 connection was closed")
        except ProtocolError as error:
            raise ConnectionError(f"HTTP/2: {error}") from None
