"""Is a recording worth anything? Every reason why not is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mimir.errors import MimirError
from mimir.exfiltration.ledger import LedgerEntry
from mimir.spec.cluster import NetnsLimitsSpec

MOST_EXCUSED = 0.2  #: share of requests that a change of pods may cost: beyond it the load was not there


def check_worth(
    limits: NetnsLimitsSpec, facts: dict[str, Any], ledger: list[LedgerEntry], span_s: tuple[float, float]
) -> None:
    """MimirError with all reasons for which the recording must not be used."""
    reasons = list(_reasons(limits, facts, ledger, span_s))
    if reasons:
        raise MimirError("the recording is not worth anything:\n" + "\n".join(f"  {reason}" for reason in reasons))


def _reasons(
    limits: NetnsLimitsSpec, facts: dict[str, Any], ledger: list[LedgerEntry], span_s: tuple[float, float]
) -> Iterator[str]:
    requests = facts["requests"]
    due = requests["due"]
    if due == 0 or requests["done"] == 0:
        yield f"of {due} requests that were due none was answered"
    for name, limit in (("failed", limits.failed_share), ("late", limits.late_share)):
        if due and requests[name] / due > limit:
            yield (
                f"{requests[name]} of {due} requests {'were late' if name == 'late' else 'failed'} "
                f"({requests[name] / due:.1%}, allowed {limit:.1%}: cluster.limits.{name}_share); ask for fewer load.users"
            )
    excused = requests["excused"]
    if due and excused / due > MOST_EXCUSED:
        yield (
            f"{excused} of {due} requests failed because pods came and went ({excused / due:.1%}, allowed {MOST_EXCUSED:.0%}); "
            "ask for fewer load.triggers, smaller ones (app.triggers.<kind>.pods) or shorter ones (cluster.pods.start_s)"
        )
    offered = facts["packets"] + facts["dropped"]
    if facts["dropped"] > limits.dropped_share * max(1, offered):
        yield (
            f"the kernel dropped {facts['dropped']} of {offered} packets (allowed {limits.dropped_share:.2%}: "
            "cluster.limits.dropped_share); ask for fewer load.users or a larger cluster.ring_mb"
        )
    first_s = min([span_s[0], *(entry.start for entry in ledger)])
    last_s = max(entry.end for entry in ledger) if ledger else span_s[0]
    if not facts["packets"] or facts["first_s"] > first_s or facts["last_s"] < last_s:
        yield f"the capture ({facts['first_s']:.3f} … {facts['last_s']:.3f}) does not hold all from {first_s:.3f} to {last_s:.3f}"
    for entry in ledger:
        lost = entry.bytes_intended - entry.bytes_delivered
        if lost > limits.lost_leak_share * entry.bytes_intended:
            yield f"{entry.incident}: {lost} of {entry.bytes_intended} stolen bytes did not arrive (cluster.limits.lost_leak_share)"
        elif lost == 0 and entry.sha256_sent != entry.sha256_received:
            yield f"{entry.incident}: what arrived is not what was sent (SHA-256)"
        if entry.end > span_s[1]:
            yield f"{entry.incident}: arrived {entry.end - span_s[1]:.1f} s after the recording"
