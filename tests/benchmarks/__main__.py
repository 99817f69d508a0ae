"""`python -m tests.benchmarks`: measure, print a page; asserts nothing about time."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import bench_sections as sections
from tests.benchmarks.bench_facts import facts
from tests.benchmarks.bench_head import repeat
from tests.benchmarks.bench_page import page
from tests.benchmarks.bench_peers import PEERS

SECTIONS = ("comparison", "windows", "memory", "formats", "growth", "pods", "start_up")
#: a real capture of the corpus that MIMIR_CORPUS names: memcached clients and server, Ethernet
CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
REAL = CORPUS / "captures/deepflow/agent/resources/test/flow_generator/memcached/memcached-userdata.pcap"
REAL_PACKETS = 1_000_000


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options; the defaults take a few minutes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="How fast do captures become edges?"
    )
    parser.add_argument("--packets", type=int, default=10_000_000, help="of the synthetic capture [%(default)s]")
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts [%(default)s]")
    parser.add_argument("--growth", type=int, nargs="+", metavar="PACKETS", help="sizes of the growth table",
                        default=[1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000])  # fmt: skip
    parser.add_argument("--full", type=int, default=16_000_000, metavar="PACKETS",
                        help="of the capture with whole packets, 340 bytes each, that memory is measured on [%(default)s]")  # fmt: skip
    parser.add_argument("--simulated-s", type=int, default=3600, help="of Sock Shop; 0 leaves it out [%(default)s]")
    parser.add_argument(
        "--real",
        type=Path,
        metavar="PCAP",
        default=REAL if REAL.exists() else None,
        help="a real capture in pcap format (little endian), repeated up to 1 M packets [one of the corpus, if there]",
    )
    parser.add_argument("--peer-scale", type=float, default=1.0, help="times the packets that peers get [%(default)s]")
    parser.add_argument("--peers", nargs="*", default=[], choices=[p.name for p in PEERS], help="only these [all]")
    parser.add_argument("--sections", nargs="+", default=SECTIONS, choices=SECTIONS, help="only these [all]")
    parser.add_argument("--page", type=Path, help="write the page there, and NAME.json beside it [print it]")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All results as plain values."""
    plan = sections.Plan(options.packets, options.runs, tuple(options.growth), options.simulated_s,
                         tuple(options.peers), options.peer_scale, options.full, folder)  # fmt: skip
    results: dict[str, Any] = {"runs": plan.runs}
    for name in options.sections:
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
        if name == "comparison":
            results |= compare(plan, options.real)
        elif name == "growth":
            rows, exponents = sections.growth(plan)
            results["growth"] = {"rows": rows, "exponents": exponents}
        elif name == "pods":
            rows, slope = sections.pods(plan)
            results["pods"] = {"rows": rows, "exponent": slope}
        else:
            results[name] = getattr(sections, name)(plan)
    return results


def compare(plan: sections.Plan, real: Path | None) -> dict[str, Any]:
    """The comparison on synthetic captures, headers and whole, a real one and, unless switched off, one of the simulated cluster."""
    capture = plan.synthetic(plan.packets)
    size = capture.stat().st_size / plan.packets
    text = f"{plan.packets:,} packets of short connections between pods, SLL2, headers only, {size:.0f} bytes a packet."
    out: dict[str, Any] = {"captures": {"synthetic": text}}
    out["comparison"] = {"synthetic": sections.comparison(plan, capture)}
    capture = plan.synthetic(plan.packets, "full")
    text = (f"The same packets, whole: {plan.packets:,} packets, {capture.stat().st_size / plan.packets:.0f} bytes a packet; "
            "three of the ten packets of a connection carry an HTTP request and its reply.")  # fmt: skip
    out["captures"]["whole-packet"], out["comparison"]["whole-packet"] = text, sections.comparison(plan, capture)
    capture.unlink()
    if real:
        capture = plan.folder / "real.pcap"
        count = repeat(real, capture, min(REAL_PACKETS, plan.packets))
        text = (f"`{real.name}`, a real capture, again and again: {count:,} packets, {capture.stat().st_size / count:.0f} bytes a packet. "
                "Mimir's start-up is a large part of its whole command here.")  # fmt: skip
        out["captures"]["real"], out["comparison"]["real"] = text, sections.comparison(plan, capture)
        capture.unlink()
    if plan.simulated_s:
        found = sections.render(plan) | {"seconds": plan.simulated_s}
        text = (f"{plan.simulated_s} s of Sock Shop (up to {found['users']} users, a day pressed into an hour), rendered by the simulated cluster: "
                f"{found['packets']:,} packets, {found['bytes'] / found['packets']:.0f} bytes a packet.")  # fmt: skip
        out["captures"]["simulated"], out["rendered"] = text, {k: v for k, v in found.items() if k != "path"}
        out["comparison"]["simulated"] = sections.comparison(plan, Path(found["path"]))
    return out


def main(arguments: list[str]) -> None:
    """Measure and write or print the page."""
    options = parse(arguments)
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    about = facts("make bench" + (f" ARGS={shlex.quote(shlex.join(arguments))}" if arguments else ""))
    with tempfile.TemporaryDirectory(prefix="mimir-bench-") as folder:
        results = measure(options, Path(folder))
    about |= {"load_after": os.getloadavg()[0], "seconds": time.monotonic() - began}
    results = {"facts": about, **results}
    if options.page:
        raw = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        options.page.with_suffix(".json").write_text(raw, encoding="utf-8")
        options.page.write_text(page(results), encoding="utf-8")
    else:
        print(page(results))


if __name__ == "__main__":
    main(sys.argv[1:])
