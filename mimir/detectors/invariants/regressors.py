"""Which request counts explain an edge: chosen by forward selection from a bounded set of candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.columns import NODE
from mimir.detectors.leakpaths import LeakPath
from mimir.flows.edges import EdgeKey, is_outside

Array = NDArray[np.float64]

MOST_CANDIDATES = 40
MOST_REGRESSORS = 8
WINDOWS_PER_REGRESSOR = 15  #: one regressor may be chosen per so many training windows
CUT = 5.0  #: robust standard deviations at which targets are cut for the selection


class Gram:
    """Weighted, centred inner products of all request counts: what forward selection needs, computed once."""

    def __init__(self, requests: Array):
        total = requests.sum(axis=1)
        # busy windows vary more: weigh them less
        self.weight = 1.0 / np.maximum(total / max(float(total.mean()), 1e-12), 0.2)
        self.centred = self._centre(requests)
        self.gram = self.centred.T @ self.centred
        self.norms = np.sqrt(np.diag(self.gram))

    def _centre(self, values: Array) -> Array:
        root = np.sqrt(self.weight)[:, None]
        mean = (values * self.weight[:, None]).sum(axis=0) / self.weight.sum()
        out: Array = (values - mean) * root
        return out

    def choose(self, target: Array, candidates: NDArray[np.int64], forced: Sequence[int], most: int) -> list[int]:
        """`forced` plus at most `most` candidates, greedily, while each still pays for itself (BIC; Schwarz 1978)."""
        y = self._centre(_cut(target)[:, None])[:, 0]
        usable = np.array([c for c in candidates if self.norms[c] > 0 and c not in forced], dtype=np.int64)
        pool = np.concatenate([np.array(list(forced), dtype=np.int64), usable])
        gram, side = self.gram[np.ix_(pool, pool)].copy(), self.centred[:, pool].T @ y
        left, first = float(y @ y), np.maximum(np.diag(gram).copy(), 1e-300)
        chosen: list[int] = []
        for step in range(min(len(pool), len(forced) + most)):
            diagonal = np.diag(gram)
            gain = np.where(diagonal > 1e-6 * first, side**2 / np.maximum(diagonal, 1e-300), 0.0)
            best = step if step < len(forced) else int(np.argmax(gain))
            price = left * np.log(len(y)) / max(len(y), 1)
            if step >= len(forced) and gain[best] <= price:
                break
            chosen.append(int(pool[best]))
            if gain[best] > 0:
                column = gram[:, best] / gram[best, best]
                left, side = left - gain[best], side - column * side[best]
                gram = gram - np.outer(column, gram[best])
        return chosen


def _cut(target: Array) -> Array:
    """Target with its few extreme values cut, so that they do not steer the selection."""
    middle = float(np.median(target))
    spread = 1.4826 * float(np.median(np.abs(target - middle)))
    return np.minimum(target, middle + CUT * spread) if spread > 0 else target


def most_regressors(windows: int) -> int:
    """How many regressors a training recording of this length can carry."""
    return int(np.clip(windows // WINDOWS_PER_REGRESSOR, 1, MOST_REGRESSORS))


def neighbours(keys: Sequence[EdgeKey], edge: int) -> NDArray[np.int64]:
    """Edges that touch the client or the server of `edge`, itself left out."""
    ends = {keys[edge].client, keys[edge].server}
    return np.array(
        [i for i, k in enumerate(keys) if i != edge and not _idle(k) and (k.client in ends or k.server in ends)][
            :MOST_CANDIDATES
        ],
        dtype=np.int64,
    )


def clean_candidates(
    keys: Sequence[EdgeKey], edge: int, paths: Sequence[LeakPath], activity: Array
) -> NDArray[np.int64]:
    """Edges whose request counts a leak over `edge` would not touch: user requests, and edges on no chain through `edge`.

    A leak adds its own requests to every edge of its chain, and they would explain it away; these counts stay clean.
    The busiest MOST_CANDIDATES are kept.
    """
    polluted = {hop.edge for path in paths if any(h.edge == edge for h in path.hops) for hop in path.hops}
    if not polluted:
        ends = (keys[edge].client, keys[edge].server)
        polluted = {i for i, k in enumerate(keys) if k.server == ends[0] or k.client == ends[1]}
    entries = {i for i, k in enumerate(keys) if is_outside(k.client)}
    usable = [
        i
        for i, k in enumerate(keys)
        if i != edge and not _idle(k) and (i in entries or i not in polluted) and activity[i] > 0
    ]
    usable.sort(key=lambda i: (i not in entries, -activity[i], i))
    return np.array(usable[:MOST_CANDIDATES], dtype=np.int64)


def _idle(key: EdgeKey) -> bool:
    """Probes from nodes follow the clock, not the users."""
    return key.client.startswith(NODE)
