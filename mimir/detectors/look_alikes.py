"""What else would explain a violation: benign events that look the same in the network, by what was broken."""

from __future__ import annotations

from dataclasses import replace

from mimir.detectors.base import Reason
from mimir.flows.edges import is_outside

DNS_PORT = 53
NEW_EDGE = (
    "a new release or dependency",
    "a backup or an export to a new place",
    "an update check or certificate renewal",
)
PAST_ADDRESS = (
    "a headless service or a client with its own load balancing",
    "connections that were open before recording began",
)
INSIDE = (
    "a bulk export or report by an administrator",
    "a cron job",
    "a cache that was emptied",
    "larger records than in training",
)
CALLS = ("clients that repeat failing calls", "a new release that calls more often", "a cron job")
LOOKUPS = (
    "pods that start or restart",
    "a shorter DNS cache or a new name to resolve",
    "clients that repeat failing look-ups",
)
OUTWARDS = (
    "a page that became larger",
    "a crawler or a download of everything by one user",
    "a flash crowd with another mix",
)
LASTING = ("a backup or an upload of logs that takes longer than before", "a long poll or a stream of events")
REPLICA = (
    "a user with unusually large records, bound to this pod",
    "a pod with a cold cache",
    "another version during a rolling update",
)


def look_alikes(reason: Reason) -> tuple[str, ...]:
    """Benign explanations that fit, most likely first."""
    dns, outside = reason.server_port == DNS_PORT, is_outside(reason.client) or is_outside(reason.server)
    if reason.family == "I1":
        return NEW_EDGE
    if reason.family == "I2":
        return PAST_ADDRESS
    if reason.family == "I5":
        return REPLICA
    if dns:
        return LOOKUPS
    if reason.family == "I6" and is_outside(reason.server):
        return LASTING
    if reason.unit == "requests":
        return CALLS
    return OUTWARDS if outside else INSIDE


def with_context(reason: Reason, window_start: int) -> Reason:
    """The reason with its look-alikes, and the window as its beginning where the family knows no earlier one."""
    return replace(
        reason,
        look_alikes=reason.look_alikes or look_alikes(reason),
        since=window_start if reason.since is None else reason.since,
    )
