"""Edges of the application, probes, heartbeats and leaks as channels: whose connections, between which addresses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np

from mimir.cluster.simulated.layout import API_PORT, KUBE_DNS, NODE_IF, Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.tables import (
    CONNECTION,
    FOREVER_NS,
    KEPT,
    LOST_BETWEEN,
    LOST_BEYOND,
    NO_LOSS,
    PER_REQUEST,
    POLICY,
    SHARED,
    Channel,
    Ints,
    Rows,
    Transport,
)  # fmt: skip
from mimir.spec.app import OUTSIDE, EdgeSpec
from mimir.spec.change import TransferSpec
from mimir.spec.cluster import TransportSpec

_SETUP_NS = 110_000  # handshake and request on veth pairs, as the delays in conf/cluster/simulated.yaml make it
_REUSE_NS = 15_000  # a request on an open connection
_SERVICE_WAIT_NS, _HOST_WAIT_NS = 1_300_000, 70_000_000  # for an answer about a service, and about a name outside


@dataclass
class Line:
    """A channel and the state of its connections."""

    channel: Channel
    service: str  # name of the server
    servers: bool  # whether its pods are the server rows
    grows: str  # service whose pods are the client rows, those that come later included, or ""
    pods: tuple[int, ...]  # numbers of the client pods in the roster; empty for users and the node
    pools: Rows
    ports: Ints
    known: Ints


def transport_of(spec: TransportSpec) -> Transport:
    """TCP parameters for the loops."""
    return Transport(
        segment_bytes=spec.segment_bytes,
        offload_bytes=spec.offload_bytes,
        initial_window=spec.initial_window_segments,
        max_window=spec.max_window_segments,
        loss=spec.retransmit_probability,
        retransmit_ns=int(spec.retransmit_timeout_ms * 1e6),
        delayed_ack_ns=int(spec.delayed_ack_ms * 1e6),
        quick_acks=spec.quick_acks,
        copy_low_ns=spec.copy_delay_us[0] * 1e3,
        copy_high_ns=spec.copy_delay_us[1] * 1e3,
        turn_log_ns=math.log(spec.turnaround_us[0] * 1e3),
        turn_sigma=spec.turnaround_us[1],
    )


class Channels:
    """Builds lines for a layout. `random` draws round-trip times and first source ports, in the order of the calls."""

    def __init__(self, layout: Layout, names: Names, random: np.random.Generator, *, moves: bool = False):
        """`moves`: calls of pods that are gone are made by others, as a leak goes on from another pod."""
        self._layout, self._names, self._random, self._moves = layout, names, random, moves
        self._roster = layout.roster
        self._lines: list[Line] = []
        self._roster.follow(self._refresh_all)

    def edge(self, edge: EdgeSpec, slots: int) -> Line:
        """An edge of the application; `slots` is the most users there can be (for the edge from outside)."""
        policy, keep, idle_ns = POLICY[edge.connection], edge.keep, int(edge.idle_s * 1e9)
        if edge.client == OUTSIDE:
            return self.from_outside(
                edge.server, [self._layout.client_ip(i) for i in range(slots)], policy, keep, idle_ns
            )
        closes = 0 if policy == PER_REQUEST else 1
        return self.between(edge.client, edge.server, policy, keep, idle_ns, client_closes=closes)

    def between(
        self,
        client: str,
        server: str,
        policy: int,
        keep: int,
        idle_ns: int = 0,
        *,
        client_closes: int = 1,
        lookup: bool = True,
    ) -> Line:
        """Pods of one service → another service (through its service address) or an external one (through the node)."""
        app = self._layout.app
        spec = app.services[server]
        lookup = lookup and client in app.services
        cache_ns = int(app.services[client].dns_cache_s * 1e9) if lookup else 0
        name = self._names.number(self._layout.host(server), app.namespace) if lookup else -1
        external, address = spec.kind == "external", self._layout.service_ip[server]
        wait_ns = _HOST_WAIT_NS if external else _SERVICE_WAIT_NS
        set_up = _SETUP_NS + (wait_ns if cache_ns == 0 and name >= 0 else 0)
        return self._line(
            server, client,
            policy=policy, keep=keep, idle_ns=idle_ns, client_closes=client_closes,
            overhead_ns=set_up if policy == PER_REQUEST else _REUSE_NS,
            **(self._beyond(address) if external else self._pods(server, address)),
            service_port=spec.port, target_port=spec.port if external else spec.target_port,
            name=name, name_cache_ns=cache_ns, name_wait_ns=wait_ns,
        )  # fmt: skip

    def from_outside(self, server: str, addresses: Sequence[int], policy: int, keep: int, idle_ns: int) -> Line:
        """Clients beyond the cluster → the node port of a service; their address is kept."""
        spec, count = self._layout.app.services[server], len(addresses)
        rtt_ms = self._layout.cluster.transport.client_rtt_ms
        return self._line(
            server, "",
            policy=policy, keep=keep, idle_ns=idle_ns, client_closes=0, overhead_ns=0,
            client_ip=np.array(addresses), client_if=np.full(count, NODE_IF),
            client_turn=self._lognormal_ms(rtt_ms, count),
            **self._pods(server, self._layout.number("node")), service_port=spec.node_port or spec.port,
            target_port=spec.target_port, client_loss=NO_LOSS, server_loss=LOST_BEYOND,
        )  # fmt: skip

    def to_address(self, client: str, address: int, port: int, host: str = "") -> Line:
        """Pods of a service → an address beyond the cluster, on one lasting connection each; a `host` is looked up."""
        name = self._names.number(host, self._layout.app.namespace) if host else -1
        return self._line(
            OUTSIDE, client, policy=SHARED, keep=1, **self._beyond(address),
            service_port=port, target_port=port, name=name, name_wait_ns=_HOST_WAIT_NS,
        )  # fmt: skip

    def to_pods(self, client: str, server: str, policy: int) -> Line:
        """Pods of one service → pods of another by their own addresses, without a look-up; calls are pinned."""
        port = self._layout.app.services[server].target_port
        return self._line(
            server, client, policy=policy, keep=1, **self._pods(server, 0), service_port=port, target_port=port,
        )  # fmt: skip

    def transfer(self, spec: TransferSpec) -> Line:
        """Whose connections a transfer takes; pin calls to a server row.

        Pods ask a service by its address where they use its port, and speak to pods by their own addresses elsewhere.
        """
        policy = POLICY[spec.connection]
        keep = 0 if policy == PER_REQUEST else 1
        address = int(IPv4Address(spec.address)) if spec.address else 0
        if spec.client == OUTSIDE:
            return self.from_outside(spec.server, [address], policy, keep, 0)
        services = self._layout.app.services
        if spec.server not in (OUTSIDE, spec.client) and spec.port == services[spec.server].port:
            return self.between(spec.client, spec.server, policy, keep)
        if spec.server != OUTSIDE:
            return self._line(spec.server, spec.client, policy=policy, keep=keep, **self._pods(spec.server, 0),
                              service_port=spec.port, target_port=spec.port)  # fmt: skip
        if spec.client in services:
            name = self._names.number(spec.host, self._layout.app.namespace) if spec.host else -1
            clients: dict[str, object] = {"name": name, "name_wait_ns": _HOST_WAIT_NS}
        else:
            node = np.array([self._layout.number("node")])
            clients = {"client_ip": node, "client_if": np.array([-1]), "client_turn": np.zeros(1, dtype=np.int64)}
        inside = spec.client if spec.client in services else ""
        return self._line(OUTSIDE, inside, policy=policy, keep=keep, **clients, **self._beyond(address),
                          service_port=spec.port, target_port=spec.port)  # fmt: skip

    def probes(self, service: str, port: int) -> Line:
        """Kubelet → the pods of a service: seen beside the pods only."""
        node = {"client_ip": np.array([self._layout.number("node")]), "client_if": np.array([-1])}
        return self._line(
            service, "", policy=PER_REQUEST, client_closes=0, **node, client_turn=np.zeros(1, dtype=np.int64),
            **self._pods(service, 0), service_port=port, target_port=port, client_loss=NO_LOSS, server_loss=NO_LOSS,
        )  # fmt: skip

    def watch(self) -> Line:
        """kube-dns → the API server on the node: seen beside the pods only, under the service address."""
        return self._line(
            "kubernetes", KUBE_DNS, policy=SHARED, keep=1,
            server_ip=np.array([self._layout.number("node")]), server_if=np.array([-1]),
            server_turn=np.zeros(1, dtype=np.int64),
            service_ip=self._layout.number("api_service"), service_port=API_PORT, target_port=API_PORT,
            client_loss=NO_LOSS, server_loss=NO_LOSS,
        )  # fmt: skip

    def pairs(self, client: str, server: str, pairs: Sequence[tuple[int, int]], port: int) -> Line:
        """Pods of one service → pods of another by their own addresses; a client row for each (client, server) pair.

        Calls must be pinned to the server of their row's pair.
        """
        clients = self._roster.of(client)
        return self._line(
            server, [clients[i] for i, _ in pairs], policy=SHARED, keep=1, **self._pods(server, 0),
            service_port=port, target_port=port,
        )  # fmt: skip

    def add_pairs(self, line: Line, client: str, pairs: Sequence[tuple[int, int]]) -> None:
        """More client rows of a line made by `pairs`."""
        clients = self._roster.of(client)
        line.pods = (*line.pods, *(clients[i] for i, _ in pairs))
        self._refresh(line)

    def _pods(self, server: str, service_ip: int) -> dict[str, object]:
        return {"servers": True, "service_ip": service_ip, **self._server_rows(server)}

    def _server_rows(self, server: str) -> dict[str, Ints]:
        numbers = self._roster.of(server)
        pods = [self._roster.lives[n].pod for n in numbers]
        return {
            "server_ip": np.array([p.ip for p in pods]),
            "server_if": np.array([p.ifindex for p in pods]),
            "server_turn": np.zeros(len(pods), dtype=np.int64),
            "server_ready": self._roster.times(numbers, "ready_ns"),
            "server_leave": self._roster.times(numbers, "leave_ns"),
            "server_gone": self._roster.times(numbers, "gone_ns"),
        }

    def _client_rows(self, numbers: Sequence[int]) -> dict[str, Ints]:
        pods = [self._roster.lives[n].pod for n in numbers]
        return {
            "client_ip": np.array([p.ip for p in pods]),
            "client_if": np.array([p.ifindex for p in pods]),
            "client_turn": np.zeros(len(pods), dtype=np.int64),
            "client_from": self._roster.times(list(numbers), "ready_ns"),
            "client_gone": self._roster.times(list(numbers), "gone_ns"),
        }

    def _beyond(self, address: int) -> dict[str, object]:
        rtt_ms = self._layout.cluster.transport.outside_rtt_ms
        return {
            "server_ip": np.array([address]),
            "server_if": np.array([NODE_IF]),
            "server_turn": self._lognormal_ms(rtt_ms, 1),
            "masquerade_ip": self._layout.number("node"),
            "client_loss": LOST_BEYOND,
            "server_loss": NO_LOSS,
        }

    def _lognormal_ms(self, pair: tuple[float, float], count: int) -> Ints:
        drawn: Ints = (self._random.lognormal(math.log(pair[0] * 1e6), pair[1], count)).astype(np.int64)
        return drawn

    def _line(self, service: str, clients: str | Sequence[int], **columns: object) -> Line:
        """`clients`: the service whose pods are the client rows ("": columns say), or numbers of pods."""
        servers = bool(columns.pop("servers", False))
        numbers = self._roster.of(clients) if isinstance(clients, str) else list(clients)
        usual: dict[str, object] = {
            "policy": KEPT, "keep": 0, "idle_ns": 0, "overhead_ns": _REUSE_NS, "service_ip": 0, "masquerade_ip": 0,
            "client_loss": LOST_BETWEEN, "server_loss": LOST_BETWEEN, "moves": int(self._moves),
            "client_closes": 1, "name": -1, "name_cache_ns": 0, "name_wait_ns": 0, **self._client_rows(numbers),
        }  # fmt: skip
        columns = {**usual, **columns}
        always = {"client_from": -FOREVER_NS, "client_gone": FOREVER_NS, "server_ready": -FOREVER_NS,
                  "server_leave": FOREVER_NS, "server_gone": FOREVER_NS}  # fmt: skip
        for key, value in always.items():
            count = len(columns["client_ip" if key.startswith("client") else "server_ip"])  # type: ignore[arg-type]
            if len(columns.get(key, ())) != count:  # type: ignore[arg-type]
                columns[key] = np.full(count, value)
        channel = Channel(**columns)  # type: ignore[arg-type]
        line = Line(channel, service, servers, clients if isinstance(clients, str) else "", tuple(numbers),
                    *self._state(len(channel.client_ip), channel.keep))  # fmt: skip
        self._lines.append(line)
        return line

    def _state(self, count: int, keep: int) -> tuple[Rows, Ints, Ints]:
        pools = np.zeros((count, max(1, keep)), dtype=CONNECTION)
        return pools, self._random.integers(0, 28_000, count), np.zeros(count, dtype=np.int64)

    def _refresh_all(self) -> None:
        for line in self._lines:
            self._refresh(line)

    def _refresh(self, line: Line) -> None:
        """Pods have come or go: times of all rows, new rows behind the old ones."""
        if line.grows:
            line.pods = tuple(self._roster.of(line.grows))
        rows = {**(self._client_rows(line.pods) if line.pods else {}),
                **(self._server_rows(line.service) if line.servers else {})}  # fmt: skip
        line.channel = line.channel._replace(**rows)  # type: ignore[arg-type]
        more = len(line.channel.client_ip) - len(line.pools)
        if more:
            state = self._state(more, line.channel.keep)
            line.pools, line.ports, line.known = (
                np.concatenate([old, new]) for old, new in zip((line.pools, line.ports, line.known), state, strict=True)
            )
