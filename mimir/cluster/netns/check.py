"""Can this spec run in network namespaces? Every reason why not is reported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mimir.apps.change import POD_KINDS
from mimir.cluster.addresses import address_problems
from mimir.cluster.netns.changes import REJOINS
from mimir.cluster.netns.locust_users import unfit
from mimir.cluster.netns.real.base import real_entry
from mimir.cluster.netns.requirements import lacking
from mimir.cluster.simulated.check import _WHERE as _WHERE_SIMULATED
from mimir.cluster.simulated.check import _change as change_problems
from mimir.errors import Problem
from mimir.exfiltration.channels.tools import TOOLS
from mimir.spec import Spec
from mimir.spec.cluster import NetnsSpec

_WHERE = "set it in conf/cluster/netns.yaml or on the command line"
_SPARE = 16
_FIRST_SERVICE = 256
MOST_PODS = 500
MOST_OFFLOAD = 65_159  # with its headers a frame has 64 KiB, as much as the kernel glues together (GSO_MAX_SIZE)
CHANNELS = (
    "none", "raw_tcp", "http_relay", "http_post", "https", "cloud_storage", "smtp", "drip", "slow_headers", "response_stuffing",
    "dns_tunnel", "icmp", *TOOLS,
)  # fmt: skip  #: acted out with real sockets


def check_netns(cluster: NetnsSpec, spec: Spec) -> list[Problem]:
    """Problems of a testbed for a spec; empty when it can be built."""
    return [*_addresses(cluster, spec), *_numbers(cluster), *_life(cluster, spec), *_cannot(spec)]


def _addresses(cluster: NetnsSpec, spec: Spec) -> Iterator[Problem]:
    pods = sum(s.replicas for s in spec.app.services.values() if s.kind != "external") + cluster.dns.replicas
    if pods > MOST_PODS:
        yield Problem(
            "app.services", f"have {pods} pods in all", f"at most {MOST_PODS} on one machine", "use fewer replicas"
        )
    room = {"pods": pods + _SPARE, "services": _FIRST_SERVICE + len(spec.app.services) + _SPARE, "clients": 2 * _SPARE}
    single = ("node", "dns_service", "resolver", "sink")
    yield from address_problems(cluster.addresses, room, single, _WHERE)


def _numbers(cluster: NetnsSpec) -> Iterator[Problem]:
    positive = {
        "dns.replicas": cluster.dns.replicas, "dns.timeout_s": cluster.dns.timeout_s, "ring_mb": cluster.ring_mb,
        "locust_start_s": cluster.locust_start_s,
        "request_timeout_s": cluster.request_timeout_s, "dns.resolver_ms": cluster.dns.resolver_ms[0],
        "dns.probe.every_s": cluster.dns.probe.every_s,
    }  # fmt: skip
    for key, value in positive.items():
        if value <= 0:
            yield Problem(f"cluster.{key}", f"must be > 0 (got {value:g})", next=_WHERE)
    if not 0 <= cluster.offload_bytes <= MOST_OFFLOAD:
        got = f"is out of range (got {cluster.offload_bytes})"
        yield Problem("cluster.offload_bytes", got, f"0 … {MOST_OFFLOAD}", _WHERE)
    for key in ("warmup_s", "drain_s"):
        if getattr(cluster, key) < 0:
            yield Problem(f"cluster.{key}", f"must be ≥ 0 (got {getattr(cluster, key):g})", next=_WHERE)
    for key in ("failed_share", "late_share", "dropped_share", "lost_leak_share"):
        value = getattr(cluster.limits, key)
        if not 0 <= value <= 1:
            yield Problem(f"cluster.limits.{key}", f"is out of range (got {value:g})", "0 … 1", _WHERE)


def _life(cluster: NetnsSpec, spec: Spec) -> Iterator[Problem]:
    """The control loop and the life of pods that come and go: the simulated cluster's rules."""
    simulated: Any = cluster  # both have what is looked at
    for problem in change_problems(simulated, spec.app):
        yield replace(problem, next=_WHERE) if problem.next == _WHERE_SIMULATED else problem


def _cannot(spec: Spec) -> Iterator[Problem]:
    """What other clusters can do and this one cannot."""
    instead = "leave it out or choose cluster=simulated"
    yield from _changes(spec, instead)
    if (
        spec.cluster.name == "netns"
        and spec.cluster.load_driver == "locust"
        and (why := unfit(spec.app, real=real_entry(spec)))
    ):
        yield Problem("cluster.load_driver", why, "builtin", "leave it out or choose another application")
    if spec.exfiltration.channel not in CHANNELS:
        got = f"is {spec.exfiltration.channel}, which cluster=netns does not act out"
        yield Problem("exfiltration.channel", got, ", ".join(CHANNELS), instead)
    dns = spec.exfiltration.dns
    if spec.exfiltration.channel == "tool_dns2tcp" and dns and dns.record_type != "TXT":
        got = f"is {dns.record_type}, which dns2tcp does not ask for"
        yield Problem("exfiltration.dns.record_type", got, "TXT", "leave it out")
    for need in lacking(spec.exfiltration.channel):
        got = f"is {spec.exfiltration.channel}, which needs {need.name}"
        yield Problem("exfiltration.channel", got, next=need.how_to_meet)
    if spec.cluster.name == "netns" and spec.exfiltration.channel != "none":
        external = [
            n for n in spec.exfiltration.path if n in spec.app.services and spec.app.services[n].kind == "external"
        ]
        if external:
            yield Problem(
                "exfiltration.path", f"passes {', '.join(external)}, which is beyond the cluster", next=instead
            )


def _changes(spec: Spec, instead: str) -> Iterator[Problem]:
    """Triggers and autoscalers that are not acted out."""
    real = real_entry(spec)
    possible = (REJOINS,) if real else POD_KINDS
    if others := [kind for kind in spec.load.triggers if kind not in possible]:
        whose = "real programs do" if real else "cluster=netns does"
        got = f"include {', '.join(others)}, which {whose} not act out"
        yield Problem("load.triggers", got, ", ".join(possible), instead)
    if real and isinstance(spec.cluster, NetnsSpec) and spec.cluster.autoscaling:
        got = "needs pods that come and go, which real programs do not"
        yield Problem("cluster.autoscaling", got, "false", "leave it out or set cluster.real_stores=false")
