#!/usr/bin/env python3
"""How well does a classifier tell leaks that are added to edges from leaks that are transmitted? Writes docs/results/synthetic.md.

`python scripts/synthetic_page.py --help`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from mimir.exfiltration.ledger import LedgerEntry, read_ledger  # noqa: E402
from mimir.flows.edges import COUNTERS  # noqa: E402
from mimir.pipeline.clusters import create_cluster  # noqa: E402
from mimir.pipeline.recordings import Recorded, orders, record_one  # noqa: E402
from mimir.spec import Spec  # noqa: E402

PAGE = ROOT / "docs" / "results" / "synthetic.md"
KINDS = ("synthetic", "relay_chain")
WINDOW_S = 60
SETS = {
    "all counters": tuple(COUNTERS),
    "bytes and packets": tuple(c for c in COUNTERS if c.endswith(("bytes", "packets")) and not c.startswith("dns")),
    "response bytes only": ("response_bytes",),
}
Floats = NDArray[np.float64]


class Judged(NamedTuple):
    """Mean over recordings of the AUROC of their held-out incidents, its 95 % interval, and how many incidents there were."""

    auroc: float
    low: float
    high: float
    incidents: int


def main() -> None:
    """Record, judge, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="recordings of each kind (default 8)")
    parser.add_argument("--rates", type=float, nargs="*", default=[100_000.0, 10_000.0, 1_000.0], help="stolen B/min")
    parser.add_argument("--users", type=int, default=10, help="users, constant (default 10)")
    parser.add_argument("--cache", type=Path, help="folder for recordings, kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            rate: judge_rate(range(1, options.seeds + 1), rate, options.users, options.cache or Path(folder))
            for rate in options.rates
        }
    PAGE.write_text(page(found, options), encoding="utf-8")
    print(PAGE)


def judge_rate(seeds: Iterable[int], rate: float, users: int, folder: Path) -> dict[str, Judged]:
    """AUROC for each set of counters, from incidents of both kinds in one recording a seed."""
    rows: dict[str, list[Floats]] = {name: [] for name in SETS}
    labels, groups = list[int](), list[int]()
    for seed in seeds:
        for kind in KINDS:
            one = recorded(kind, seed, rate, users, folder)
            frame, leaks = service_edges(one), truth(one)
            for leak in leaks:
                for name, counters in SETS.items():
                    rows[name].append(features(frame, leak, leaks, counters))
                labels.append(int(kind == "synthetic"))
                groups.append(seed)
        print(f"{rate:g} B/min, seed {seed}: {len(labels)} incidents", file=sys.stderr)
    return {name: separate(np.array(values), np.array(labels), np.array(groups)) for name, values in rows.items()}


