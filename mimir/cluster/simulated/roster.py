"""Pods of one recording and how long each of them lives: who is there when, new addresses, the entity log of changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import numpy as np

from mimir.cluster.pod_names import pod_name as pod_name
from mimir.cluster.simulated.tables import FOREVER_NS, Ints
from mimir.units import NS_PER_S

NODE = "node-0"


@dataclass(frozen=True)
class Pod:
    """One pod: its service, address (as a number) and the node's interface towards it."""

    name: str
    service: str
    namespace: str
    ip: int
    ifindex: int


@dataclass
class Life:
    """When a pod is created, becomes ready, leaves the endpoints, ends its process, and gives its address back (ns)."""

    pod: Pod
    born_ns: int = -FOREVER_NS
    ready_ns: int = -FOREVER_NS
    leave_ns: int = FOREVER_NS
    gone_ns: int = FOREVER_NS
    free_ns: int = FOREVER_NS


class Roster:
    """All pods that ever were. Numbers are positions in `lives`; those of a service are its rows, in the same order.

    Whoever keeps arrays of pods `follow`s and is called after changes. Addresses are given in turn (as the host-local
    plug-in does), so that an old one comes back only after all others; interface numbers never come back.
    """

    def __init__(self, pods: tuple[Pod, ...], first_ip: int, addresses: int):
        self.lives = [Life(pod) for pod in pods]
        self._first_ip, self._addresses, self._next = first_ip, addresses, len(pods)
        self._ifindex = max((pod.ifindex for pod in pods), default=0)
        self._followers: list[Callable[[], None]] = []

    def follow(self, follower: Callable[[], None]) -> None:
        """Have `follower` called after every change."""
        self._followers.append(follower)

    def publish(self) -> None:
        """Tell the followers."""
        for follower in self._followers:
            follower()

    def of(self, service: str) -> list[int]:
        """Numbers of the pods of one service, first come first."""
        return [number for number, life in enumerate(self.lives) if life.pod.service == service]

    def serving(self, service: str, at_ns: int) -> list[int]:
        """Numbers of the pods of a service that are ready at a time and stay."""
        return [n for n in self.of(service) if self.lives[n].ready_ns <= at_ns and self.lives[n].leave_ns > at_ns]

    def wanted(self, service: str, at_ns: int) -> list[int]:
        """Numbers of the pods of a service that stay, ready or not."""
        return [n for n in self.of(service) if self.lives[n].born_ns <= at_ns and self.lives[n].leave_ns > at_ns]

    def times(self, numbers: list[int], what: str) -> Ints:
        """One of the times of Life for these pods."""
        return np.array([getattr(self.lives[n], what) for n in numbers], dtype=np.int64)

    def add(self, service: str, namespace: str, born_ns: int, ready_ns: int, name: str) -> int:
        """A new pod with an address nobody has, from `born_ns` on; returns its number."""
        self._ifindex += 1
        pod = Pod(name, service, namespace, self._address(born_ns), self._ifindex)
        self.lives.append(Life(pod, born_ns, ready_ns))
        return len(self.lives) - 1

    def end(self, number: int, leave_ns: int, gone_ns: int, remove_ns: int) -> None:
        """A pod leaves; what is decided already stays when it is earlier."""
        life = self.lives[number]
        if gone_ns < life.gone_ns:
            life.leave_ns, life.gone_ns = min(life.leave_ns, leave_ns), gone_ns
            life.free_ns = gone_ns + remove_ns

    def events(self, until_ns: int) -> list[tuple[int, str, Life]]:
        """(time, added or deleted, who) of pods that come or go before a time, in order."""
        found = [(life.born_ns, "added", life) for life in self.lives if -FOREVER_NS < life.born_ns < until_ns]
        found += [(life.free_ns, "deleted", life) for life in self.lives if life.free_ns < until_ns]
        return sorted(found, key=lambda event: (event[0], event[1], event[2].pod.name))

    def _address(self, born_ns: int) -> int:
        taken = {life.pod.ip for life in self.lives if life.free_ns + NS_PER_S > born_ns}
        for _ in range(self._addresses):
            address = self._first_ip + self._next % self._addresses
            self._next += 1
            if address not in taken:
                return address
        raise RuntimeError(f"no address is left for a new pod at {born_ns} ns")


def address_text(pod: Pod) -> str:
    """The address as text."""
    return str(IPv4Address(pod.ip))


def line_of(ts: float, kind: str, name: str, ip: str, event: str = "added", **more: Any) -> dict[str, Any]:
    """One line of entities.jsonl."""
    empty = {"namespace": "", "workload": "", "labels": {}, "selector": {}, "node": "", "ports": {}, "node_ports": {}}
    return {"ts": ts, "event": event, "kind": kind, "name": name, "ip": ip, **empty, **more}


def pod_line(ts: float, pod: Pod, event: str = "added") -> dict[str, Any]:
    """The line of entities.jsonl when a pod comes or goes."""
    return line_of(ts, "pod", pod.name, address_text(pod), event, namespace=pod.namespace, workload=pod.service,
                   labels={"app": pod.service}, node=NODE)  # fmt: skip
