"""Is what makes an application change consistent: its autoscalers and its benign triggers?"""

from __future__ import annotations

from collections.abc import Iterator

from mimir.apps.around import unknown
from mimir.errors import Problem
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec

#: benign triggers there are
KINDS = ("node_drain", "pod_kill", "rolling_update", "scale_in", "scale_out")
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
        if trigger.pods.count < 1 or not trigger.pods.services:
            yield Problem(f"{where}.pods", "needs services and a count ≥ 1", "e.g. {services: [web], count: 1}")
        for name in trigger.pods.services:
            yield from _scaled(app, f"{where}.pods.services", name)


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
