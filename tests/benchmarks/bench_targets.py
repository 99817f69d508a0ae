"""The targets of the design, and what a run found: the only place where the bench judges."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """`met` is None where the run did not measure it."""

    what: str
    wanted: str
    found: str
    met: bool | None


def targets(results: dict[str, Any]) -> list[Target]:
    """Those that this bench can see; the others belong to other benches."""
    found: list[Target] = []
    rows, whole = (_measured(results, capture) for capture in ("synthetic", "whole-packet"))
    found += _speeds(rows) + _wall(rows) if rows else []
    found += [_ratio(whole, peer, least) for peer, least in PEER_RATIOS] if whole else []
    if "formats" in results:
        pcap, pcapng = (_cpu(row) for row in results["formats"][:2])
        found.append(Target("pcapng against pcap", "≤ 2 × the time", f"{pcapng / pcap:.2f} ×", pcapng <= 2 * pcap))
    if "windows" in results:
        found += _windows(results["windows"])
    if "memory" in results:
        found += _memory(results)
    if "rendered" in results:
        found += _rendering(results["rendered"])
    if "growth" in results:
        slope = results["growth"]["exponents"]["stage_s"]
        found.append(Target("growth of the stage", "exponent ≤ 1.05", f"{slope:.2f}", slope <= 1.05))
    if "pods" in results:
        slope = results["pods"]["exponent"]
        found.append(Target("growth with the pods, 20 to 2,000", "exponent ≤ 1", f"{slope:.2f}", slope <= 1))
    return found


PEER_RATIOS = (("tshark -T fields", 300), ("NFStream", 100), ("nfpcapd", 10))


def _measured(results: dict[str, Any], capture: str) -> dict[str, Row]:
    """Rows of the comparison on a capture, by name."""
    return {row["name"]: row for row in results.get("comparison", {}).get(capture, []) if "skipped" not in row}


def _cpu(row: Row) -> float:
    return float(median(row["cpu_s"]))


def _speeds(rows: dict[str, Row]) -> list[Target]:
    """Packets per processor second."""
    wanted = (("mimir, reader only", 10), ("mimir, kernels only", 10), ("mimir, whole command", 4))
    out = []
    for name, millions in wanted:
        speed = rows[name]["packets"] / _cpu(rows[name]) / 1e6
        out.append(Target(name, f"≥ {millions} M packets/s per core", f"{speed:.2f} M", speed >= millions))
    return out


def _wall(rows: dict[str, Row]) -> list[Target]:
    """The whole command by the clock with two workers, and what connections cost beyond plain edges."""
    if not {"mimir, two workers", "mimir, plain edges"} <= rows.keys():
        return []
    two, one = rows["mimir, two workers"], rows["mimir, whole command"]
    speed, gain = two["packets"] / median(two["wall_s"]) / 1e6, median(one["wall_s"]) / median(two["wall_s"])
    times = _cpu(rows["mimir, kernels only"]) / _cpu(rows["mimir, plain edges"])
    found = f"{speed:.2f} M, {gain:.2f} × one worker"
    return [
        Target("mimir, whole command, two workers, by the clock", "≥ 4 M packets/s", found, speed >= 4),
        Target("connections against plain edges", "< 2 ×", f"{times:.2f} ×", times < 2),
    ]


def _ratio(rows: dict[str, Row], peer: str, least: int) -> Target:
    what, wanted = f"whole command against {peer}, whole packets", f"≥ {least} ×"
    if peer not in rows:
        return Target(what, wanted, "–", None)
    own, other = rows["mimir, whole command"], rows[peer]
    times = (own["packets"] / _cpu(own)) / (other["packets"] / _cpu(other))
    return Target(what, wanted, f"{times:.1f} ×", times >= least)


def _windows(rows: list[Row]) -> list[Target]:
    sixty, _, one, three = (_cpu(row) for row in rows)
    return [
        Target("three window lengths against 1 s alone", "< 1.3 ×", f"{three / one:.2f} ×", three < 1.3 * one),
        Target("three window lengths against 60 s alone", "< 1.3 ×", f"{three / sixty:.2f} ×", three < 1.3 * sixty),
    ]


def _memory(results: dict[str, Any]) -> list[Target]:
    first, long, dense, full = results["memory"]
    times, grown = long["peak_mb"] / first["peak_mb"], dense["peak_mb"] - first["peak_mb"]
    each = grown * 1e6 / (dense["at_once"] - first["at_once"])
    found = f"{each:.0f} bytes, {dense['peak_mb'] / first['peak_mb']:.2f} × the peak"
    on_full = f"{full['peak_mb']:,.0f} MB on {full['file_mb'] / 1e3:.1f} GB"
    met = full["peak_mb"] < 600 if full["file_mb"] >= 5000 else None
    return [
        Target("memory, 16 × the packets, as many at a time", "≤ 1.25 × the peak", f"{times:.2f} ×", times <= 1.25),
        Target(
            "memory, 16 × the packets at a time",
            "≤ 400 bytes a connection at once (set after a first measurement)",
            found,
            each <= 400,
        ),
        Target("memory on a 5 GB capture", "< 600 MB", on_full, met),
    ]


def _rendering(found: dict[str, Any]) -> list[Target]:
    speed = found["packets"] / found["cpu_s"] / 1e6
    three_hours = found["wall_s"] * 3 * 3600 / found["seconds"]
    at_peak = f"about {three_hours:.1f} s, from {found['seconds']} s rendered"
    return [
        Target("simulated cluster", "≥ 1 M packets/s per core", f"{speed:.2f} M", speed >= 1),
        Target(f"3 h of Sock Shop, {found['users']} users at the peak", "< 180 s", at_peak, three_hours < 180),
    ]
