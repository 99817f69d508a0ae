"""What each detector costs: CPU time to fit and score 1,000 windows × 200 edges, and the memory it allocates on top.

`python -m tests.benchmarks.bench_detectors [--out docs/results/detector-cost.md]`
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

from threadpoolctl import threadpool_limits

from mimir.detectors.base import Detector, Supervised
from mimir.detectors.registry import names
from mimir.files import write_text
from tests.contract.test_detector_contract import from_yaml
from tests.support.toymessages import with_messages
from tests.support.toyshop import wide

WINDOWS, EDGES = 1000, 200
COMMAND = "python -m tests.benchmarks.bench_detectors"


def seconds(work: Callable[[], object]) -> float:
    """CPU time of all threads of this process; BLAS has one, because idle ones spin."""
    with threadpool_limits(1):
        start = time.process_time()
        work()
        return time.process_time() - start


def measure(name: str, repeats: int) -> tuple[float, float, float]:
    """Median fit and score CPU seconds, and peak MB allocated by one fit and score."""
    fit, test = (with_messages(wide(WINDOWS, EDGES, seed)) for seed in (1, 2))
    from_yaml(name).fit(fit).score(test)  # compile, import, read the counters
    fits, scores = [], []
    for _ in range(repeats):
        detector: Detector = from_yaml(name)
        fits.append(seconds(lambda d=detector: d.fit(fit)))
        scores.append(seconds(lambda d=detector: d.score(test)))
    tracemalloc.start()
    from_yaml(name).fit(fit).score(test)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return median(fits), median(scores), peak


def page(repeats: int) -> str:
    """The table in Markdown."""
    rows = []
    for name in names():
        if isinstance(from_yaml(name), Supervised):
            continue  # needs labelled leaks
        fit, score, peak = measure(name, repeats)
        rate = WINDOWS * EDGES / max(score, 1e-9)
        rows.append(f"| `{name}` | {fit:.2f} | {score:.2f} | {rate:.2g} | {peak:.0f} |")
        print(rows[-1], file=sys.stderr)
    return "\n".join([
        "# What a detector costs", "",
        f"CPU seconds to fit and to score {WINDOWS:,} windows × {EDGES} edges with the parameters of `conf/detector` (median of {repeats},",
        "after one warm-up), edge-windows scored a second of CPU, and the peak of memory allocated on top of the counters. Supervised detectors",
        "are left out: these windows hold no leaks to learn from.", "",
        f"`{COMMAND} --repeats {repeats} --out docs/results/detector-cost.md` · Python {platform.python_version()}, {platform.machine()}, "
        "on a machine that others were using", "",
        "| detector | fit s | score s | edge-windows/s | peak MB |", "|---|---:|---:|---:|---:|", *rows, "",
    ])  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each detector")
    parser.add_argument("--out", type=Path, help="Markdown page to write; default: standard output")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    text = page(chosen.repeats)
    if chosen.out:
        write_text(chosen.out, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
