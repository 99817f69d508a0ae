"""Was each leak seen, how soon, how much had gone by then, and was the right path named?

The rule, for windows [w, w + W): an alert belongs to an incident when the incident had delivered its first byte before
w + W, and w is not later than one window after the incident's end (the last bytes may still be on their way). An alert
can only be raised when its window is complete, so the delay is w + W − start, and all bytes delivered before w + W are
lost. Nothing else is adjusted: a detected incident makes no window right that did not alert by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.evaluation.intervals import UNKNOWN, percentiles, proportion
from mimir.evaluation.localisation import named_paths, same_path
from mimir.evaluation.measure import Measure, measure, undefined
from mimir.exfiltration.ledger import LedgerEntry, delivered_at

#: measures of this module, in the order they are printed
EVENT_MEASURES = (
    "event_recall",
    "undetected_share",
    "delay_median_s",
    "delay_p90_s",
    "bytes_before_alert_median",
    "path_top1",
    "path_top3",
)


@dataclass(frozen=True)
class Outcome:
    """What became of one incident at one window length. `detected` is None when there was nothing to detect."""

    leak: LedgerEntry
    window_s: int
    detected: bool | None
    reason: str = ""  #: why `detected` is None
    first_alert: int | None = None  #: start of the first alerting window, UTC epoch seconds
    delay_s: float | None = None
    bytes_before_alert: float | None = None
    paths: tuple[tuple[str, ...], ...] = ()  #: paths the first alert names, most likely first

    def path_correct(self, among: int = 1) -> bool | None:
        """Is the true path among the first few named? None when the incident was missed or no path was named."""
        if not self.detected or not self.paths:
            return None
        return any(same_path(p, self.leak.path) for p in self.paths[:among])

    def row(self) -> dict[str, Any]:
        """The incident as metrics.json lists it."""
        leak = self.leak
        return {
            "incident": leak.incident,
            "window_s": self.window_s,
            "path_class": leak.path_class,
            "technique": leak.technique,
            "path": list(leak.path),
            "start": leak.start,
            "end": leak.end,
            "bytes_delivered": leak.bytes_delivered,
            "detected": self.detected,
            "reason": self.reason or None,
            "first_alert": self.first_alert,
            "delay_s": self.delay_s,
            "bytes_before_alert": self.bytes_before_alert,
            "path_named": list(self.paths[0]) if self.paths else [],
            "path_correct": self.path_correct(),
        }


def belongs(leak: LedgerEntry, starts: NDArray[np.int64], window_s: int) -> NDArray[np.bool_]:
    """Which windows may detect the incident (the rule above); boolean, same shape as `starts`."""
    started = delivered_at(leak, starts + window_s) > 0
    return np.asarray(started & (starts < leak.end + window_s))


def outcome(
    leak: LedgerEntry,
    starts: NDArray[np.int64],
    alerting: NDArray[np.bool_],
    window_s: int,
    alerts: Mapping[int, Mapping[str, Any]],
) -> Outcome:
    """Judge one incident. `starts` (T,) ascending, `alerting` (T,); `alerts`: window start → row of alerts.jsonl."""
    if leak.bytes_delivered <= 0:
        return Outcome(leak, window_s, None, "no byte was delivered")
    mine = belongs(leak, starts, window_s)
    if not mine.any():
        return Outcome(leak, window_s, None, "no scored window covers it")
    hits = np.flatnonzero(mine & alerting)
    if not len(hits):
        return Outcome(leak, window_s, False)
    first = int(starts[hits[0]])
    complete = first + window_s
    lost = float(delivered_at(leak, complete))
    paths = named_paths(alerts.get(first, {}))
    return Outcome(leak, window_s, True, "", first, complete - leak.start, lost, paths)


def event_measures(
    outcomes: Sequence[Outcome], confidence: float, resamples: int, rng: np.random.Generator
) -> dict[str, Measure]:
    """One measure per name of EVENT_MEASURES; the incident is the unit of every interval."""
    judged = [o for o in outcomes if o.detected is not None]
    if not judged:
        return dict.fromkeys(EVENT_MEASURES, undefined("no incident delivered bytes in the test recording"))
    seen = [o for o in judged if o.detected]
    draws = rng.integers(0, max(1, len(seen)), size=(resamples, len(seen)))
    delays = np.asarray([o.delay_s for o in seen], dtype=np.float64)
    lost = np.asarray([o.bytes_before_alert for o in seen], dtype=np.float64)
    return {
        "event_recall": _share(len(seen), len(judged), confidence),
        "undetected_share": _share(len(judged) - len(seen), len(judged), confidence),
        "delay_median_s": _quantile(delays, 0.5, draws, confidence),
        "delay_p90_s": _quantile(delays, 0.9, draws, confidence),
        "bytes_before_alert_median": _quantile(lost, 0.5, draws, confidence),
        "path_top1": _localised(seen, 1, confidence),
        "path_top3": _localised(seen, 3, confidence),
    }


def _share(hits: int, trials: int, confidence: float) -> Measure:
    return measure(hits / trials, *proportion(hits, trials, confidence))


def _quantile(values: NDArray[np.float64], q: float, draws: NDArray[np.int64], confidence: float) -> Measure:
    """Quantile over detected incidents (bootstrap over incidents when there are at least two)."""
    if not len(values):
        return undefined("no incident was detected")
    interval = percentiles(np.quantile(values[draws], q, axis=1), confidence) if len(values) > 1 else UNKNOWN
    return measure(float(np.quantile(values, q)), *interval)


def _localised(seen: Sequence[Outcome], among: int, confidence: float) -> Measure:
    """Share of detected incidents whose path is right; naming none is wrong, unless the detector never names any."""
    if not seen:
        return undefined("no incident was detected")
    if not any(o.paths for o in seen):
        return undefined("the detector names no paths")
    return _share(sum(o.path_correct(among) is True for o in seen), len(seen), confidence)
