"""Is a simulated cluster possible? Rules for conf/cluster/simulated.yaml, every broken one reported."""

from __future__ import annotations

from collections.abc import Iterator

from mimir.cluster.addresses import address_problems
from mimir.cluster.simulated.layout import FIRST_SERVICE, SERVICE_STEP
from mimir.errors import Problem
from mimir.spec.app import AppSpec
from mimir.spec.cluster import SimulatedSpec

_ADDRESSES = ("node", "dns_service", "api_service", "resolver", "sink")
_WHERE = "set it in conf/cluster/simulated.yaml or on the command line"
_SPARE = 16  # addresses at the ends of a network that stay free


def check_cluster(cluster: SimulatedSpec, app: AppSpec) -> list[Problem]:
    """Problems of a simulated cluster for an application; empty when recordings can be rendered."""
    return [*_addresses(cluster, app), *_transport(cluster), *_dns(cluster), *_time(cluster), *_change(cluster, app)]


def _addresses(cluster: SimulatedSpec, app: AppSpec) -> Iterator[Problem]:
    room = {
        "pods": sum(s.replicas for s in app.services.values()) + cluster.dns.replicas + _SPARE,
        "services": FIRST_SERVICE + SERVICE_STEP * len(app.services) + _SPARE,
        "clients": 2 * _SPARE,
    }
    yield from address_problems(cluster.addresses, room, _ADDRESSES, _WHERE)


def _transport(cluster: SimulatedSpec) -> Iterator[Problem]:
    tcp = cluster.transport
    where = "cluster.transport"
    if not 1 <= tcp.segment_bytes <= 65_000:
        yield Problem(f"{where}.segment_bytes", f"is out of range (got {tcp.segment_bytes})", "1 … 65000", _WHERE)
    if not 0 <= tcp.offload_bytes <= 65_483:
        yield Problem(f"{where}.offload_bytes", f"is out of range (got {tcp.offload_bytes})", "0 … 65483", _WHERE)
    if not 2 <= tcp.initial_window_segments <= tcp.max_window_segments:
        got = f"{tcp.initial_window_segments} and {tcp.max_window_segments}"
        yield Problem(
            f"{where}.initial_window_segments", f"and max_window_segments are {got}", "2 ≤ initial ≤ max", _WHERE
        )
    if not 0 <= tcp.retransmit_probability <= 1:
        yield Problem(
            f"{where}.retransmit_probability", f"must be in 0 … 1 (got {tcp.retransmit_probability:g})", next=_WHERE
        )
    if min(tcp.retransmit_timeout_ms, tcp.delayed_ack_ms, tcp.quick_acks) < 0:
        yield Problem(where, "has a negative retransmit_timeout_ms, delayed_ack_ms or quick_acks", "≥ 0", _WHERE)
    if not 0 <= tcp.copy_delay_us[0] <= tcp.copy_delay_us[1]:
        yield Problem(f"{where}.copy_delay_us", f"must be 0 ≤ low ≤ high (got {list(tcp.copy_delay_us)})", next=_WHERE)
    for key in ("turnaround_us", "client_rtt_ms", "outside_rtt_ms"):
        yield from _lognormal(f"{where}.{key}", getattr(tcp, key))


def _dns(cluster: SimulatedSpec) -> Iterator[Problem]:
    dns = cluster.dns
    if dns.replicas < 1:
        yield Problem("cluster.dns.replicas", f"must be ≥ 1 (got {dns.replicas})", "1, 2 …", _WHERE)
    if dns.cache_s < 0 or dns.ndots < 0:
        yield Problem("cluster.dns", f"has cache_s {dns.cache_s:g} and ndots {dns.ndots}", "both ≥ 0", _WHERE)
    if min(dns.watch_every_s, dns.probe.every_s) <= 0:
        yield Problem("cluster.dns", "has a watch_every_s or probe.every_s that is not > 0", "> 0", _WHERE)
    for key in ("answer_us", "resolver_ms"):
        yield from _lognormal(f"cluster.dns.{key}", getattr(dns, key))


def _time(cluster: SimulatedSpec) -> Iterator[Problem]:
    if not 1 <= cluster.slice_s <= 3600 or cluster.slice_s != int(cluster.slice_s):
        yield Problem("cluster.slice_s", f"must be whole seconds (got {cluster.slice_s:g})", "1 … 3600", _WHERE)
    if not 0 <= cluster.content_share <= 1:
        yield Problem("cluster.content_share", f"must be in 0 … 1 (got {cluster.content_share:g})", next=_WHERE)
    if not 0 <= cluster.content_memory < 1:
        yield Problem(
            "cluster.content_memory", f"is out of range (got {cluster.content_memory:g})", "0 … below 1", _WHERE
        )


def _change(cluster: SimulatedSpec, app: AppSpec) -> Iterator[Problem]:
    """The control loop and the life of pods that come and go."""
    hpa, pods = cluster.hpa, cluster.pods
    if cluster.autoscaling and not app.autoscaling:
        yield Problem("cluster.autoscaling", f"is on, but app={app.name} has no autoscalers", "false",
                      f"define app.autoscaling in conf/app/{app.name}.yaml")  # fmt: skip
    for key in ("sync_s", "cpu_share"):
        if getattr(hpa, key) <= 0:
            yield Problem(f"cluster.hpa.{key}", f"must be > 0 (got {getattr(hpa, key):g})", next=_WHERE)
    for key in ("tolerance", "stabilization_s", "up_pods", "up_percent", "idle_millicores"):
        if getattr(hpa, key) < 0:
            yield Problem(f"cluster.hpa.{key}", f"must be ≥ 0 (got {getattr(hpa, key):g})", next=_WHERE)
    if pods.remove_s < 0.5:
        yield Problem("cluster.pods.remove_s", f"must be ≥ 0.5 (got {pods.remove_s:g})", next=_WHERE)
    need = sum(s.replicas for s in app.services.values()) + cluster.dns.replicas + _SPARE
    need += sum(scaler.max_replicas for scaler in app.autoscaling.values()) if cluster.autoscaling else 0
    if pods.addresses < need:
        yield Problem("cluster.pods.addresses", f"are too few (got {pods.addresses})", f"≥ {need}", _WHERE)
    for key in ("start_s", "drain_s"):
        yield from _lognormal(f"cluster.pods.{key}", getattr(pods, key))


def _lognormal(where: str, pair: tuple[float, float]) -> Iterator[Problem]:
    if pair[0] <= 0 or pair[1] < 0:
        yield Problem(where, f"must be [median > 0, sigma ≥ 0] (got {list(pair)})", next=_WHERE)
