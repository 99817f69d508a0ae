"""Tables that the compiled loops of the simulated cluster share: packets, connections, calls, channels."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.void]
Record: TypeAlias = Any  # one element of a structured array, by reference

#: a packet as it was seen on one interface
PACKET = np.dtype(
    [
        ("ts", "i8"), ("src", "u4"), ("dst", "u4"), ("seq", "u4"), ("ack", "u4"), ("ifindex", "i4"), ("message", "i4"),
        ("sport", "u2"), ("dport", "u2"), ("ip_bytes", "u2"), ("payload", "u2"), ("ip_id", "u2"),
        ("flags", "u1"), ("direction", "u1"), ("proto", "u1"), ("_", "u1", (3,)),
    ]
)  # fmt: skip

#: a TCP connection, seen at two places: `a` beside the client, `b` beside the server (interface -1: not seen there).
#: Times are ns; `hop` is the way from one place to the other, `*_turn` how fast an end answers what passes its place.
CONNECTION = np.dtype(
    [
        ("a_src", "u4"), ("a_dst", "u4"), ("b_src", "u4"), ("b_dst", "u4"), ("a_if", "i4"), ("b_if", "i4"),
        ("a_sport", "u2"), ("a_dport", "u2"), ("b_sport", "u2"), ("b_dport", "u2"),
        ("client_seq", "u4"), ("server_seq", "u4"), ("client_id", "u2"), ("server_id", "u2"),
        ("client_loss", "u1"), ("server_loss", "u1"), ("live", "u1"), ("_", "u1"),
        ("hop", "i8"), ("client_turn", "i8"), ("server_turn", "i8"), ("client_last", "i8"), ("server_last", "i8"),
        ("free", "i8"), ("pending", "i8"), ("exchanges", "i8"), ("server", "i8"), ("owner", "i8"),
    ]
)  # fmt: skip

#: a time that never comes
FOREVER_NS = 1 << 62

#: where a lost segment is lost: nowhere, between the two places, beyond both
NO_LOSS, LOST_BETWEEN, LOST_BEYOND = 0, 1, 2

#: columns of a call table (int64): when the client begins, the server's time, payload bytes each way, …
START, DURATION, REQUEST, RESPONSE, ENDPOINT, EDGE, PARENT, CLIENT, PIN, LAST = range(10)
#: … what playing it found out: extra delay, when the request was whole, the reply left, the reply was whole; who served
DELAY, ASKED, REPLIED, DONE, SERVER = range(10, 15)
#: … and, while trees are expanded: the call's line in the model, its children
SPEC, FIRST_CHILD, CHILDREN = range(15, 18)
#: … 1 where the reply comes first
PUSHED = 18
CALL_COLUMNS = 19

POLICY = {"per_request": 0, "kept": 1, "shared": 2, "session": 2, "caller": 3}
PER_REQUEST, KEPT, SHARED, CALLER = 0, 1, 2, 3


class Transport(NamedTuple):
    """TCP as in conf/cluster/simulated.yaml, in ns and natural logarithms."""

    segment_bytes: int
    offload_bytes: int
    initial_window: int
    max_window: int
    loss: float
    retransmit_ns: int
    delayed_ack_ns: int
    quick_acks: int
    copy_low_ns: float
    copy_high_ns: float
    turn_log_ns: float
    turn_sigma: float


class Channel(NamedTuple):
    """One kind of connections: from client rows to server rows, and how they live.

    Client arrays have a row per client (pods of a service, user slots, the node), server arrays one per pod or address.
    An address of 0 in `service` means that clients talk to the server's own address.
    """

    policy: int
    keep: int
    idle_ns: int
    overhead_ns: int  # usual time from beginning a call to the request being whole
    client_ip: Ints
    client_if: Ints  # -1: not seen beside the client
    client_turn: Ints  # ns; 0: as the transport says
    server_ip: Ints
    server_if: Ints
    server_turn: Ints
    service_ip: int
    service_port: int
    target_port: int
    masquerade_ip: int  # ≠ 0: beside the server the packets carry this source address
    client_loss: int
    server_loss: int
    client_closes: int
    name: int  # DNS name clients look up before they connect, or -1
    name_cache_ns: int
    name_wait_ns: int
    client_from: Ints  # ns, a time a client row and a server row: pods that come and go (see roster.Life)
    client_gone: Ints
    server_ready: Ints
    server_leave: Ints
    server_gone: Ints
    moves: int  # 1: where the pod that should call or be called is gone, another one of its service does it


def new_calls(count: int) -> Ints:
    """An empty call table: no parent, no pinned server."""
    calls = np.zeros((count, CALL_COLUMNS), dtype=np.int64)
    calls[:, [ENDPOINT, EDGE, PARENT, CLIENT, PIN]] = -1
    return calls
