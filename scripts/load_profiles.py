"""Draw every profile of conf/load for docs/concepts/load.md: `python scripts/load_profiles.py`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from mimir.files import write_text
from mimir.load.population import Population
from mimir.report.profile_figure import ProfileSeries, draw_profiles
from mimir.spec.compose import composed
from mimir.units import NS_PER_S

ROOT = Path(__file__).resolve().parent.parent
WORDS = {
    "steady": "always the peak", "ramp": "a quarter to all", "step": "half, then all", "normal": "a working day",
    "bursty": "short crowds", "viral": "one story spreads", "cybermonday": "a sale", "weekly": "seven days",
    "flash_crowd": "a crowd on top",
}  # fmt: skip
USERS, DAY_S, STEPS = 100, 3600, 120  # peak of the population, simulated seconds a day, points a day


def series(name: str) -> ProfileSeries:
    """Walk a closed population of Sock Shop users through one period of a profile."""
    spec = composed([f"load={name}", f"load.users={USERS}", f"load.day_s={DAY_S}", "tracking=none"])
    load, app = replace(spec.load, arrivals="closed").of("fit"), spec.app
    endpoints = len(app.services[app.users.entry].endpoints)
    users = Population(app, load, 0, np.full(endpoints, 0.02), np.random.SeedSequence(1))
    times = np.arange(0, load.days * DAY_S, DAY_S // STEPS)
    present = []
    for time_s in times:
        present.append(users.present)
        users.until(int(time_s + DAY_S // STEPS) * NS_PER_S)
    wanted = np.array([users.wanted(float(t)) for t in times], dtype=float)
    return ProfileSeries(times / DAY_S, wanted, np.array(present, dtype=float), WORDS[name])


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Draw the load profiles.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "concepts" / "load-profiles.svg", help="SVG file")
    chosen = parser.parse_args()
    write_text(chosen.out, draw_profiles({name: series(name) for name in WORDS}))
    print(f"{chosen.out}: {len(WORDS)} profiles, {USERS} users at the peak, a day in {DAY_S} s")


if __name__ == "__main__":
    main()
