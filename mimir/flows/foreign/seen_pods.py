"""Pods that flow records name themselves → entity events."""

from __future__ import annotations

from typing import Any

from mimir.flows.listings import POD_SUFFIX


class SeenPods:
    """Remembers who had which address; `events` are as in entities.jsonl, in time order."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], dict[str, str]] = {}  # kind, namespace, name → family → address
        self._events: list[dict[str, Any]] = []

    def see(self, end: dict[str, Any], address: str, now_s: float, node: str) -> None:
        """Learn from one end of a Hubble flow. A pod may have one address of each family; a new one replaces it."""
        labels = [str(label) for label in end.get("labels") or []]
        if end.get("pod_name"):
            self._enter("pod", end, str(end["pod_name"]), labels, address, now_s)
        elif "reserved:host" in labels and node:
            self._enter("node", end, node, labels, address, now_s)

    def events(self) -> list[dict[str, Any]]:
        """Everything learnt."""
        return sorted(self._events, key=lambda event: (event["ts"], event["name"], event["ip"]))

    def _enter(self, kind: str, end: dict[str, Any], name: str, labels: list[str], address: str, now_s: float) -> None:
        namespace = str(end.get("namespace") or "")
        held = self._known.setdefault((kind, namespace, name), {})
        family = "6" if ":" in address else "4"
        if held.get(family) == address or (kind == "node" and family in held):
            return
        held[family] = address
        event: dict[str, Any] = {
            "ts": now_s, "event": "added", "kind": kind, "namespace": namespace or None, "name": name,
            "ip": ",".join(held[f] for f in sorted(held)),
        }  # fmt: skip
        if kind == "pod":
            workloads = end.get("workloads") or [{}]
            event["workload"] = str(workloads[0].get("name") or POD_SUFFIX.sub("", name))
            event["labels"] = dict(label.removeprefix("k8s:").partition("=")[::2] for label in labels)
        self._events.append(event)
