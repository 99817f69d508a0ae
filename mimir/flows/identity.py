"""Who had which address when: entity logs and address tables → names."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimir.errors import MimirError
from mimir.files import read_jsonl
from mimir.flows.addresses import Address, Network, address_text, is_inside, parse_address
from mimir.flows.edges import OUTSIDE
from mimir.flows.listings import read_table
from mimir.units import NS_PER_S

#: an entity log may learn of an address late, and packets of the dead still arrive: how far a name reaches
GRACE_NS = 60 * NS_PER_S
ALWAYS_NS = -(2**62)
#: which kind wins when several hold one address (a pod on the host network has the node's)
PRECEDENCE = {"node": 0, "service": 1, "pod": 2, "external": 3}


@dataclass(frozen=True)
class Name:
    """A node of the graph in both views."""

    pod: str
    service: str


@dataclass
class _Tenure:
    """One entity had one address from `since_ns` (inclusive) to `until_ns` (exclusive)."""

    since_ns: int
    until_ns: int
    kind: str
    name: Name


@dataclass
class Identity:
    """Address → name at a time. `tenures` by address, `networks` for external prefixes, longest first."""

    tenures: dict[Address, list[_Tenure]] = field(default_factory=dict)
    networks: list[tuple[Network, Name]] = field(default_factory=list)
    endpoints: dict[tuple[Address, int], set[str]] = field(default_factory=dict)  #: (address, port or 0) → roles
    workloads: dict[str, str] = field(default_factory=dict)  #: pod → workload

    def owners(self, address: Address) -> list[tuple[int, Name]]:
        """(since ns, name) in time order, the first from the beginning of time; gaps hold the bare address."""
        bare = self._bare(address)
        tenures = self.tenures.get(address)
        if not tenures:
            return [(ALWAYS_NS, bare)]
        cuts = {ALWAYS_NS}
        for t in tenures:
            cuts |= {t.since_ns, max(t.since_ns - GRACE_NS, ALWAYS_NS), t.until_ns, t.until_ns + GRACE_NS}
        out: list[tuple[int, Name]] = []
        for cut in sorted(c for c in cuts if ALWAYS_NS <= c < 2**62):
            name = _owner_at(tenures, cut) or bare
            if not out or out[-1][1] != name:
                out.append((cut, name))
        return out

    def name(self, address: str, when_s: float) -> Name:
        """Name of a textual address at a time (UTC epoch seconds). Raises ValueError for what is no address."""
        owners = self.owners(parse_address(address))
        return owners[max(bisect_right([since for since, _ in owners], round(when_s * NS_PER_S)) - 1, 0)][1]

    def _bare(self, address: Address) -> Name:
        for network, name in self.networks:
            if network.holds(address):
                return name
        text = address_text(address)
        return Name(text, text) if is_inside(address) else Name(OUTSIDE + text, OUTSIDE + text)


def _owner_at(tenures: list[_Tenure], when: int) -> Name | None:
    """Holder at a time; else the one that left within the grace time, else the one that comes within it."""
    held = [t for t in tenures if t.since_ns <= when < t.until_ns]
    if held:
        return min(held, key=lambda t: (PRECEDENCE[t.kind], -t.since_ns, t.name.pod)).name
    left = [t for t in tenures if t.until_ns <= when < t.until_ns + GRACE_NS]
    if left:
        return max(left, key=lambda t: (t.until_ns, t.name.pod)).name
    coming = [t for t in tenures if when < t.since_ns <= when + GRACE_NS]
    return min(coming, key=lambda t: (t.since_ns, PRECEDENCE[t.kind], t.name.pod)).name if coming else None


def entity_events(path: Path) -> list[dict[str, Any]]:
    """Entity events of entities.jsonl or of a table of addresses (see `mimir.flows.listings`).

    Raises ValueError naming file and line for what cannot be understood.
    """
    return read_jsonl(path) if path.suffix in (".jsonl", ".ndjson") else read_table(path)


def load_identity(path: Path | None) -> Identity:
    """Identity from entities.jsonl, a table of addresses, or nothing (`None`: addresses become nodes).

    Raises ValueError naming file and line for what cannot be understood.
    """
    return Identity() if path is None else from_events(entity_events(path), str(path))


def entities_of(path: Path | None) -> Identity:
    """`load_identity` with errors for people. Raises MimirError saying what is wrong."""
    try:
        return load_identity(path)
    except UnicodeDecodeError as error:
        raise MimirError(
            f"the entities cannot be read: {path} is no text; give entities.jsonl or a table of addresses (what "
            "`kubectl get pods,services -A -o wide` prints); a pickle of the research prototype is read by "
            "cluster=recorded cluster.entities=FILE"
        ) from error
    except (ValueError, OSError) as error:
        raise MimirError(f"the entities cannot be read: {error}") from error


def read_workloads(path: Path) -> dict[str, str]:
    """Pod → workload, of all pods that ever were. Raises ValueError as `load_identity`."""
    return load_identity(path).workloads


def from_events(events: Iterable[Mapping[str, Any]], origin: str = "entities") -> Identity:
    """Entity events (fields as in docs/concepts/run-directory.md) → Identity. Unknown kinds are ignored."""
    identity = Identity()
    live: dict[Any, tuple[str, list[_Tenure]]] = {}
    services: list[Mapping[str, Any]] = []
    pods: list[Mapping[str, Any]] = []
    for number, event in enumerate(events, 1):
        try:
            kind, key = event["kind"], (event["kind"], event.get("namespace"), event["name"])
            if kind not in PRECEDENCE:
                continue
            now = ALWAYS_NS if event.get("ts") is None else round(float(event["ts"]) * NS_PER_S)
            gone = event.get("event") == "deleted"
            _enter(identity, live, key, {} if gone else event, now)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{origin}, entry {number}: {type(error).__name__}: {error}") from error
        if not gone:
            (services if kind == "service" else pods if kind == "pod" else []).append(event)
    identity.networks.sort(key=lambda item: (-item[0].bits, item[1].pod))
    _enter_endpoints(identity, services, pods)
    return identity


def _enter(
    identity: Identity, live: dict[Any, tuple[str, list[_Tenure]]], key: Any, event: Mapping[str, Any], now: int
) -> None:
    """End the tenure of an entity whose address changed or that is gone; begin a new one."""
    ip = str(event.get("ip") or "")
    before, tenures = live.get(key, ("", []))
    if before == ip:
        return
    for tenure in tenures:
        tenure.until_ns = now
    live[key] = ("", [])
    if not ip or ip == "None":
        return
    kind, name = key[0], _name(event)
    if kind == "pod":
        identity.workloads[name.pod] = name.service
    if "/" in ip:
        identity.networks.append((Network.parse(ip), name))
        return
    begun = []
    for text in ip.split(","):
        tenure = _Tenure(now, 2**62, kind, name)
        identity.tenures.setdefault(parse_address(text.strip()), []).append(tenure)
        begun.append(tenure)
    live[key] = (ip, begun)


def _name(event: Mapping[str, Any]) -> Name:
    kind, name = event["kind"], str(event["name"])
    if kind == "pod":
        return Name(name, str(event.get("workload") or name))
    if kind == "service":
        return Name(f"service:{name}", name)
    full = f"node:{name}" if kind == "node" else OUTSIDE + name
    return Name(full, full)


def _enter_endpoints(identity: Identity, services: list[Mapping[str, Any]], pods: list[Mapping[str, Any]]) -> None:
    """Which addresses are service or node addresses, and who is known to listen where."""
    known: defaultdict[tuple[Address, int], set[str]] = defaultdict(set)
    for address, tenures in identity.tenures.items():
        for tenure in tenures:
            if tenure.kind in ("service", "node"):
                known[address, 0].add(tenure.kind)
    nodes = [address for (address, _), roles in known.items() if "node" in roles]
    for service in services:
        ports, node_ports = service.get("ports") or {}, service.get("node_ports") or {}
        for address in _addresses(service):
            for port in ports:
                known[address, int(port)].add("listener")
        for node in nodes:
            for port in node_ports:
                known[node, int(port)] |= {"listener", "node_port"}
        targets = {int(t) for t in [*ports.values(), *node_ports.values()] if str(t).isdigit()}
        for address in _backends(service, pods):
            for port in targets:
                known[address, port].add("listener")
    identity.endpoints = dict(known)


def _backends(service: Mapping[str, Any], pods: list[Mapping[str, Any]]) -> list[Address]:
    """Addresses of the pods that a service's selector picks."""
    selector = service.get("selector") or {}
    picked = (
        pod
        for pod in pods
        if selector
        and service.get("namespace") == pod.get("namespace")
        and selector.items() <= (pod.get("labels") or {}).items()
    )
    return [address for pod in picked for address in _addresses(pod)]


def _addresses(event: Mapping[str, Any]) -> list[Address]:
    texts = [t.strip() for t in str(event.get("ip") or "").split(",")]
    return [parse_address(t) for t in texts if t and t != "None" and "/" not in t]