def separate(x: Floats, labels: NDArray[np.int64], groups: NDArray[np.int64], resamples: int = 500) -> Judged:
    """Logistic regression on standardised features, cross-validated so that no recording is in train and test.

    `x` (n, f), `labels` (n,) 1 for synthetic, `groups` (n,) recordings. AUROC is computed within each
    recording, whose scores come from one model; the interval of the mean is the percentile bootstrap over recordings.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    scores = cross_val_predict(model, x, labels, groups=groups, cv=LeaveOneGroupOut(), method="decision_function")
    known = np.unique(groups)
    own = np.array([roc_auc_score(labels[groups == group], scores[groups == group]) for group in known])
    drawn = np.random.default_rng(1).choice(own, (resamples, len(own))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Judged(float(own.mean()), float(low), float(high), len(labels))


def features(frame: pd.DataFrame, leak: LedgerEntry, leaks: Sequence[LedgerEntry], counters: Sequence[str]) -> Floats:
    """For each hop and counter: log of the mean a window during the incident over that of windows without one."""
    starts = np.array(sorted(frame["window_start"].unique()), dtype=np.int64)
    during = (starts + WINDOW_S > leak.start) & (starts < leak.end)
    quiet = ~np.any([(starts + WINDOW_S > other.start) & (starts < other.end) for other in leaks], axis=0)
    found = []
    for hop in pairwise(leak.path):
        ends = {"outside:clients" if name == "outside" else name for name in hop}
        rows = frame[frame["client"].isin(ends) & frame["server"].isin(ends)]
        table = rows.groupby("window_start")[list(counters)].sum().reindex(starts, fill_value=0).to_numpy(np.float64)
        found.append(np.log((table[during].mean(axis=0) + 1) / (table[quiet].mean(axis=0) + 1)))
    return np.concatenate(found)


def service_edges(one: Recorded) -> pd.DataFrame:
    """Edges between services in windows of WINDOW_S."""
    frame = pd.read_parquet(one.edges.folder / "edges.parquet")
    for name in ("client", "server", "view"):
        frame[name] = frame[name].astype(str)
    return frame[(frame["view"] == "service") & (frame["window_s"] == WINDOW_S)]


def truth(one: Recorded) -> list[LedgerEntry]:
    """The ledger of a recording."""
    own = one.edges.folder / "truth.jsonl"
    return read_ledger(own if own.exists() else one.record.folder / "truth.jsonl")


def recorded(kind: str, seed: int, rate: float, users: int, folder: Path) -> Recorded:
    """The test recording of one kind; benign packets of both kinds are the same."""
    spec, plain = _spec(*overrides(kind, rate, users), f"seed={seed}")
    order = orders(spec)[-1]
    with create_cluster(spec) as running:
        return record_one(spec, plain, folder, order, lambda *_: None, running.record)


def overrides(kind: str, rate: float, users: int) -> list[str]:
    """The spec on a command line."""
    return [
        "app=sockshop", f"exfiltration={kind}", f"exfiltration.rate_bytes_per_min={rate:g}",
        f"exfiltration.bytes_per_message={min(4096, max(64, round(rate / 24)))}", "exfiltration.incidents=4",
        "exfiltration.incident_duration_s=180", "exfiltration.gap_s=120", "load=steady", f"load.users={users}",
        "evaluation=quick", "evaluation.test_s=1800", "capture.keep=false", "tracking=none",
    ]  # fmt: skip


def page(found: dict[float, dict[str, Judged]], options: argparse.Namespace) -> str:
    """The table."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    rates = " ".join(f"{rate:g}" for rate in options.rates)
    rows = []
    for rate, sets in found.items():
        cells = " | ".join(f"{j.auroc:.3f} [{j.low:.3f} to {j.high:.3f}]" for j in sets.values())
        count = next(iter(sets.values())).incidents
        rows.append(f"| {rate:,.0f} | {count} | {cells} |")
    table = "\n".join(rows)
    spec = " ".join(overrides("synthetic", options.rates[0], options.users))
    return f"""# Leaks added to edges, and leaks that are transmitted

Made by `python scripts/synthetic_page.py --seeds {options.seeds} --rates {rates} --users {options.users}` after commit {commit.stdout.strip()}. Each seed gives one test
recording of 1800 s with four incidents of 180 s for each kind, `synthetic` (bytes added to edges) and `relay_chain` (HTTP between relays); the benign packets
under both are the same. For the first rate that is `python run.py {spec} seed=1`.

A logistic regression on standardised features tells the two kinds apart; every recording is judged by a model that saw only the other seeds. Features are, for
each of the three hops and each counter of its edge, the logarithm of its mean in the {WINDOW_S} s windows of the incident over its mean in windows without any.
AUROC is computed within each recording and averaged; 0.5 is guessing, 1 is certainty; intervals are 95 % bootstraps over recordings.

| stolen B/min | incidents | {" | ".join(SETS)} |
|---|---|---|---|---|
{table}

So a detector that does well on added bytes has been asked a question that a network never asks: real bytes come with requests, packets, acknowledgements and
heads. Where only response bytes are looked at, what is left to see is the heads (about 10 %) and where in a window the bytes fall.
"""


@cache
def _spec(*words: str) -> tuple[Spec, dict[str, object]]:
    from hydra import compose, initialize_config_dir

    from mimir.spec.build import from_config, to_plain
    from mimir.spec.compose import config_folder

    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("config", overrides=list(words))
        return from_config(config), to_plain(config)


if __name__ == "__main__":
    main()
