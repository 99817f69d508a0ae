"""How agents of a leak share a port with a real server: connections from a range of source ports reach the agent instead.

On the wire such a connection is to the service's port, like any other (port reuse behind a filter that knows the caller: ATT&CK
T1205, traffic signalling); the rule is nftables in the pod's own namespace.
"""

from __future__ import annotations

import errno
import socket

from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.network import nft

AGENT_PORT = 4999  #: where agents listen in pods whose ports belong to real servers
FIRST, LAST = 61000, 61999  #: source ports of agents; Linux gives 32768 … 60999 to everybody else


def open_door(namespace: Namespace, port: int) -> None:
    """Let agents be reached on a port of a pod. MimirError when nftables refuses."""
    rule = f"tcp sport {FIRST}-{LAST} tcp dport {port} redirect to :{AGENT_PORT}"
    rules = f"table ip door {{\n chain in {{\n  type nat hook prerouting priority dstnat; policy accept;\n  {rule}\n }}\n}}\n"
    with namespace:
        nft(rules)


def bind_as_agent(made: socket.socket, source: str) -> None:
    """Bind to a source port that doors know. OSError when all are taken."""
    first = FIRST + hash(made.fileno()) % (LAST - FIRST)
    for offset in range(LAST - FIRST + 1):
        try:
            made.bind((source, FIRST + (first - FIRST + offset) % (LAST - FIRST + 1)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, "all source ports of agents are in use")
