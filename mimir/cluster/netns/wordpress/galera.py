"""The database pods: mariadbd with the Galera provider, three members or more, state transfer by rsync.

Options: MariaDB's documentation of Galera Cluster ("Configuring MariaDB Galera Cluster"). Sizes are small: content is.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.requirements import tool

DATABASE = USER = "wordpress"
PASSWORD = MONITOR = "mimir"  # noqa: S105 - nobody but the testbed reaches it
PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
GROUP_PORT, IST_PORT, SST_PORT = 4567, 4568, 4444
_DATA, _SOCKET = "/run/data", "/run/mysqld.sock"
_SQL = f"""CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;
CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON {DATABASE}.* TO '{USER}'@'%';
CREATE USER '{MONITOR}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
"""


def install() -> list[str]:
    """The command that makes the first member's system tables."""
    return ["mariadb-install-db", "--no-defaults", f"--datadir={_DATA}", "--auth-root-authentication-method=normal", "--skip-test-db"]  # fmt: skip


def member(ip: str, members: list[str], port: int, *, first: bool) -> list[str]:
    """The command of one member; the first begins the cluster, the others take its data."""
    provider = f"gcache.size=32M; gmcast.listen_addr=tcp://{ip}:{GROUP_PORT}; ist.recv_addr={ip}:{IST_PORT}"
    command = [
        "mariadbd", "--no-defaults", f"--datadir={_DATA}", f"--socket={_SOCKET}", "--pid-file=/run/mysqld.pid", f"--port={port}",
        "--bind-address=0.0.0.0", "--skip-name-resolve", "--tmpdir=/tmp", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
        "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=2", "--wsrep-on=ON",
        f"--wsrep-provider={PROVIDER}", "--wsrep-cluster-name=pxc", f"--wsrep-cluster-address=gcomm://{','.join(members)}",
        f"--wsrep-node-address={ip}", f"--wsrep-node-name={ip}", "--wsrep-sst-method=rsync",
        f"--wsrep-sst-receive-address={ip}:{SST_PORT}", f"--wsrep-provider-options={provider}",
    ]  # fmt: skip
    return command + (["--wsrep-new-cluster", "--init-file=/run/init.sql"] if first else [])


def files(*, first: bool) -> dict[str, str]:
    """Files of a member."""
    return {"/run/init.sql": _SQL} if first else {}


def folders() -> list[str]:
    """Folders of a member."""
    return [_DATA]


class Status:
    """One question for the status of a member, asked by MariaDB's own client on the pod's loopback, which is in no capture."""

    def __init__(self, namespace: Namespace, port: int, pattern: str):
        client = tool("mariadb")
        assert client
        command = [
            client, "--no-defaults", "--host=127.0.0.1", f"--port={port}", f"--user={MONITOR}", f"--password={PASSWORD}",
            "--batch", "--skip-column-names", "--connect-timeout=5",
            "--execute", f"SHOW GLOBAL STATUS WHERE Variable_name RLIKE '{pattern}'",
        ]  # fmt: skip
        with namespace:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )

    def answer(self) -> dict[str, str] | None:
        """Variable → value, empty when the member does not answer; None while it is asked."""
        if self._process.poll() is None:
            return None
        out, _ = self._process.communicate()
        return dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)
