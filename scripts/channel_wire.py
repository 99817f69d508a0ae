#!/usr/bin/env python3
"""Play every scenario of conf/exfiltration alone, have tshark judge its packets, write docs/results/channels-on-the-wire.md.

`python scripts/channel_wire.py` (needs tshark). The figures also go to channels-on-the-wire.json, from which
docs/reference/channels.md takes the overheads.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from mimir.apps.graph import allowed_edges  # noqa: E402
from mimir.capture.writer import PcapWriter  # noqa: E402
from mimir.cluster.base import RecordingOrder  # noqa: E402
from mimir.cluster.simulated import frames  # noqa: E402
from mimir.cluster.simulated.layout import NODE_IF, Layout  # noqa: E402
from mimir.cluster.simulated.leak import Leak  # noqa: E402
from mimir.cluster.simulated.tables import Rows  # noqa: E402
from mimir.exfiltration.ledger import LedgerEntry  # noqa: E402
from mimir.exfiltration.plan import Incident, World, plan_incidents  # noqa: E402
from mimir.spec import Spec  # noqa: E402
from mimir.units import NS_PER_S  # noqa: E402
from scripts.channel_recovery import recovered  # noqa: E402

PAGE = ROOT / "docs" / "results" / "channels-on-the-wire.md"
FIGURES = PAGE.with_suffix(".json")
START_S, DURATION_S, ENTROPY = 1_767_225_600, 300, (1, 2)
#: what tshark calls the payload of a channel
PROTOCOLS = {
    "raw_tcp": "tcp", "http_relay": "http", "http_post": "http", "https": "tls", "cloud_storage": "tls", "smtp": "smtp",
    "drip": "websocket", "slow_headers": "http", "response_stuffing": "http", "dns_tunnel": "dns", "icmp": "icmp",
}  # fmt: skip
#: tshark's notes about TCP that a flawless connection does not get
ANALYSIS = ("retransmission", "fast_retransmission", "spurious_retransmission", "lost_segment", "ack_lost_segment",
            "duplicate_ack", "out_of_order", "zero_window", "window_full")  # fmt: skip


@dataclass(frozen=True)
class Wire:
    """One incident as it crossed: the packets of each interface in a file of its own, the ledger, the plan."""

    spec: Spec
    layout: Layout
    rows: Rows
    captures: dict[int, Path]  #: interface → capture
    truth: LedgerEntry
    incident: Incident

    @property
    def repeats(self) -> int:
        """Segments sent again on purpose, counted on each interface that saw them twice."""
        carrying = self.rows[(self.rows["payload"] > 0) & (self.rows["proto"] == 6)]
        keys = carrying[["src", "dst", "sport", "dport", "seq", "ifindex"]]
        return len(keys) - len(np.unique(keys))


def main() -> None:
    """All scenarios, the page and the figures."""
    options = sorted(
        path.stem for path in (ROOT / "conf" / "exfiltration").glob("*.yaml") if not path.stem.startswith("tool_")
    )
    found = {}
    for option in options:
        if option in ("none", "synthetic"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found[option] = figures(play(option, Path(folder)))
        print(option, found[option])
    FIGURES.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")
    print(PAGE)


def play(option: str, folder: Path, *overrides: str, loss: float = 0.0) -> Wire:
    """One incident of 60 s in Sock Shop, with payload, without any other traffic."""
    spec = _spec(f"exfiltration={option}", f"cluster.transport.retransmit_probability={loss}", *overrides)
    assert spec.cluster.name == "simulated"
    layout, messages = Layout(spec.app, spec.cluster), list[bytes]()
    order = RecordingOrder("test", START_S, DURATION_S, ENTROPY, True, folder)
    leak = Leak(spec, layout, order, messages, np.random.SeedSequence(1))
    slices = [(START_S + 60 * (k + 1)) * NS_PER_S for k in range(DURATION_S // 60)]
    rows = frames.in_order(np.concatenate([piece for at in slices for piece in leak.slice(at)]), START_S * NS_PER_S)
    captures = {}
    for interface in np.unique(rows["ifindex"]).tolist():
        captures[interface] = folder / f"{option}-{interface}.pcap"
        with PcapWriter(captures[interface], 65_535, "all") as writer:
            for batch in frames.batches(rows[rows["ifindex"] == interface], messages):
                writer.write(batch)
    (truth,) = leak.ledger()
    world = World(allowed_edges(spec.app))
    (incident,) = plan_incidents(spec.exfiltration, START_S, DURATION_S, ENTROPY, world)
    return Wire(spec, layout, rows, captures, truth, incident)


def figures(wire: Wire) -> dict[str, Any]:
    """What tshark says of all interfaces together, and what the incident costs at the node."""
    protocols, notes, bad = Counter[str](), Counter[str](), 0
    for capture in wire.captures.values():
        for stack, analysis, malformed in _fields(
            wire, capture, "frame.protocols", "_ws.expert.message", "_ws.malformed"
        ):
            protocols.update({*stack.split(":")})
            notes.update(_remarks(analysis))
            bad += bool(malformed)
    outside = wire.rows[_of_outside(wire)]
    data = recovered(wire.spec, wire.incident, _streams(wire))
    stolen = wire.truth.bytes_delivered
    return {
        "channel": wire.spec.exfiltration.channel,
        "packets": len(wire.rows),
        "recognised": PROTOCOLS[wire.spec.exfiltration.channel] in protocols,
        "protocol": PROTOCOLS[wire.spec.exfiltration.channel],
        "malformed": bad,
        "notes": dict(sorted(notes.items())),
        "analysis": _analysis(wire),
        "bytes_in_truth": stolen,
        "bytes_recovered": data.bytes,
        "digest_agrees": data.sha256 == wire.truth.sha256_received if data.sha256 else None,
        "ip_bytes_outside": int(outside["ip_bytes"].sum(dtype=np.int64)),
        "overhead": round(float(outside["ip_bytes"].sum(dtype=np.int64)) / stolen, 3),
        "bytes_per_message": wire.spec.exfiltration.bytes_per_message,
    }


def _analysis(wire: Wire) -> int:
    """Packets with a note about TCP that a flawless connection does not get."""
    chosen = " || ".join(f"tcp.analysis.{name}" for name in ANALYSIS)
    chosen += " || tcp.checksum.status == 0 || ip.checksum.status == 0 || icmp.checksum.status == 0"
    return sum(len(_fields(wire, capture, "frame.number", only=chosen)) for capture in wire.captures.values())


def _remarks(text: str) -> list[str]:
    """Expert messages that are no mere description of the exchange."""
    usual = ("Connection ", "GET ", "POST ", "PUT ", "HTTP/1.1 ", "This frame ", "ACK", "Response")
    return [message for message in text.split(",") if message and not message.startswith(usual)]


def _of_outside(wire: Wire) -> np.ndarray[Any, Any]:
    """Rows at the node's own interface: what crosses to the outside."""
    return np.asarray(wire.rows["ifindex"] == NODE_IF)


