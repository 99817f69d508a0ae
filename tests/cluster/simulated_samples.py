"""Small specs of the simulated cluster, recordings of them, and their packets as one table."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from omegaconf import OmegaConf

from mimir.capture.batch import PacketBatch
from mimir.capture.reader import open_capture
from mimir.cluster.base import Recording, RecordingOrder
from mimir.cluster.simulated import SimulatedCluster
from mimir.spec import Spec
from mimir.spec.build import from_plain

CONF = Path(__file__).resolve().parents[2] / "conf"
START_S = 1_767_225_600
GROUPS = {"app": "sockshop", "cluster": "simulated", "load": "normal", "exfiltration": "none", "capture": "default",
          "detector": "allowlist", "evaluation": "default", "tracking": "none"}  # fmt: skip
#: one short incident that fits into 300 s
SHORT_LEAK = {"incidents": 1, "incident_duration_s": 60}


def option(group: str, name: str) -> dict[str, Any]:
    """One file of conf/, with the options that its defaults list puts inside it."""
    found = copy.deepcopy(_load(CONF / group / f"{name}.yaml"))
    inside = [line for line in found.pop("defaults", []) if "@" in str(line)]
    for line in inside:  # e.g. {"/exfiltration@train": "relay_chain"}
        ((where, inner),) = line.items()
        other, _, key = where.lstrip("/").partition("@")
        found[key] = merged(option(other, inner), found.get(key, {}))
    return found


@cache
def _load(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with nested changes."""
    out = dict(base)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return out


def make_spec(changes: Mapping[str, Any] | None = None, **options: str) -> Spec:
    """The default spec with other options (`exfiltration="direct"`) and nested changes."""
    plain: dict[str, Any] = {group: option(group, options.get(group, name)) for group, name in GROUPS.items()}
    plain |= {"seed": 1, "reuse": "auto", "dry_run": False, "workers": 1, "verbosity": "quiet",
              "paths": {"runs": "runs", "cache": "runs/.cache"}}  # fmt: skip
    plain = merged(plain, changes or {})
    named = {key: plain["app"][key] for key in ("leak_paths", "sensitive")}
    paths = {"app": named, "exfiltration": plain["exfiltration"]}
    resolved = OmegaConf.to_container(OmegaConf.create(paths), resolve=True)
    assert isinstance(resolved, dict)
    return from_plain({**plain, "exfiltration": resolved["exfiltration"]})


def make_recording(spec: Spec, folder: Path, duration_s: int = 300, entropy: tuple[int, ...] = (1, 2)) -> Recording:
    """Render a recording that may leak."""
    folder.mkdir(parents=True, exist_ok=True)
    order = RecordingOrder("test", START_S, duration_s, entropy, True, folder)
    with SimulatedCluster(spec) as running:
        return running.record(order, lambda seconds, packets: None)


def read_packets(recording: Recording) -> dict[str, NDArray[Any]]:
    """All packets as columns; addresses as 32-bit numbers, `name` the first DNS name's wire form or b""."""
    batches = list(open_capture(list(recording.captures)))
    columns = {
        key: np.concatenate([np.asarray(getattr(b, key)) for b in batches])
        for key in ("ts_ns", "proto", "sport", "dport", "ip_bytes", "payload_bytes", "tcp_flags", "tcp_seq", "tcp_ack",
                    "ip_id", "ifindex", "direction")
    }  # fmt: skip
    for key in ("src", "dst"):
        columns[key] = np.concatenate([np.asarray(getattr(b, key))[:, 1] & np.uint64(0xFFFFFFFF) for b in batches])
    columns["message"] = np.array([m for b in batches for m in _messages(b)], dtype=object)
    return columns


def chosen(packets: Mapping[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Some rows of a table of packets."""
    return {key: column[rows] for key, column in packets.items()}


def _messages(batch: PacketBatch) -> list[bytes]:
    spans = zip(batch.dns_offset.tolist(), batch.dns_bytes.tolist(), strict=True)
    return [batch.data[at : at + size].tobytes() if at >= 0 else b"" for at, size in spans]


def toy_app() -> dict[str, Any]:
    """A shop of three services and a payment provider outside, as the YAML would say it."""

    def size(count: float, sigma: float = 0.0, carries: float = 0.0, times: Any = (1, 1)) -> dict[str, Any]:
        return {
            "bytes": [count, sigma],
            "times": list(times) if isinstance(times, tuple) else times,
            "carries": carries,
        }

    def endpoint(response: dict[str, Any], *calls: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        usual = {
            "action": "GET",
            "request": [100, 0],
            "time_ms": [1, 0],
            "inserts": None,
            "pushed": False,
            "triggers": [],
        }
        return {**usual, "response": response, "calls": list(calls), **more}

    def call(to: str, probability: float = 1.0, count: tuple[int, int] = (1, 1)) -> dict[str, Any]:
        return {"to": to, "probability": probability, "count": list(count)}

    def service(kind: str, port: int, endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
        usual = {"protocol": "http", "replicas": 1, "target_port": port, "node_port": None, "host": None,
                 "address": None, "probe": None, "dns_cache_s": 0}  # fmt: skip
        return {**usual, "kind": kind, "port": port, "endpoints": endpoints, **more}

    def edge(
        client: str, server: str, connection: str = "per_request", keep: int = 0, idle_s: float = 0
    ) -> dict[str, Any]:
        return {"client": client, "server": server, "connection": connection, "keep": keep, "idle_s": idle_s}

    stages = [[call("store:read", count=(2, 2)), call("store:list")], [call("payments:charge")]]
    return {
        "name": "toy",
        "description": "three services",
        "namespace": "toy",
        "sensitive": ["store"],
        "leak_paths": {"direct": ["store", "outside"]},
        "collections": {"things": 10},
        "services": {
            "web": service("app", 80, {"page": endpoint(size(500)), "buy": endpoint(size(200, carries=0.5), *stages)},
                           node_port=30080, target_port=8080, replicas=2),
            "store": service("store", 5432, {"read": endpoint(size(1000)), "list": endpoint(size(50, times="things")),
                                             "add": endpoint(size(10), inserts="things")}),
            "payments": service("external", 443, {"charge": endpoint(size(300))}, host="pay.example.com",
                                address="192.0.2.200"),
        },
        "edges": [edge("outside", "web", "session", 1, 30), edge("web", "store", "kept", 2), edge("web", "payments")],
        "background": [],
        "replication": [],
        "scrapes": [],
        "lookups": [],
        "autoscaling": {},
        "triggers": {},
        "users": {
            "entry": "web",
            "pause_s": [1, 2],
            "session": {},
            "mix": {"shop": 1}, "mixes": {},
            "behaviours": {"shop": [
                {"wait_s": [0, 0], "request": "page", "probability": 1},
                {"repeat": [1, 3], "steps": [{"wait_s": [1, 2], "request": "buy", "probability": 1}]},
            ]},
        },
    }  # fmt: skip
