"""Who is better than whom: mean ranks with the critical difference (Demšar 2006), and paired Wilcoxon tests.

A block is one application, scenario, rate and seed; within it detectors are ranked by average precision of the same
windows, rank 1 the best. Two detectors whose mean ranks differ by less than the critical difference of Nemenyi's test
are not told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mimir.report.benchmark.summary import chosen

BLOCK = ["experiment", "app", "exfiltration", "path_class", "rate_bytes_per_min", "test_users", "mix_distance", "seed"]
ALPHA = 0.05


@dataclass(frozen=True)
class Ranks:
    """Mean rank by detector, best first."""

    mean: pd.Series
    blocks: int
    critical: float  #: smallest difference of mean ranks that is significant at ALPHA
    friedman_p: float  #: all detectors are alike


def mean_ranks(table: pd.DataFrame, window_s: int) -> Ranks | None:
    """None where fewer than two detectors or two blocks can be compared."""
    scores = paired(table, window_s)
    blocks, count = scores.shape
    if blocks < 2 or count < 3:
        return None
    from scipy.stats import friedmanchisquare, studentized_range

    ranks = scores.rank(axis=1, ascending=False)
    quantile = float(studentized_range.ppf(1 - ALPHA, count, np.inf)) / np.sqrt(2)
    critical = quantile * np.sqrt(count * (count + 1) / (6 * blocks))
    p = float(friedmanchisquare(*(scores[name] for name in scores)).pvalue)
    return Ranks(ranks.mean().sort_values(kind="stable"), blocks, float(critical), p)


def paired(table: pd.DataFrame, window_s: int) -> pd.DataFrame:
    """Average precision: a row a block, a column a detector.

    A detector whose scores were all the same has none; it stands with the prevalence, which is what chance gives.
    """
    rows = chosen(table, "average_precision", window_s)
    wide = rows.groupby([*BLOCK, "detector"])["value"].mean().unstack("detector")
    wide = wide.reindex(columns=sorted(table["detector"].unique()))
    chance = chosen(table, "prevalence", window_s).groupby(BLOCK)["value"].first().reindex(wide.index)
    filled: pd.DataFrame = wide.apply(lambda column: column.fillna(chance))
    return filled


def detectors_of(table: pd.DataFrame, window_s: int) -> list[str]:
    """Names, best first: by mean average precision over everything that leaks, then by name."""
    means = paired(table, window_s).mean()
    return sorted(means.index, key=lambda name: (-float(np.nan_to_num(means[name], nan=-1.0)), name))


def wilcoxon(table: pd.DataFrame, window_s: int, champion: str) -> pd.DataFrame:
    """`champion` against every other: blocks won, lost, tied, median difference, two-sided p (Holm-adjusted)."""
    from scipy.stats import wilcoxon as test

    scores = paired(table, window_s)
    if champion not in scores or not len(scores):
        return pd.DataFrame()
    rows = {}
    for name in scores.columns.drop(champion):
        difference = scores[champion] - scores[name]
        p = float(test(difference).pvalue) if difference.any() else 1.0
        rows[name] = {
            "won": int((difference > 0).sum()),
            "lost": int((difference < 0).sum()),
            "tied": int((difference == 0).sum()),
            "median": float(difference.median()),
            "p": p,
        }
    out = pd.DataFrame.from_dict(rows, orient="index").sort_values("p", kind="stable")
    adjusted = np.maximum.accumulate(out["p"].to_numpy(dtype=np.float64) * np.arange(len(out), 0, -1))
    return out.assign(p_holm=np.minimum(adjusted, 1.0)).sort_index()
