"""Numbers in words: measures of metrics.json as a reader wants to see them, and the verdict in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimir.report.load import RunFiles
from mimir.units import DAY_S, format_bytes, format_duration

PER_DAY = ("false_alerts_per_day",)
SHARES = (
    "event_recall", "undetected_share", "false_positive_rate", "recall", "path_top1", "path_top3", "size_error_median",
    "size_coverage",
)  # fmt: skip
#: the same, short enough for a column heading
SHORT_LABELS = {
    "event_recall": "Detected",
    "delay_median_s": "Delay, median",
    "delay_p90_s": "Delay, 90 %",
    "bytes_before_alert_median": "Lost, median",
    "false_alerts_per_day": "False alerts a day",
    "average_precision": "Average precision",
    "f1": "F1",
    "path_top1": "Path right",
}
LABELS = {
    "event_recall": "Incidents detected",
    "undetected_share": "Incidents missed",
    "delay_median_s": "Delay to the first alert, median",
    "delay_p90_s": "Delay to the first alert, 90th percentile",
    "bytes_before_alert_median": "Lost before the first alert, median",
    "false_alerts_per_day": "False alerts a day",
    "false_positive_rate": "False-positive rate, windows",
    "average_precision": "Average precision",
    "precision": "Precision at the threshold",
    "precision_monthly": "Precision at one incident a month",
    "recall": "Recall of windows at the threshold",
    "f1": "F1 at the threshold",
    "oracle_f1": "Oracle F1 (best threshold, chosen afterwards)",
    "auroc": "Area under the ROC curve",
    "path_top1": "Path named right (first named)",
    "path_top3": "Path named right (among three)",
    "size_error_median": "Relative error of the leak size, median",
    "size_coverage": "Leak size inside its interval",
    "partial_auroc": "Area under the ROC curve up to 1 % false positives",
}


def plain(number: float) -> str:
    """A plain number with three significant digits, no exponent where it can be helped.

    >>> plain(0.0), plain(2.0), plain(0.12345), plain(1234567.0), plain(0.0000123)
    ('0', '2', '0.123', '1,234,567', '1.2e-05')
    """
    if number == 0:
        return "0"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.2g}" if abs(number) < 0.001 else f"{number:.3g}"


def percent(share: float) -> str:
    """A share in per cent.

    >>> percent(1.0), percent(0.0), percent(0.123), percent(0.00069), percent(-1.0), percent(4.24)
    ('100 %', '0 %', '12.3 %', '0.069 %', '-100 %', '424 %')
    """
    value = share * 100
    size = abs(value)
    return f"{value:.0f} %" if size == 0 or size >= 100 else f"{value:.3g} %" if size >= 1 else f"{value:.2g} %"


def in_unit(name: str, value: float) -> str:
    """A measure in the unit its name tells.

    >>> in_unit("delay_median_s", 100), in_unit("bytes_before_alert_median", 166_000), in_unit("f1", 0.5)
    ('1 min 40 s', '166 kB', '0.5')
    """
    if name.endswith("_s"):
        return format_duration(value)
    if name.startswith("bytes_"):
        return format_bytes(value)
    if name in PER_DAY:
        return plain(value)
    return percent(value) if name in SHARES else plain(value)


@dataclass(frozen=True)
class Shown:
    """One measure ready to print: `value` is a dash where the measure is null, and then `reason` says why."""

    name: str
    label: str
    value: str
    interval: str
    basis: str  #: what it is computed from ("3 incidents")
    reason: str

    @property
    def short(self) -> str:
        """Label for a column heading."""
        return SHORT_LABELS.get(self.name, self.label)

    @property
    def known(self) -> bool:
        """False where the measure is null."""
        return not self.reason


def shown(name: str, measure: Mapping[str, Any] | None, basis: str = "") -> Shown:
    """Format a measure; a measure that is absent is shown like one that is null."""
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    if not measure or measure.get("value") is None:
        reason = (measure or {}).get("reason") or "not computed in this run"
        return Shown(name, label, "–", "", basis, reason)
    low, high = measure.get("low"), measure.get("high")
    interval = f"{in_unit(name, low)} to {in_unit(name, high)}" if low is not None and high is not None else ""
    return Shown(name, label, in_unit(name, measure["value"]), interval, basis, "")


@dataclass(frozen=True)
class Verdict:
    """`tone` is good, warn, bad or quiet (no leak was staged, nothing to detect)."""

    tone: str
    badge: str
    sentence: str


def verdict(run: RunFiles) -> Verdict:
    """The run in one sentence."""
    incidents = [row for row in run.incidents() if row["detected"] is not None]
    found = [row for row in incidents if row["detected"]]
    alarms, over = _false_alerts(run)
    if run.window()["test"]["prevalence"] is None:
        return Verdict(
            "quiet", "No ledger", f"What happened in this recording is not known (there is no ledger): {alarms}."
        )
    if not incidents:
        staged = "No leak was staged" if not run.incidents() else "No staged leak delivered a byte"
        badge = "No leak, over budget" if over else "No leak"
        return Verdict("warn" if over else "quiet", badge, f"{staged}; {alarms}.")
    sentence = f"{_detected(len(found), len(incidents))}{_cost(run, found, incidents)}; {alarms}."
    if not found:
        return Verdict("bad", "Not detected", sentence)
    if len(found) < len(incidents):
        return Verdict("warn", "Partly detected", sentence)
    return Verdict("warn", "Detected, over budget", sentence) if over else Verdict("good", "Detected", sentence)


def _detected(found: int, total: int) -> str:
    if total == 1:
        return "The one incident was detected" if found else "The one incident was not detected"
    if not found:
        return f"None of {total} incidents was detected"
    return f"{found} of {total} incidents {'was' if found == 1 else 'were'} detected"


def _cost(run: RunFiles, found: Sequence[Mapping[str, Any]], incidents: Sequence[Mapping[str, Any]]) -> str:
    """How soon and at what loss; without a detection, what was lost altogether."""
    if not found:
        return f", {format_bytes(sum(row['bytes_delivered'] for row in incidents))} left unseen"
    overall = run.window()["overall"]
    delay, lost = (shown(name, overall.get(name)) for name in ("delay_median_s", "bytes_before_alert_median"))
    median = "" if len(found) == 1 else " (median)"
    when = f", first alert after {delay.value}{median}" if delay.known else f", delay not known ({delay.reason})"
    return when + (f", {lost.value} lost before it" if lost.known else f", loss before it not known ({lost.reason})")


def _false_alerts(run: RunFiles) -> tuple[str, bool]:
    """Words on false alerts, and whether there were more than a kept budget would give one time in twenty (Poisson)."""
    budget, known = run.metrics["alerts_per_day"], run.window()["test"]["prevalence"] is not None
    benign_s = benign_windows(run) * run.primary_s
    count, expected = len(false_alerts(run)), budget * benign_s / DAY_S
    words = f"{count} {'false ' if known else ''}alert{'' if count == 1 else 's'} in {format_duration(benign_s)}"
    traffic = " of benign traffic" if run.incidents() else ""
    return f"{words}{traffic} (budget {plain(budget)} a day)", count > 0 and _poisson_tail(count, expected) < 0.05


def benign_windows(run: RunFiles) -> int:
    """Windows of the primary length in which nothing leaked (all of them where that is not known)."""
    test = run.window()["test"]
    return int(test["windows"] - (test["positive_windows"] or 0) - (test.get("excluded_windows") or 0))


def _poisson_tail(count: int, mean: float) -> float:
    """P(N ≥ count) for a Poisson variable."""
    term, below = math.exp(-mean), 0.0
    for k in range(count):
        below += term
        term *= mean / (k + 1)
    return 1.0 - below


def false_alerts(run: RunFiles) -> list[dict[str, Any]]:
    """Alerts of the primary window length that belong to no incident, nor to the time detectors need to recover from one."""
    mine = [alert for alert in run.alerts if alert["window_s"] == run.primary_s]
    return [alert for alert in mine if incident_of(alert, run.incidents(), recovery_s(run)) is None]


def recovery_s(run: RunFiles) -> float:
    """Seconds after an incident in which an alert is neither right nor wrong."""
    return float((run.spec.get("evaluation") or {}).get("recovery_s") or 0)


def incident_of(
    alert: Mapping[str, Any], incidents: Sequence[Mapping[str, Any]], slack_s: float = 0
) -> Mapping[str, Any] | None:
    """The incident an alert may belong to: its window overlaps it, or begins less than a window (or `slack_s`) after it."""
    start, end = alert["ts"], alert["ts"] + alert["window_s"]
    slack = max(alert["window_s"], slack_s)
    return next((r for r in incidents if start < r["end"] + slack and r["start"] < end), None)


def load_words(load: Mapping[str, Any]) -> str | None:
    """The load of a spec in a few words; None when it has none.

    >>> load_words({"name": "normal", "users": 100, "arrivals": "open", "test": {"users": 160, "mix": "buy_only"}})
    'normal, arrivals for 100 users; in the test 160 users, mix buy_only'
    """
    if not load.get("name"):
        return None
    opened = load.get("arrivals") == "open"
    if opened and load.get("sessions_per_min"):
        amount = f", {load['sessions_per_min']:g} sessions a minute arrive"
    elif load.get("users"):
        amount = f", {'arrivals for ' if opened else ''}{load['users']} users"
    else:
        amount = ", open arrivals" if opened else ""
    test = load.get("test") or {}
    changes = [f"{test['users']} users"] if test.get("users") else []
    changes += [f"{test['sessions_per_min']:g} sessions a minute"] if test.get("sessions_per_min") else []
    changes += [f"mix {test['mix']}"] if test.get("mix") else []
    return f"{load['name']}{amount}" + (f"; in the test {', '.join(changes)}" if changes else "")
