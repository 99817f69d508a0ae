"""Who is who behind the names of edges: labels, namespaces and addresses from the entity log of a run (for exports)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: labels that tell one pod or one version of a workload from the next, and so do not select the workload
FLEETING = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
        "controller-uid",
        "job-name",
    }
)


@dataclass(frozen=True)
class Workload:
    """Pods of one service: their namespace and the labels that all of them carry."""

    namespace: str
    labels: Mapping[str, str]


@dataclass
class Inventory:
    """`workloads` by service; `addresses` of nodes and outside names (addresses or networks in CIDR notation)."""

    workloads: dict[str, Workload] = field(default_factory=dict)
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)  #: node or outside name, without its prefix

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> Inventory:
        """From the lines of entities.jsonl."""
        labels: dict[str, list[Mapping[str, str]]] = {}
        found = cls()
        namespaces: dict[str, str] = {}
        for event in events:
            if event.get("event") == "deleted":
                continue
            name, kind = str(event["name"]), event["kind"]
            if kind == "pod":
                service = str(event.get("workload") or name)
                labels.setdefault(service, []).append(event.get("labels") or {})
                namespaces[service] = str(event.get("namespace") or "default")
            elif kind in ("node", "external") and event.get("ip"):
                texts = [text.strip() for text in str(event["ip"]).split(",")]
                found.addresses[name] = tuple(dict.fromkeys([*found.addresses.get(name, ()), *texts]))
        for service, seen in labels.items():
            shared = set(seen[0].items()).intersection(*(set(s.items()) for s in seen[1:]))
            stable = dict(sorted((k, v) for k, v in shared if k not in FLEETING))
            found.workloads[service] = Workload(namespaces[service], stable)
        return found

    def networks(self, name: str) -> tuple[str, ...]:
        """CIDR blocks of a node or an outside name, () when its addresses are unknown."""
        return tuple(a if "/" in a else f"{a}/{128 if ':' in a else 32}" for a in self.addresses.get(name, ()))
