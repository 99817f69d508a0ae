"""Is what makes an application change consistent: its autoscalers and its benign triggers?"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from mimir.apps.around import unknown
from mimir.errors import Problem
from mimir.spec.app import OUTSIDE, AppSpec
from mimir.spec.change import BenignSpec, TransferSpec
from mimir.spec.load import LoadSpec

#: benign triggers there are
POD_KINDS = ("node_drain", "pod_kill", "rolling_update", "scale_in", "scale_out")
TRANSFER_KINDS = (
    "backup_outside", "backup_store", "bulk_export", "cache_cold_start", "certificate_renewal", "cron_job",
    "image_update_check", "log_shipping", "retry_storm", "state_transfer",
)  # fmt: skip
KINDS = tuple(sorted(POD_KINDS + TRANSFER_KINDS))
NODE = "node"  # the cluster's node as the client of a transfer
_RECORDINGS = ("fit", "calibrate", "test")


def check_change(app: AppSpec) -> Iterator[Problem]:
    """Problems of `autoscaling` and `triggers`."""
    for name, scaler in app.autoscaling.items():
        where = f"app.autoscaling.{name}"
        yield from _scaled(app, where, name)
        if not 1 <= scaler.min_replicas <= scaler.max_replicas:
            got = f"{scaler.min_replicas} and {scaler.max_replicas}"
            yield Problem(f"{where}.min_replicas", f"and max_replicas are {got}", "1 ≤ min ≤ max")
        if scaler.target_percent <= 0 or scaler.request_millicores <= 0:
            got = f"{scaler.target_percent:g} and {scaler.request_millicores:g}"
            yield Problem(where, f"has target_percent and request_millicores {got}", "both > 0")
    for kind, trigger in app.triggers.items():
        where = f"app.triggers.{kind}"
        if kind not in KINDS:
            yield unknown(where, kind, KINDS, "trigger kind")
        if not 0 < trigger.duration_s[0] <= trigger.duration_s[1]:
            yield Problem(f"{where}.duration_s", f"must be 0 < low ≤ high (got {list(trigger.duration_s)})")
        yield from _pods(app, kind, where, trigger)
        for number, transfer in enumerate(trigger.transfers):
            yield from _transfer(app, f"{where}.transfers[{number}]", transfer)


def _pods(app: AppSpec, kind: str, where: str, trigger: BenignSpec) -> Iterator[Problem]:
    if kind in POD_KINDS and (trigger.pods is None or trigger.transfers):
        yield Problem(where, "changes pods", "pods, and an empty list of transfers")
    if kind in TRANSFER_KINDS and (trigger.pods is not None or not trigger.transfers):
        yield Problem(where, "transfers data", "pods: null, and at least one of transfers")
    if trigger.pods is not None:
        if trigger.pods.count < 1 or not trigger.pods.services:
            yield Problem(f"{where}.pods", "needs services and a count ≥ 1", "e.g. {services: [web], count: 1}")
        for name in trigger.pods.services:
            yield from _scaled(app, f"{where}.pods.services", name)


def _transfer(app: AppSpec, where: str, transfer: TransferSpec) -> Iterator[Problem]:
    inside = [name for name, service in app.services.items() if service.kind != "external"]
    for key, name, more in (("client", transfer.client, [OUTSIDE, NODE]), ("server", transfer.server, [OUTSIDE])):
        if name not in [*inside, *more]:
            yield unknown(f"{where}.{key}", name, [*inside, *more], "end of a transfer")
    outside = [transfer.client, transfer.server].count(OUTSIDE)
    if outside == 2 or (transfer.client == NODE and transfer.server != OUTSIDE):
        yield Problem(where, f"goes from {transfer.client} to {transfer.server}", "one end inside; node → outside")
    if (transfer.address is not None) != (outside == 1):
        yield Problem(f"{where}.address", f"is {transfer.address}", "an address where an end is outside, else null")
    elif transfer.address is not None and not _is_ipv4(transfer.address):
        yield Problem(f"{where}.address", f"is no IPv4 address (got {transfer.address!r})", "e.g. 192.0.2.77")
    if transfer.client == transfer.server and app.services[transfer.client].replicas < 2:
        yield Problem(where, f"is among the pods of {transfer.client}, which has one", "a service of two or more")
    if not 1 <= transfer.port <= 65_535:
        yield Problem(f"{where}.port", f"is no port (got {transfer.port})", "1 … 65535")
    if not 0 < transfer.total_bytes[0] <= transfer.total_bytes[1]:
        yield Problem(f"{where}.total_bytes", f"must be 0 < low ≤ high (got {list(transfer.total_bytes)})")
    for key in ("chunk_bytes", "other_bytes"):
        median, sigma = getattr(transfer, key)
        if median < 1 or sigma < 0:
            yield Problem(f"{where}.{key}", f"must be [median ≥ 1, sigma ≥ 0] (got [{median:g}, {sigma:g}])")
    if transfer.bytes_per_s <= 0:
        yield Problem(f"{where}.bytes_per_s", f"must be > 0 (got {transfer.bytes_per_s:g})")


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _scaled(app: AppSpec, where: str, name: str) -> Iterator[Problem]:
    if name not in app.services:
        yield unknown(where, name, app.services, "service")
    elif app.services[name].kind != "app":
        yield Problem(where, f"names {name}, which is no Deployment", "services of kind app")
    elif name in {replication.service for replication in app.replication}:
        yield Problem(where, f"names {name}, whose pods replicate", "services that do not")


def check_triggers(load: LoadSpec, app: AppSpec) -> Iterator[Problem]:
    """Problems of the triggers a load asks for."""
    where = f"set it in conf/load/{load.name}.yaml or on the command line"
    for kind in load.triggers:
        if kind not in KINDS:
            yield unknown("load.triggers", kind, KINDS, "trigger kind")
        elif kind not in app.triggers:
            have = ", ".join(app.triggers) or "none"
            yield Problem("load.triggers", f"{kind} is not defined for app={app.name}", have,
                          f"define app.triggers.{kind} in conf/app/{app.name}.yaml")  # fmt: skip
    if len(set(load.triggers)) != len(load.triggers):
        yield Problem("load.triggers", f"names a kind twice (got {load.triggers})", "each once; see load.trigger_count")
    if load.trigger_count < 1:
        yield Problem("load.trigger_count", f"must be ≥ 1 (got {load.trigger_count})", "1, 2 …", where)
    for name in load.trigger_recordings:
        if name not in _RECORDINGS:
            yield unknown("load.trigger_recordings", name, _RECORDINGS, "recording")
