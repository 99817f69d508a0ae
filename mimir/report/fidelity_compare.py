"""Tables of a fidelity run → one row an edge and measure: real, simulated, their ratio with an interval, and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EDGE = ["client", "server", "server_port", "proto"]
REAL, MODEL = "netns", "simulated"
USERS = "outside:clients"
TOLERANCE = 0.2
RESAMPLES, CONFIDENCE, SEED = 2000, 0.95, 1
LEAST_EXCHANGES = 100  #: on either side, for a comparison of an edge to mean anything
FLOOR = 0.01  #: share of the mean added in quadrature to what scatters: below it nothing could be told apart
RESIDUAL_BLOCK = 5  #: windows of the residuals that are resampled together

WITHIN, CHANCE, OFF, ABSENT = "within 20 %", "off by chance", "off", "absent"
Floats = NDArray[np.float64]


class Measure(NamedTuple):
    """A column of the comparison: name, unit, and value from sums over blocks (each a float or an array of resamples)."""

    name: str
    words: str
    value: Callable[[dict[str, Floats]], Floats]


def _per_exchange(*columns: str) -> Callable[[dict[str, Floats]], Floats]:
    return lambda s: sum((s[c] for c in columns), np.zeros(())) / s["exchanges"]


def _variation(s: dict[str, Floats]) -> Floats:
    mean = s["bytes"] / s["windows"]
    return np.sqrt(np.maximum(s["bytes_squared"] / s["windows"] - mean**2, 0.0) / mean**2 + FLOOR**2)


MEASURES = (
    Measure("request_bytes", "request, B an exchange", _per_exchange("request_bytes")),
    Measure("response_bytes", "response, B an exchange", _per_exchange("response_bytes")),
    Measure("packets", "packets an exchange", _per_exchange("packets")),
    Measure("exchanges", "exchanges a user request", lambda s: s["exchanges"] / s["users"]),
    Measure("connections", "connections a user request", lambda s: s["connections"] / s["users"]),
    Measure("variation", "variation of bytes over windows", _variation),
)
RESIDUAL = "residual"
NAMES = (*(m.name for m in MEASURES), RESIDUAL)
_SUMS = ["request_bytes", "response_bytes", "exchanges", "connections", "packets", "bytes", "bytes_squared"]


def verdict(ratio: float, low: float, high: float) -> str:
    """Within the tolerance; or off, which is chance where the interval holds 1; or absent, where one side has none.

    >>> verdict(1.1, 1.05, 1.15), verdict(1.5, 0.9, 2.0), verdict(1.5, 1.2, 1.8), verdict(np.inf, 1.2, np.inf)
    ('within 20 %', 'off by chance', 'off', 'absent')
    """
    if not np.isfinite(ratio) or ratio == 0:
        return ABSENT
    if abs(ratio - 1) <= TOLERANCE:
        return WITHIN
    return CHANCE if low <= 1 <= high else OFF


def compare(blocks: pd.DataFrame, residuals: pd.DataFrame) -> pd.DataFrame:
    """app, EDGE, measure, real, simulated, ratio (simulated to real), low, high, verdict, and the exchanges of both.

    Intervals are those of a block bootstrap: blocks of both clusters are drawn independently. Edges of which both sides
    have fewer than LEAST_EXCHANGES are left out; where only one has, nothing but the count is compared.
    """
    rows = [row for app, part in blocks.groupby("app", sort=False) for row in _app(str(app), part)]
    rows += list(_residuals(residuals, {(r["app"], *(r[c] for c in EDGE)): r for r in rows}))
    return pd.DataFrame(rows)


def _app(app: str, blocks: pd.DataFrame) -> Iterator[dict[str, object]]:
    sides = {cluster: _Side(blocks[blocks["cluster"] == cluster], n) for n, cluster in enumerate((REAL, MODEL))}
    for edge in sorted({*sides[REAL].edges, *sides[MODEL].edges}):
        head = {"app": app, **dict(zip(EDGE, edge, strict=True))}
        sums = {cluster: side.sums(edge) for cluster, side in sides.items()}
        counts = {f"exchanges_{c}": int(s["exchanges"][0]) for c, s in sums.items()}
        if max(counts.values()) < LEAST_EXCHANGES:
            continue
        if min(counts.values()) < LEAST_EXCHANGES:
            yield head | counts | _row("exchanges", *(s["exchanges"] / s["users"] for s in sums.values()))
            continue
        for measure in MEASURES:
            real, model = (measure.value(sums[c]) for c in (REAL, MODEL))
            yield head | counts | _row(measure.name, real, model)


def _row(name: str, real: Floats, model: Floats) -> dict[str, object]:
    """The first of the values is that of the sample, the others those of its resamples."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = model / real
    defined = ratio[1:][
        ~np.isnan(ratio[1:])
    ]  # infinite where a resample has none of the real side: as far off as can be
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail], method="inverted_cdf") if len(defined) else (np.nan, np.nan)
    return {
        "measure": name, "real": float(real[0]), "simulated": float(model[0]), "ratio": float(ratio[0]),
        "low": float(low), "high": float(high), "verdict": verdict(float(ratio[0]), float(low), float(high)),
    }  # fmt: skip


