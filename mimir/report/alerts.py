"""Alerts as a reader wants them: alerts that follow each other are one episode, equal reasons are said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mimir.report.load import RunFiles
from mimir.report.words import incident_of, plain, recovery_s
from mimir.units import format_bytes, format_duration, utc

MAX_EPISODES, MAX_REASONS = 25, 8


@dataclass(frozen=True)
class Reason:
    """One reason, with how many alerts of the episode gave it. Numbers are those of the strongest alert."""

    family: str
    text: str
    edge: str
    observed: str
    expected: str
    count: int


@dataclass(frozen=True)
class Episode:
    """Alerts of one window length, each beginning when the one before it ends (or sooner)."""

    start: str
    duration: str
    window_s: int
    alerts: int
    score: str  #: of the strongest alert
    ratio: str  #: that score over the threshold
    truth: str  #: the incident it belongs to, or ""
    echo: bool  #: that incident was over: the detector was recovering from it, which is neither right nor wrong
    path: list[str]
    pods: list[str]
    technique: str
    leaked: str  #: estimate over the episode with its interval, or ""
    since: str  #: first window that the strongest alert rests on, or ""
    look_alikes: list[str]  #: benign events that would look the same
    display_filter: str  #: Wireshark filter for the packets of the strongest alert, or ""
    reasons: list[Reason] = field(default_factory=list)
    reasons_hidden: int = 0

    @classmethod
    def of(cls, group: Sequence[dict[str, Any]], run: RunFiles) -> Episode:
        """What is said of alerts that follow each other, all on windows of one length."""
        return _episode(group, run)


@dataclass(frozen=True)
class AlertTable:
    """Episodes to print (primary window length first) and how much is not printed."""

    episodes: list[Episode]
    episodes_hidden: int
    alerts: int


def alert_table(run: RunFiles) -> AlertTable:
    """All alerts grouped, window lengths in the order of the run, each in time order; at most MAX_EPISODES are shown."""
    groups: list[list[dict[str, Any]]] = []
    for window_s in run.lengths:
        groups += episodes_of([alert for alert in run.alerts if alert["window_s"] == window_s])
    shown = longest(groups)
    return AlertTable([_episode(group, run) for group in shown], len(groups) - len(shown), len(run.alerts))


def longest(groups: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The MAX_EPISODES groups of most alerts, in the order they had; of equal ones the first."""
    ranked = sorted(range(len(groups)), key=lambda i: (-len(groups[i]), i))[:MAX_EPISODES]
    return [groups[i] for i in sorted(ranked)]


def episodes_of(alerts: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Alerts on windows of one length, grouped: each begins when the one before it ends, or sooner."""
    groups: list[list[dict[str, Any]]] = []
    for alert in sorted(alerts, key=lambda a: a["ts"]):
        if groups and alert["ts"] <= groups[-1][-1]["ts"] + 2 * alert["window_s"]:
            groups[-1].append(alert)
        else:
            groups.append([alert])
    return groups


def _episode(group: Sequence[dict[str, Any]], run: RunFiles) -> Episode:
    window_s = int(group[0]["window_s"])
    top = max(group, key=lambda alert: (alert["score"], -alert["ts"]))
    reasons = _reasons(group)
    names, echo = _incidents(group, run.incidents(window_s), 0), False
    if not names:
        names = _incidents(group, run.incidents(window_s), recovery_s(run))
        echo = bool(names)
    threshold = top.get("threshold") or 0
    return Episode(
        start=utc(group[0]["ts"]),
        duration=format_duration(group[-1]["ts"] + window_s - group[0]["ts"]),
        window_s=window_s,
        alerts=len(group),
        score=plain(top["score"]),
        ratio=f"{top['score'] / threshold:.3g} × threshold" if threshold > 0 else "",
        truth=", ".join(names),
        echo=echo,
        path=list(top.get("path") or []),
        pods=list(top.get("pods") or []),
        technique=top.get("technique") or "",
        leaked=_leaked(group),
        since=utc(top["since"]) if top.get("since") is not None else "",
        look_alikes=list(top.get("look_alikes") or []),
        display_filter=top.get("display_filter") or "",
        reasons=reasons[:MAX_REASONS],
        reasons_hidden=max(0, len(reasons) - MAX_REASONS),
    )


def _incidents(group: Sequence[Mapping[str, Any]], incidents: Sequence[Mapping[str, Any]], slack_s: float) -> list[str]:
    found = [incident_of(alert, incidents, slack_s) for alert in group]
    return list(dict.fromkeys(str(row["incident"]) for row in found if row))


def _leaked(group: Sequence[Mapping[str, Any]]) -> str:
    """Sum of the estimates of an episode, with the sum of the ends of their intervals."""
    sized = [alert for alert in group if alert.get("bytes_estimate") is not None]
    if not sized:
        return ""
    text = format_bytes(sum(alert["bytes_estimate"] for alert in sized))
    if all(alert.get("bytes_low") is not None and alert.get("bytes_high") is not None for alert in sized):
        low, high = (sum(alert[end] for alert in sized) for end in ("bytes_low", "bytes_high"))
        text += f" ({format_bytes(low)} to {format_bytes(high)})"
    return text


def _reasons(group: Sequence[Mapping[str, Any]]) -> list[Reason]:
    """Reasons of an episode, one for each (family, edge), the most frequent first."""
    found: dict[tuple[Any, ...], list[tuple[float, Mapping[str, Any]]]] = {}
    for alert in group:
        for reason in alert.get("reasons") or []:
            key = tuple(reason.get(k) for k in ("family", "client", "server", "server_port"))
            found.setdefault(key, []).append((alert["score"], reason))
    ranked = sorted(found.values(), key=lambda same: -len(same))
    return [_reason(max(same, key=lambda pair: pair[0])[1], len(same)) for same in ranked]


def _reason(reason: Mapping[str, Any], count: int) -> Reason:
    unit = str(reason.get("unit") or "")
    return Reason(
        family=str(reason.get("family", "")),
        text=str(reason.get("text", "")),
        edge=f"{reason.get('client', '')} → {reason.get('server', '')}:{reason.get('server_port', '')}",
        observed=_amount(reason.get("observed"), unit),
        expected=_amount(reason.get("expected"), unit),
        count=count,
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return format_bytes(value) if unit == "bytes" else f"{plain(value)} {unit}".strip()