def _streams(wire: Wire) -> list[tuple[str, ...]]:
    """Packets at the node: stream, source port, sequence number, payload, DNS name, response flag, ICMP type and data."""
    names = ("tcp.stream", "tcp.srcport", "tcp.seq_raw", "tcp.payload", "dns.qry.name", "dns.flags.response", "icmp.type",
             "data.data")  # fmt: skip
    return _fields(wire, wire.captures[NODE_IF], *names)


def _fields(wire: Wire, capture: Path, *names: str, only: str = "") -> list[tuple[str, ...]]:
    """Fields of a capture by tshark; relays speak HTTP on ports of other protocols, which it must be told."""
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "occurrence=a", "-E", "separator=/t"]
    for preference in ("tcp.check_checksum", "ip.check_checksum"):
        command += ["-o", f"{preference}:TRUE"]
    if PROTOCOLS[wire.spec.exfiltration.channel] == "http" or wire.spec.exfiltration.channel == "cloud_storage":
        for port in sorted({*_relay_ports(wire)}):
            command += ["-d", f"tcp.port=={port},http"]
    command += [word for name in names for word in ("-e", name)] + (["-Y", only] if only else [])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    width = len(names)
    return [tuple((*line.split("\t"), *([""] * width))[:width]) for line in done.stdout.splitlines()]


def _relay_ports(wire: Wire) -> list[int]:
    services = wire.spec.app.services
    ports = [p for name in wire.truth.path if name in services
             for p in (services[name].port, services[name].target_port, services[name].node_port)]  # fmt: skip
    return [p for p in ports if p]


def page(found: dict[str, dict[str, Any]]) -> str:
    """The table."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    version = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True).stdout.split(" (Git")[
        0
    ]
    rows = []
    for option, f in found.items():
        digest = {True: "same", False: "DIFFERENT", None: "–"}[f["digest_agrees"]]
        notes = "; ".join(f"{count} × {text}" for text, count in f["notes"].items()) or "none"
        seen = f["protocol"] if f["recognised"] else f"NOT {f['protocol']}"
        rows.append(f"| `{option}` | {f['packets']:,} | {seen} | {f['malformed']} | {f['analysis']} | {notes} | "
                    f"{f['bytes_in_truth']:,} | {f['bytes_recovered']:,} | {digest} | {f['overhead']:.3f} |")  # fmt: skip
    table = "\n".join(rows)
    return f"""# Channels on the wire, as tshark sees them

Made by `python scripts/channel_wire.py` after commit {commit.stdout.strip()}, {version}. Every scenario of `conf/exfiltration` is played once in Sock Shop, one
incident of 60 s at the rate of its file, without other traffic and without loss, into captures that hold the whole payload (one for each interface, since
the same packet on two interfaces would look like a repetition). tshark dissects them with checksums on.

| scenario | packets | protocol | malformed | TCP notes, bad checksums | other notes | bytes in the ledger | bytes in the packets | SHA-256 | IP bytes outside / stolen |
|---|---|---|---|---|---|---|---|---|---|
{table}

*Bytes in the packets* are the stolen bytes taken back out of the payload that tshark hands over at the node's outside interface: frames, bodies, cookies, mails,
query names, echoes; of TLS the lengths of the records less overhead and heads, because the records hold noise in place of ciphertext. *SHA-256* compares their
digest with the ledger's; a fan's messages arrive on several connections, where only their number of bytes is compared. *TCP notes* are
{", ".join(name.replace("_", " ") for name in ANALYSIS)}.

Relays speak HTTP on the ports of the services they hide behind (27017 of a database, say); tshark is told so, as it would dissect another protocol there.
`direct` sends frames of its own on port 443, which is not TLS.
"""


@cache
def _spec(*overrides: str) -> Spec:
    from hydra import compose, initialize_config_dir

    from mimir.spec.build import from_config
    from mimir.spec.compose import config_folder

    always = ("app=sockshop", "evaluation=quick", "tracking=none", "capture.payload=all", "capture.snaplen_bytes=65535",
              "exfiltration.incidents=1", "exfiltration.incident_duration_s=60")  # fmt: skip
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return from_config(compose("config", overrides=[*always, *overrides]))


if __name__ == "__main__":
    main()