def _draws(blocks: int, number: int) -> Floats:
    """(1 + RESAMPLES, blocks) how often each block is held: once each, then resampled; a stream of its own a side."""
    drawn = np.random.default_rng((SEED, number)).multinomial(blocks, np.full(blocks, 1 / blocks), RESAMPLES)
    return np.vstack([np.ones(blocks), drawn])


class _Side:
    """Blocks of one cluster, with the resamples that all its edges share."""

    def __init__(self, blocks: pd.DataFrame, number: int):
        keys = blocks.groupby(["recording", "block"], sort=True)["windows"].max()
        place = {key: n for n, key in enumerate(keys.index)}
        draws = _draws(len(keys), number)
        self._draws = draws
        self._windows = keys.to_numpy(float)
        where = np.array([place[key] for key in zip(blocks["recording"], blocks["block"], strict=True)])
        self._by_edge: dict[tuple[Any, ...], tuple[NDArray[np.int64], Floats]] = {
            tuple(edge): (where[rows], blocks.iloc[rows][_SUMS].to_numpy(float))
            for edge, rows in cast(Any, blocks.reset_index(drop=True).groupby(EDGE, sort=True).indices).items()
        }
        self.edges = list(self._by_edge)
        entry = [edge for edge in self.edges if edge[0] == USERS]
        self._users = sum((self._resampled(e)[:, _SUMS.index("exchanges")] for e in entry), np.zeros(RESAMPLES + 1))

    def _resampled(self, edge: tuple[object, ...]) -> Floats:
        """(1 + RESAMPLES, sums)."""
        out = np.zeros((len(self._windows), len(_SUMS)))
        if edge in self._by_edge:
            where, values = self._by_edge[edge]
            np.add.at(out, where, values)
        return np.asarray(self._draws @ out)

    def sums(self, edge: tuple[object, ...]) -> dict[str, Floats]:
        """Sums of an edge over all blocks and over each resample, and the users' requests of the same blocks."""
        found = dict(zip(_SUMS, self._resampled(edge).T, strict=True))
        return found | {"users": self._users, "windows": self._draws @ self._windows}


def _residuals(table: pd.DataFrame, known: dict[tuple[object, ...], dict[str, object]]) -> Iterator[dict[str, object]]:
    """Scatter of what is left unexplained, as a share of the mean: replies of each edge, names where it carries DNS."""
    replies = table[table["counter"].isin(["response_payload_bytes", "dns_name_bytes"])]
    for key, part in replies.groupby(["app", *EDGE, "counter"], sort=True):
        row = known.get(tuple(key[:-1]))
        sides = [part[part["cluster"] == cluster] for cluster in (REAL, MODEL)]
        if row is None or row["verdict"] == ABSENT or any(not side["observed"].sum() for side in sides):
            continue
        head = {name: row[name] for name in ("app", *EDGE, f"exchanges_{REAL}", f"exchanges_{MODEL}")}
        yield head | _row(RESIDUAL, *(_unexplained(side.sort_values("window"), n) for n, side in enumerate(sides)))


def _unexplained(side: pd.DataFrame, number: int) -> Floats:
    off = (side["observed"] - side["expected"]).to_numpy(float)
    block = np.arange(len(off)) // RESIDUAL_BLOCK
    sums = np.stack([np.bincount(block, w) for w in (np.ones(len(off)), off, off**2, side["observed"].to_numpy(float))])
    count, total, squares, observed = sums @ _draws(sums.shape[1], number).T
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.maximum(squares / count - (total / count) ** 2, 0.0) / (observed / count) ** 2
    return np.asarray(np.sqrt(share + FLOOR**2))
