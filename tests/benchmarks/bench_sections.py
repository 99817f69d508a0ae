"""The questions that `make bench` asks, each a function that returns rows of plain values."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_head import head
from tests.benchmarks.bench_measure import BenchError, Cost, exponent, run, step
from tests.benchmarks.bench_peers import PEERS, Peer

Row = dict[str, Any]
ALL_WINDOWS = "stage:1,10,60"
GAP_NS = 200_000  #: a connection every so often in synthetic captures
LONG, DENSE = "16 × as long", "16 × as dense"
REMEMBERED_S = 7  #: how long after its end a connection stays: mimir.flows.tcp.CLOSED_NS, mimir.flows.follow.REORDER_NS
PODS = 60  #: on either side of connections in synthetic captures


@dataclass(frozen=True)
class Plan:
    """Sizes, in packets unless the name says otherwise."""

    packets: int
    runs: int
    growth: tuple[int, ...]
    simulated_s: int  #: 0 leaves the simulated cluster out
    peers: tuple[str, ...]  #: empty means all
    peer_scale: float
    full: int  #: of the capture with whole packets
    folder: Path

    def synthetic(self, packets: int, kind: str = "any", gap_ns: int = GAP_NS, pods: int = PODS) -> Path:
        """A synthetic capture, made when it is not there yet."""
        path = self.folder / f"{kind}-{packets}-{gap_ns}-{pods}.pcap"
        if not path.exists():
            step("write", path, packets, kind, gap_ns, pods)
        return path

    @property
    def warm(self) -> Path:
        """A small capture that makes numba load its kernels before the clock starts."""
        return self.synthetic(20_000)


def _row(name: str, work: str, packets: int, costs: list[Cost], **more: Any) -> Row:
    """Seconds and peak memory of whole processes."""
    return {
        "name": name,
        "work": work,
        "packets": packets,
        "wall_s": [c.wall_s for c in costs],
        "cpu_s": [c.cpu_s for c in costs],
        "peak_mb": max(c.peak_mb for c in costs),
        "rows": costs[0].answer.get("rows"),
    } | more


def inside(plan: Plan, name: str, work: str, step_name: str, capture: Path, **more: Any) -> Row:
    """A step measured several times inside one process that is warm."""
    cost = step(step_name, capture, plan.runs, plan.warm)
    return _row(name, work, cost.answer["packets"], [cost], **_seconds(cost), **more)


def whole(plan: Plan, name: str, work: str, step_name: str, capture: Path) -> Row:
    """A step as a fresh process each time, start-up included."""
    costs = [step(step_name, capture) for _ in range(plan.runs)]
    return _row(name, work, costs[0].answer["packets"], costs)


def _seconds(cost: Cost) -> Row:
    return {key: cost.answer[key] for key in ("wall_s", "cpu_s")}


def comparison(plan: Plan, capture: Path) -> list[Row]:
    """Mimir and its peers on one capture; peers get its first packets. The first step compiles kernels, if need be."""
    step(ALL_WINDOWS, plan.warm)
    lengths = ALL_WINDOWS.removeprefix("stage:")
    rows = [
        whole(plan, "mimir, whole command", "edges at 1, 10, 60 s → Parquet, fresh process", ALL_WINDOWS, capture),
        whole(plan, "mimir, two workers", "the same, decoding on a second thread", f"stage-2:{lengths}", capture),
        inside(plan, "mimir, whole stage", "the same, warm process", ALL_WINDOWS, capture),
        inside(plan, "mimir, kernels only", "decode, follow connections", "kernel", capture),
        inside(plan, "mimir, plain edges", "decode, add up packets by addresses", "plain", capture),
        inside(plan, "mimir, reader only", "decode", "read", capture),
    ]
    chosen = [p for p in PEERS if not plan.peers or p.name in plan.peers]
    return rows + [against(plan, peer, capture, rows[0]["packets"]) for peer in chosen]


def against(plan: Plan, peer: Peer, capture: Path, available: int) -> Row:
    """One peer; a row with `skipped` where it is absent or fails."""
    row: Row = {"name": peer.name, "work": peer.work}
    if peer.missing():
        return {**row, "skipped": f"not installed: {peer.install}"}
    packets = min(round(peer.packets * plan.peer_scale), available)
    sample = capture
    if packets < available or peer.ethernet:
        sample = plan.folder / "sample.pcap"
        head(capture, sample, packets, peer.ethernet)
    try:
        if not peer.command:
            cost = step(peer.name, sample, plan.runs)
            if cost.answer["packets"] == 0:
                return {**row, "skipped": "saw no packets"}
            return _row(peer.name, peer.work, packets, [cost], **_seconds(cost), seen=cost.answer["packets"])
        costs = []
        for _ in range(plan.runs):
            out = plan.folder / "peer"
            out.mkdir()
            try:
                costs.append(run(peer.argv(sample, out)))
            finally:
                shutil.rmtree(out)
        return _row(peer.name, peer.work, packets, costs)
    except BenchError as error:
        text = str(error).replace(f"{plan.folder}/", "").replace(sys.executable, "python")
        return {**row, "skipped": f"failed: {text}"}


def windows(plan: Plan) -> list[Row]:
    """One window length against three in the same pass."""
    capture = plan.synthetic(plan.growth[len(plan.growth) // 2])
    names = ("stage:60", "stage:10", "stage:1", ALL_WINDOWS)
    return [inside(plan, name.removeprefix("stage:").replace(",", ", "), "", name, capture) for name in names]


def memory(plan: Plan) -> list[Row]:
    """16 times the packets over 16 times the time, and in the same time; 5 GB of full packets. Edge rows hardly grow."""
    few, many, sparse = plan.growth[0], plan.growth[0] * 16, GAP_NS * 4
    step("stage:600", plan.synthetic(many, gap_ns=sparse // 16))  # a process that compiles kernels needs more
    return [
        _peak(plan, "1 ×", few, sparse),
        _peak(plan, LONG, many, sparse),
        _peak(plan, DENSE, many, sparse // 16),
        _peak(plan, "full packets", plan.full, GAP_NS, "full"),
    ]


def _peak(plan: Plan, name: str, packets: int, gap_ns: int, kind: str = "any") -> Row:
    """One fresh process on a capture that goes afterwards."""
    capture = plan.synthetic(packets, kind, gap_ns=gap_ns)
    cost = step("stage:600", capture)
    row = _row(name, "", cost.answer["packets"], [cost], file_mb=capture.stat().st_size / 1e6, at_once=at_once(gap_ns))
    capture.unlink()
    return row


def at_once(gap_ns: int) -> int:
    """Connections that are remembered at a time, both legs counted, when one begins every `gap_ns`."""
    return 2 * REMEMBERED_S * 10**9 // gap_ns


def formats(plan: Plan) -> list[Row]:
    """pcap, pcapng and compressed pcap of the same packets."""
    packets = plan.growth[len(plan.growth) // 2]
    classic, block = plan.synthetic(packets), plan.synthetic(packets, "pcapng")
    squeezed = classic.with_suffix(".pcap.gz")
    with squeezed.open("wb") as out:
        subprocess.run(["gzip", "-1", "-c", str(classic)], stdout=out, check=True)
    rows = [
        inside(plan, name, "", ALL_WINDOWS, path)
        for name, path in (("pcap", classic), ("pcapng", block), ("pcap.gz", squeezed))
    ]
    unpacking = [run(["gzip", "-dc", str(squeezed)]) for _ in range(plan.runs)]
    block.unlink()
    squeezed.unlink()
    return [*rows, _row("gzip -dc, for comparison", "", packets, unpacking)]


def growth(plan: Plan) -> tuple[list[Row], dict[str, float]]:
    """Longer and longer captures at the same packet rate; exponents of processor time, warm."""
    rows = []
    for packets in plan.growth:
        capture = plan.synthetic(packets)
        stage = step(ALL_WINDOWS, capture, 2, plan.warm)
        kernels = step("kernel", capture, 2, plan.warm)
        rows.append(
            {
                "packets": packets,
                "file_mb": capture.stat().st_size / 1e6,
                "stage_s": min(stage.answer["cpu_s"]),
                "kernel_s": min(kernels.answer["cpu_s"]),
                "rows": stage.answer["rows"],
                "peak_mb": stage.peak_mb,
            }
        )
        if packets != plan.packets:
            capture.unlink()
    exponents = {key: exponent(plan.growth, [r[key] for r in rows]) for key in ("stage_s", "kernel_s")}
    return rows, exponents


def pods(plan: Plan) -> tuple[list[Row], float]:
    """More and more pods in as many packets; the exponent of processor time, warm."""
    packets, rows = plan.growth[len(plan.growth) // 2], []
    for count in (20, 200, 2_000):
        capture = plan.synthetic(packets, pods=count)
        cost = step(ALL_WINDOWS, capture, 2, plan.warm)
        rows.append({"pods": count, "packets": packets, "stage_s": min(cost.answer["cpu_s"]),
                     "rows": cost.answer["rows"], "peak_mb": cost.peak_mb})  # fmt: skip
        capture.unlink()
    return rows, exponent([r["pods"] for r in rows], [r["stage_s"] for r in rows])


def start_up(plan: Plan) -> dict[str, float]:
    """Processor seconds of a fresh process on a tiny capture, with and without compiled kernels in the cache."""
    cache = plan.folder / "numba"
    cold = step(ALL_WINDOWS, plan.warm, env={"NUMBA_CACHE_DIR": str(cache)})
    cached = [step(ALL_WINDOWS, plan.warm, env={"NUMBA_CACHE_DIR": str(cache)}).cpu_s for _ in range(plan.runs)]
    return {"compiling_s": cold.cpu_s, "cached_s": sorted(cached)[len(cached) // 2]}


def render(plan: Plan) -> Row:
    """A recording of the simulated cluster; the capture stays in the folder."""
    folder = plan.folder / "simulated"
    folder.mkdir()
    return step("render", folder, plan.simulated_s).answer
