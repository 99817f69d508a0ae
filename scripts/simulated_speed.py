#!/usr/bin/env python3
"""Measure how fast the simulated cluster renders and writes a recording, and how much memory it takes, by processor time.

`python scripts/simulated_speed.py app=sockshop load.users=100 --hours 1 3`: each length runs in a process of its own, after a minute that
loads the compiled kernels. Overrides are those of run.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """A table, one line a length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="*", default=["app=sockshop"], help="as for run.py")
    parser.add_argument("--hours", nargs="*", type=float, default=[1.0, 3.0], help="lengths of the recording, h")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(_measure(options.overrides, options.one))
        return
    print("| h of traffic | packets | MB | processor s | packets/processor s | peak MB |\n|---|---|---|---|---|---|")
    for hours in options.hours:
        command = [sys.executable, __file__, *options.overrides, "--one", str(round(hours * 3600))]
        print(f"| {hours:g} " + subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def _measure(overrides: list[str], duration_s: int) -> str:
    import resource
    import time

    from hydra import compose, initialize_config_dir

    from mimir.cluster.base import RecordingOrder
    from mimir.cluster.simulated import SimulatedCluster
    from mimir.spec.build import from_config

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        spec = from_config(compose("config", overrides=[*overrides, "tracking=none"]))
    with tempfile.TemporaryDirectory() as folder, SimulatedCluster(spec) as running:

        def record(seconds: int) -> dict[str, object]:
            order = RecordingOrder("fit", 1_767_225_600, seconds, (1, 2), False, Path(folder) / str(seconds))
            order.folder.mkdir()
            return dict(running.record(order, lambda at_s, packets: None).counts)

        record(60)
        begin = time.process_time()
        counts = record(duration_s)
        busy = time.process_time() - begin
    packets, size = int(str(counts["packets"])), int(str(counts["bytes"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"| {packets:,} | {size / 1e6:,.0f} | {busy:.1f} | {packets / busy / 1e6:.2f} M | {peak / 1e6:.0f} |"


if __name__ == "__main__":
    main()
