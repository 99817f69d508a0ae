"""What happened in the sample run: recordings, leaks and the entities of a Sock Shop, as the files tell it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimir.units import DAY_S, HOUR_S

START_S = 1_700_006_400  # midnight UTC
DROP = "outside:drop.example"
#: client, server, port, proto, requests a second at 100 users, bytes of a request, bytes of its response
CALLS: tuple[tuple[str, str, int, str, float, int, int], ...] = (
    ("outside:users", "front-end", 8079, "tcp", 20.0, 700, 9_000),
    ("front-end", "catalogue", 80, "tcp", 12.0, 420, 4_200),
    ("front-end", "carts", 80, "tcp", 5.0, 480, 1_300),
    ("front-end", "orders", 80, "tcp", 1.0, 900, 2_100),
    ("front-end", "user", 80, "tcp", 4.0, 460, 2_600),
    ("front-end", "session-db", 6379, "tcp", 18.0, 180, 260),
    ("catalogue", "catalogue-db", 3306, "tcp", 12.0, 350, 5_100),
    ("carts", "carts-db", 27017, "tcp", 6.0, 400, 900),
    ("orders", "orders-db", 27017, "tcp", 1.2, 800, 700),
    ("orders", "payment", 80, "tcp", 1.0, 700, 400),
    ("orders", "shipping", 80, "tcp", 1.0, 600, 400),
    ("orders", "user", 80, "tcp", 3.0, 430, 1_500),
    ("orders", "carts", 80, "tcp", 1.0, 430, 1_200),
    ("shipping", "rabbitmq", 5672, "tcp", 1.0, 650, 180),
    ("queue-master", "rabbitmq", 5672, "tcp", 0.8, 180, 500),
    ("user", "user-db", 27017, "tcp", 7.0, 380, 1_900),
    ("front-end", "kube-dns", 53, "udp", 0.5, 90, 160),
    ("orders", "kube-dns", 53, "udp", 0.2, 90, 160),
    ("catalogue", "kube-dns", 53, "udp", 0.1, 90, 160),
)
LEAK_PATH = ("user-db", "user", "front-end", DROP)
LEAK_CALL = ("front-end", DROP, 443, "tcp")


@dataclass(frozen=True)
class Sample:
    """What happened in the run. `detected` counts the incidents that raised an alert."""

    seed: int = 7
    incidents: int = 3
    detected: int = 3
    false_alerts: int = 0
    rate_bytes_per_min: float = 100_000.0
    incident_s: int = 1_200
    windows_s: tuple[int, ...] = (60, 10)
    fit_s: int = HOUR_S
    calibrate_s: int = 2 * HOUR_S
    test_s: int = 4 * HOUR_S
    detector: str = "invariants"
    state: str = "done"  #: or "failed"

    @property
    def recordings(self) -> dict[str, tuple[int, int]]:
        """Name → (start, end), each recording a day after the one before."""
        lengths = {"fit": self.fit_s, "calibrate": self.calibrate_s, "test": self.test_s}
        return {name: (START_S + i * DAY_S, START_S + i * DAY_S + s) for i, (name, s) in enumerate(lengths.items())}


def sample_truth(sample: Sample) -> list[dict[str, Any]]:
    start, end = sample.recordings["test"]
    rows = []
    for i in range(sample.incidents):
        begin = start + (2 * i + 1) * (end - start) // (2 * sample.incidents + 1) // 60 * 60 + 7
        times = np.arange(begin, begin + sample.incident_s + 1, 10)
        total = int(sample.rate_bytes_per_min * sample.incident_s / 60)
        sent = np.linspace(0, total, len(times)).astype(int)
        digest = hashlib.sha256(f"{sample.seed}/{i}".encode()).hexdigest()
        rows.append(
            {
                "incident": f"i{i + 1}",
                "recording": "test",
                "start": float(begin),
                "end": float(begin + sample.incident_s),
                "channel": "http_relay",
                "technique": "T1041",
                "path_class": "allowed_chain",
                "path": list(LEAK_PATH),
                "pods": ["user-db-0", "user-0", "front-end-0", ""],
                "bytes_intended": total,
                "bytes_delivered": total,
                "sha256_sent": digest,
                "sha256_received": digest,
                "delivered": [[float(t), int(b)] for t, b in zip(times, sent, strict=True)],
            }
        )
    return rows


def sample_timeline(sample: Sample, truth: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, (start, end) in sample.recordings.items():
        rows += [
            {"ts": start, "event": "recording_started", "recording": name},
            {"ts": end, "event": "recording_ended", "recording": name},
        ]
        rows += [{"ts": t, "event": "users", "recording": name, "users": 100} for t in range(start, end, HOUR_S)]
    for row in truth:
        rows += [
            {"ts": row[edge], "event": event, "recording": "test", "incident": row["incident"]}
            for edge, event in (("start", "incident_started"), ("end", "incident_ended"))
        ]
    return sorted(rows, key=lambda row: (row["ts"], row["event"]))


def _services() -> list[str]:
    return sorted({name for call in CALLS for name in call[:2] if not name.startswith("outside:")})


def sample_entities() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    empty = {
        "ts": START_S,
        "event": "added",
        "namespace": "sock-shop",
        "labels": {},
        "selector": {},
        "node": "",
        "ports": {},
    }
    for i, name in enumerate(_services()):
        rows.append(
            empty
            | {"kind": "service", "name": name, "ip": f"10.96.0.{10 + i}", "workload": name, "selector": {"name": name}}
        )
        rows.append(
            empty
            | {
                "kind": "pod",
                "name": f"{name}-0",
                "ip": f"10.244.0.{10 + i}",
                "workload": name,
                "labels": {"name": name},
                "node": "node-1",
            }
        )
    for name, address in (("users", "198.51.100.0/24"), ("drop.example", "203.0.113.66")):
        rows.append(empty | {"kind": "external", "namespace": "", "name": name, "ip": address, "workload": name})
    return rows
