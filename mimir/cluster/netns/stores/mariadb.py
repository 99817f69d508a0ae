"""MariaDB: `mariadbd` in the pod, queries of the model's sizes in its text protocol (COM_QUERY).

Reads select one value as long as the reply needs (`SELECT REPEAT`), writes replace a row by one as long as the request.
Comments make reads as long as they were drawn. The server's own prepared statements are not used.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiomysql.connection import Connection
from pymysql.err import MySQLError

from mimir.cluster.netns.lines import Streams
from mimir.cluster.netns.stores.driver import StoreLine
from mimir.cluster.netns.wire import Call, filler

_DATA, _SQL = "/run/data", "/run/begin.sql"
_BEGIN = "CREATE DATABASE mimir;\nCREATE TABLE mimir.w (id INT PRIMARY KEY, v LONGBLOB NOT NULL);\n"
_COMMAND_BYTES = 5  # header and number of the command
_REPLY_BYTES = 54  # column count, definition, end, header of the row, end
_OK_BYTES = 11
_WRITES = ("insert", "update", "replace", "delete", "write")


class _OnStreams(Connection):  # type: ignore[misc]
    """The library's connection on streams that are open already; it asks nothing of its own accord."""

    def __init__(self, streams: Streams):
        super().__init__(user="mimir", autocommit=None)
        self._streams = streams

    async def _connect(self) -> None:
        self._reader, self._writer = self._streams
        self._next_seq_id = 0
        await self._get_server_information()
        await self._request_authentication()


class MariaDbLine(StoreLine):
    """A client's connection; one query at a time."""

    def __init__(self, streams: Streams):
        super().__init__(*streams)
        self._connection = _OnStreams(streams)

    async def begin(self) -> MariaDbLine:
        """Shake hands. ConnectionError when the server refuses."""
        try:
            await self._connection._connect()
        except MySQLError as error:
            raise ConnectionError(f"MariaDB: {error}") from None
        return self

    async def ask(self, call: Call) -> int:
        """A query of the sizes that were drawn; a handshake, which is an endpoint of some applications, has been by now."""
        if call.action == "handshake":
            return call.wanted
        async with self.lock:
            try:
                await self._connection.query(query(call))
            except (MySQLError, AttributeError) as error:  # the library forgets its streams when they end
                raise ConnectionError(f"MariaDB: {error}") from None
            rows: Any = self._connection._result.rows
            self.used_s, self.exchanges = asyncio.get_running_loop().time(), self.exchanges + 1
            if not rows:
                return _OK_BYTES
            value = len(rows[0][0])
            return _REPLY_BYTES + _prefix(value) + value

    def close(self) -> None:
        """Close it."""
        self._connection.close()
        super().close()


def query(call: Call) -> bytes:
    """SQL whose packet has `call.size` bytes, or a few more.

    >>> from mimir.cluster.netns.wire import Call
    >>> query(Call("mysql", "SELECT city", "", 0, 40, 100))
    b"SELECT REPEAT('x',45)c/*mimir-syn*/"
    """
    room = call.size - _COMMAND_BYTES
    if any(word in call.action.lower() for word in _WRITES):
        sql = b"REPLACE mimir.w VALUES(1,'%b')"
        return sql % filler(max(0, room - len(sql) + 2))
    value = max(0, call.wanted - _REPLY_BYTES)
    while value and value + _REPLY_BYTES + _prefix(value) > call.wanted:
        value -= 1
    sql = b"SELECT REPEAT('x',%d)c" % value
    spare = room - len(sql) - 4
    return sql + (b"/*%b*/" % filler(spare) if spare >= 0 else b"")


def _prefix(value: int) -> int:
    """Bytes that say how long a value is."""
    return 1 if value < 251 else 3 if value < 1 << 16 else 4


class MariaDb:
    """The driver."""

    user = "mysql"

    def job(self, port: int) -> dict[str, Any]:
        """Everybody may do everything, no log that would be replayed, small buffers."""
        command = [
            "mariadbd", "--no-defaults", f"--datadir={_DATA}", "--socket=/run/mysqld.sock", "--pid-file=/run/mysqld.pid",
            f"--port={port}", "--bind-address=0.0.0.0", "--skip-name-resolve", "--skip-grant-tables", "--tmpdir=/tmp",
            f"--init-file={_SQL}", "--skip-log-bin", "--performance-schema=0", "--max-connect-errors=1000000",
            "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M",
        ]  # fmt: skip
        return {"commands": {"mariadbd": command}, "files": {_SQL: _BEGIN}, "folders": [_DATA]}

    async def speak(self, streams: Streams) -> StoreLine:
        """The client/server protocol, as nobody in particular."""
        return await MariaDbLine(streams).begin()
