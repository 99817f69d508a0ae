"""What the testbed must know to run a store and to speak to it."""

from __future__ import annotations

from typing import Any, Protocol

from mimir.cluster.netns.lines import Line, Streams


class StoreLine(Line):
    """A client's connection to a real store."""

    async def prepare(self) -> None:
        """What the store needs before services come; asked of the first connection, which no capture sees."""


class Driver(Protocol):
    """One store's program and protocol."""

    user: str  #: of the system, whom the program believes to be

    def job(self, port: int) -> dict[str, Any]:
        """Fields of `Job`: command, files, folders, environment."""
        ...

    async def speak(self, streams: Streams) -> StoreLine:
        """Begin on a new connection. Raises what a broken connection raises."""
        ...
