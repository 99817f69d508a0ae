"""Tables of a benchmark: incidents and windows of all seeds, put together by detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mimir.report.counted import CONFIDENCE, poisson_rate

BENIGN = "benchmark_benign"  #: the experiment in which nothing leaks
RECALL_WANTED = 0.95  #: a rate counts as detectable from this event recall on
Interval = tuple[float, float]


@dataclass(frozen=True)
class Share:
    """`hits` of `trials`, with the exact interval (Clopper & Pearson 1934)."""

    hits: int
    trials: int

    @property
    def value(self) -> float:
        """NaN without a trial."""
        return self.hits / self.trials if self.trials else np.nan

    def interval(self) -> Interval:
        """At CONFIDENCE."""
        from scipy.stats import binomtest

        low, high = binomtest(self.hits, self.trials).proportion_ci(CONFIDENCE, method="exact")
        return float(low), float(high)


def chosen(table: pd.DataFrame, measure: str, window_s: int | None = None, budget: float | None = None) -> pd.DataFrame:
    """Rows of one measure; of one window length and one alert budget where these are given."""
    rows = table[table["measure"] == measure]
    if window_s is not None:
        rows = rows[rows["window_s"] == window_s]
    if budget is not None:
        rows = rows[np.isclose(rows["budget"], budget)]
    return rows


def recall_by(
    table: pd.DataFrame, keys: Sequence[str], window_s: int | None, budget: float = 1.0
) -> dict[tuple[Any, ...], Share]:
    """Event recall by the values of `keys`, sorted."""
    rows = chosen(table, "detected", window_s, budget)
    return {
        key if isinstance(key, tuple) else (key,): Share(int(part.sum()), len(part))
        for key, part in rows.groupby([*keys])["value"]
    }


def least_rates(table: pd.DataFrame, window_s: int, budget: float = 1.0) -> pd.DataFrame:
    """Minimum detectable rate (B/min): rows app × path class, a column a detector.

    The smallest tested rate from which on every tested rate has event recall ≥ RECALL_WANTED; infinity when none has.
    """
    shares = recall_by(table, ("app", "path_class", "detector", "rate_bytes_per_min"), window_s, budget)
    out: dict[tuple[str, str], dict[str, float]] = {}
    for app, path_class, detector in dict.fromkeys(key[:3] for key in shares):
        tested = {key[3]: share for key, share in shares.items() if key[:3] == (app, path_class, detector)}
        least = np.inf
        for rate in sorted(tested, reverse=True):
            if tested[rate].value < RECALL_WANTED:
                break
            least = float(rate)
        out.setdefault((app, path_class), {})[detector] = least
    return pd.DataFrame.from_dict(out, orient="index")


def with_factors(table: pd.DataFrame) -> pd.DataFrame:
    """Plus `load_ratio`, users in the test over users in training; distances of mixes without the last bits."""
    return table.assign(load_ratio=table["test_users"] / table["users"], mix_distance=table["mix_distance"].round(6))


def benign_part(table: pd.DataFrame) -> pd.DataFrame:
    """Recordings whose false alerts may be added up: those of one seed share their users' walks, so that of the usual load
    and mix only the ones without a leak count (BENIGN), or all where there are none. Benign triggers are no part of it."""
    table = with_factors(table[table["triggers"] == ""])
    quiet = table["experiment"] == BENIGN
    usual = (
        (table["load_ratio"] == 1) & (table["mix_distance"] == 0) & table["app"].isin(table.loc[quiet, "app"].unique())
    )
    return table[~usual | quiet]


def false_alerts(table: pd.DataFrame, keys: Sequence[str], window_s: int | None, budget: float = 1.0) -> pd.DataFrame:
    """Benign time and what was raised in it, by `keys`: columns alerts, days, per_day, low, high (Garwood 1936)."""
    alerts = chosen(table, "false_alerts", window_s, budget).groupby([*keys])["value"].sum()
    days = chosen(table, "benign_days", window_s, budget).groupby([*keys])["value"].sum()
    return with_rates(alerts, days)


def trigger_alerts(table: pd.DataFrame, window_s: int, budget: float = 1.0) -> pd.DataFrame:
    """The same during benign triggers and while they are recovered from, by (kind, detector)."""
    keys = ["path_class", "detector"]
    alerts = chosen(table, "trigger_false_alerts", window_s, budget).groupby(keys)["value"].sum()
    days = chosen(table, "trigger_days", window_s, budget).groupby(keys)["value"].sum()
    return with_rates(alerts, days)


def with_rates(alerts: pd.Series, days: pd.Series) -> pd.DataFrame:
    """Alerts a day with the exact Poisson interval."""
    out = pd.DataFrame({"alerts": alerts, "days": days})
    low, high = poisson_rate(out["alerts"], out["days"])
    return out.assign(per_day=out["alerts"] / out["days"], low=low, high=high)


def over_seeds(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Mean over everything but `keys`, with the t interval over the means of the seeds: columns mean, low, high, seeds."""
    from scipy.stats import t

    by_seed = rows.groupby([*keys, "seed"])["value"].mean().groupby([*keys])
    out = pd.DataFrame({"mean": by_seed.mean(), "sd": by_seed.std(ddof=1), "seeds": by_seed.size()})
    half = t.ppf((1 + CONFIDENCE) / 2, (out["seeds"] - 1).clip(lower=1)) * out["sd"] / np.sqrt(out["seeds"])
    half = half.where(out["seeds"] >= 3)
    return out.assign(low=out["mean"] - half, high=out["mean"] + half)[["mean", "low", "high", "seeds"]]
