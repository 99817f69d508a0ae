"""One recording of the simulated cluster: slice after slice of packets into a capture, and the three logs beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mimir.capture.writer import PcapWriter
from mimir.cluster.base import Progress, Recording, RecordingOrder
from mimir.cluster.simulated import frames
from mimir.cluster.simulated.happenings import benign_entries
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.leak import Leak
from mimir.cluster.simulated.roster import pod_line
from mimir.cluster.simulated.tables import Rows
from mimir.cluster.simulated.traffic import Traffic
from mimir.cluster.simulated.transfers import Transfers
from mimir.cluster.simulated.world import World
from mimir.cluster.synthetic import is_synthetic
from mimir.exfiltration.ledger import BENIGN, LedgerEntry, write_ledger
from mimir.files import write_jsonl
from mimir.spec import Spec
from mimir.spec.cluster import SimulatedSpec
from mimir.units import NS_PER_S


def record(spec: Spec, order: RecordingOrder, progress: Progress) -> Recording:
    """Render a recording; the same spec and order give the same bytes. Raises SpecError when incidents do not fit."""
    assert isinstance(spec.cluster, SimulatedSpec)
    layout = Layout(spec.app, spec.cluster)
    start_ns, end_ns = order.start_s * NS_PER_S, (order.start_s + order.duration_s) * NS_PER_S
    benign, leaking = np.random.SeedSequence(order.entropy).spawn(2)
    world = World(spec, layout, order)
    traffic = Traffic(layout, spec.load.of(order.name), start_ns, benign, world)
    transmitted = order.leaking and not is_synthetic(spec)
    leak = Leak(spec, layout, order, traffic.messages, leaking) if transmitted else None
    transfers = Transfers(spec, layout, order, traffic.messages, world)
    capture = order.folder / "capture" / f"{order.name}.pcap"
    capture.parent.mkdir(parents=True, exist_ok=True)
    step_ns, rest, packets = int(spec.cluster.slice_s * NS_PER_S), frames.empty(0), 0
    with PcapWriter(capture, spec.capture.snaplen_bytes, spec.capture.payload) as writer:
        for begin_ns in range(start_ns, end_ns, step_ns):
            until_ns = min(begin_ns + step_ns, end_ns)
            pieces = [
                rest,
                *traffic.slice(until_ns),
                *transfers.slice(until_ns),
                *(leak.slice(until_ns) if leak else []),
            ]
            ready, rest = _split(pieces, begin_ns, until_ns)
            for batch in frames.batches(ready, traffic.messages):
                writer.write(batch)
            packets += len(ready)
            progress((until_ns - start_ns) / NS_PER_S, packets)
        counts = writer.close()
    folder = order.folder
    changes = [pod_line(ts / NS_PER_S, life.pod, event) for ts, event, life in layout.roster.events(end_ns)]
    write_jsonl(folder / "entities.jsonl", [*layout.entities(order.start_s), *changes])
    entries = [*(leak.ledger() if leak else []), *benign_entries(world.happened, order)]
    write_ledger(folder / "truth.jsonl", entries)
    write_jsonl(folder / "timeline.jsonl", _timeline(order, traffic, entries))
    facts = {"packets": counts.packets, "bytes": counts.bytes, "sha256": counts.sha256, "dropped": 0}
    entities, timeline, truth = (folder / f"{name}.jsonl" for name in ("entities", "timeline", "truth"))
    return Recording((capture,), entities, timeline, truth, facts)


def _split(pieces: list[Rows], begin_ns: int, until_ns: int) -> tuple[Rows, Rows]:
    """Packets of this slice in order of time, and those that come later."""
    rows = np.concatenate(pieces)
    later = rows["ts"] >= until_ns
    return frames.in_order(rows[~later], begin_ns), rows[later]


def _timeline(order: RecordingOrder, traffic: Traffic, entries: list[LedgerEntry]) -> list[dict[str, Any]]:
    end_s = order.start_s + order.duration_s
    events: list[dict[str, Any]] = [{"ts": order.start_s, "event": "recording_started"}]
    events += [{"ts": order.start_s + s, "event": "users", **counts} for s, counts in traffic.population.marks]
    for entry in entries:
        what = "trigger" if entry.path_class.startswith(BENIGN) else "incident"
        events.append({"ts": entry.start, "event": f"{what}_started", what: entry.incident})
        events.append({"ts": entry.end, "event": f"{what}_ended", what: entry.incident})
    events.append({"ts": end_s, "event": "recording_ended"})
    events.sort(key=lambda event: float(event["ts"]))
    return [{**event, "recording": order.name} for event in events]
