"""What needs no namespace: rules, addresses, problems, DNS messages, and when a recording is worth nothing."""

from __future__ import annotations

import asyncio
import socket
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimir.cluster.__main__ import doctor
from mimir.cluster.netns.check import check_netns
from mimir.cluster.netns.cluster import NetnsCluster
from mimir.cluster.netns.dns import KubeDns, first_address, question_of
from mimir.cluster.netns.layout import Layout, Pod
from mimir.cluster.netns.network import rules
from mimir.cluster.netns.worth import check_worth
from mimir.errors import MimirError
from mimir.exfiltration.dns_messages import query_message
from mimir.exfiltration.ledger import LedgerEntry
from mimir.spec import Spec
from mimir.spec.build import from_plain
from mimir.spec.cluster import NetnsSpec
from tests.support.specs import plain


@cache
def values() -> dict[str, Any]:
    return plain(["cluster=netns"])


def shop(*overrides: str) -> Spec:
    """The usual spec with `dotted.key=value` changed, without composing it again."""
    changed = deepcopy(values())
    for override in overrides:
        path, _, value = override.partition("=")
        *parents, key = path.split(".")
        node = changed
        for name in parents:
            node = node[name]
        node[key] = yaml.safe_load(value)
    return from_plain(changed)


def layout() -> Layout:
    assert isinstance(shop().cluster, NetnsSpec)
    return Layout(shop().app, shop().cluster)


def test_service_addresses_are_balanced_and_what_leaves_is_masqueraded() -> None:
    text, lay = rules(layout()), layout()
    user = [pod.ip for pod in lay.pods_of("user")]
    expected = f"ip daddr {lay.service_ip['user']} tcp dport 80 dnat to numgen random mod 3 map {{ 0 : {user[0]}, 1 : {user[1]}, 2 : {user[2]} }}:80"
    assert expected in text
    assert f"tcp dport 27017 dnat to {lay.pods_of('user-db')[0].ip}:27017" in text
    assert "10.0.0.10 tcp dport 30001 dnat to numgen random mod 3" in text
    assert "udp dport 53" in text
    assert 'ip saddr 10.244.0.0/16 oifname "up0" snat to 10.0.0.10' in text


def test_every_pod_has_an_address_of_its_own() -> None:
    pods = layout().pods
    assert len({pod.ip for pod in pods}) == len({pod.name for pod in pods}) == len(pods)
    assert len(pods) == sum(s.replicas for s in shop().app.services.values() if s.kind != "external") + 2


def test_kube_dns_answers_for_its_zone() -> None:
    def connect() -> socket.socket:
        raise AssertionError("asked outside for a name of the cluster")

    server = KubeDns(layout(), connect, "kube-dns-0", {})

    def ask(name: bytes, kind: str) -> bytes:
        reply = asyncio.run(server.answer(query_message(name, kind, 77)))
        assert reply
        return reply

    found = ask(b"user.sock-shop.svc.cluster.local", "A")
    assert first_address(found) == layout().service_ip["user"]
    assert found[3] & 15 == 0
    assert ask(b"nobody.sock-shop.svc.cluster.local", "A")[3] & 15 == 3
    nodata = ask(b"user.sock-shop.svc.cluster.local", "AAAA")
    assert (nodata[3] & 15, first_address(nodata)) == (0, None)
    assert asyncio.run(server.answer(b"nonsense")) is None
    assert question_of(query_message(b"a.example", "TXT", 9))[:3] == (9, b"a.example", "TXT")


def test_changes_that_find_no_place_are_refused_before_anything_is_recorded() -> None:
    from mimir.pipeline.run import _misfits

    short = ("load.duration_s=110", "capture.windows_s=[5]", "detector.windows_s=[5]", "exfiltration.channel=none")
    assert not _misfits(shop(*short, "load.triggers=[pod_kill]", "app.triggers.pod_kill.duration_s=[2,3]"))
    (problem,) = _misfits(shop(*short, "load.triggers=[pod_kill,scale_in]"))
    assert "do not fit" in problem.what


def test_what_real_groups_of_databases_can_do_is_asked_of_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from mimir.cluster.netns import check

    moved = shop("load.triggers=[state_transfer,pod_kill]")
    (framed,) = [p for p in NetnsCluster(moved).problems() if p.where == "load.triggers" and "act out" in p.what]
    assert "state_transfer" in framed.what
    assert "pod_kill" not in framed.what
    monkeypatch.setattr(check, "real_entry", lambda spec: True)
    (real,) = [p for p in check_netns(moved.cluster, moved) if p.where == "load.triggers"]  # type: ignore[arg-type]
    assert "pod_kill" in real.what
    assert "state_transfer" not in real.what


@pytest.mark.parametrize(
    ("channel", "lacks"), [("https", "openssl"), ("cloud_storage", "openssl"), ("tool_iodine", "/dev/net/tun")]
)
def test_what_a_leak_needs_is_asked_for_before_anything_is_created(channel: str, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from mimir.cluster.netns import requirements as needs

    changed = shop(f"exfiltration.channel={channel}")
    monkeypatch.setattr(needs, "tool", lambda name: None if name == "openssl" else f"/usr/bin/{name}")
    monkeypatch.setattr(needs.os, "access", lambda path, mode: False)
    (problem,) = [p for p in check_netns(changed.cluster, changed) if p.where == "exfiltration.channel"]  # type: ignore[arg-type]
    assert lacks in problem.what
    assert problem.next


def test_requests_that_met_a_change_are_excused_whoever_sent_them(tmp_path: Path) -> None:
    from mimir.cluster.netns.locust_users import LocustUsers
    from mimir.cluster.netns.unrest import Unrest

    unrest = Unrest()
    unrest._spans = [[100.0, 110.0]]
    users = object.__new__(LocustUsers)
    users._unrest, users._out, users._from_ns, users._late_s = unrest, tmp_path, 0, 1.0
    users.due = users.done = users.failed = users.late = users.excused = 0
    users.latencies_s = []
    head = "ts,user,response_s,wait_s,ends,error"
    rows = [
        "90,a,1,0,0,refused",
        "99.5,b,1,0,0,refused",
        "111,c,0.1,0,0,reset",
        "113,d,0.1,0,0,reset",
        "105,e,0.1,0,0,",
    ]
    (tmp_path / "requests.csv").write_text("\n".join([head, *rows]) + "\n")
    users._read()
    assert (users.due, users.done, users.excused, users.failed) == (5, 1, 2, 2)


def test_a_connection_whose_handshake_fails_is_closed() -> None:
    from mimir.cluster.netns.lines import Lines, Streams
    from mimir.spec.app import EdgeSpec

    async def run() -> bool:
        made: list[asyncio.StreamWriter] = []

        async def connect() -> Streams:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            made.append(writer)
            return reader, writer

        async def refuse(streams: Streams) -> Any:
            raise ConnectionError("no")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            with pytest.raises(ConnectionError):
                async with Lines(EdgeSpec("a", "b", "kept", 1, 0), connect, refuse).use():
                    pass
            await made[0].wait_closed()
            return made[0].is_closing()

    assert asyncio.run(run())


def test_what_stands_for_nothing_real_is_refused() -> None:
    changed = shop("exfiltration.channel=synthetic")
    assert "exfiltration.channel" in {problem.where for problem in NetnsCluster(changed).problems()}


def test_locust_drives_http_only() -> None:
    changed = shop("cluster.load_driver=locust")
    entry = changed.app.services["front-end"]
    coded = replace(changed.app, services={**changed.app.services, "front-end": replace(entry, protocol="https")})
    assert "cluster.load_driver" not in {p.where for p in NetnsCluster(changed).problems()}
    assert "cluster.load_driver" in {p.where for p in NetnsCluster(replace(changed, app=coded)).problems()}
    assert "the package locust" in {r.name for r in NetnsCluster(changed).requirements()}
    assert "the package locust" not in {r.name for r in NetnsCluster(shop()).requirements()}


def test_triggers_that_move_data_are_refused_and_those_that_change_pods_are_not() -> None:
    changed = shop("load.triggers=[pod_kill,backup_store]")
    (problem,) = [p for p in NetnsCluster(changed).problems() if p.where == "load.triggers"]
    assert "backup_store" in problem.what
    assert "pod_kill" not in problem.what
    assert not NetnsCluster(shop("load.triggers=[pod_kill,scale_out]", "exfiltration.pacing=adaptive")).problems()


def test_service_addresses_follow_the_pods_that_are_ready() -> None:
    lay = layout()
    newcomer = Pod("user-new", "user", "sock-shop", "10.244.0.99")
    ready = {"user": [newcomer], "front-end": []}
    text = rules(lay, lambda service: ready.get(service, lay.pods_of(service)))
    assert "dnat to 10.244.0.99:80" in text
    assert not [pod.ip for pod in lay.pods_of("user") if f"{pod.ip}:" in text]
    assert "tcp dport 30001" not in text  # nobody is there: no way


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("cluster.addresses.pods=10.0.0.0/30", "cluster.addresses.pods"),
        ("cluster.addresses.clients=here", "cluster.addresses.clients"),
        ("cluster.addresses.sink=there", "cluster.addresses.sink"),
        ("cluster.ring_mb=0", "cluster.ring_mb"),
        ("cluster.drain_s=-1", "cluster.drain_s"),
        ("cluster.offload_bytes=70000", "cluster.offload_bytes"),
        ("cluster.hpa.sync_s=0", "cluster.hpa.sync_s"),
        ("cluster.pods.remove_s=0", "cluster.pods.remove_s"),
        ("cluster.pods.start_s=[0,1]", "cluster.pods.start_s"),
        ("cluster.pods.addresses=20", "cluster.pods.addresses"),
        ("cluster.limits.failed_share=2", "cluster.limits.failed_share"),
        ("app.services.user.replicas=1000", "app.services"),
    ],
)
def test_a_testbed_that_cannot_be_is_refused(override: str, where: str) -> None:
    changed = shop(override)
    assert isinstance(changed.cluster, NetnsSpec)
    (problem,) = [problem for problem in check_netns(changed.cluster, changed) if problem.where == where]
    assert "simulated" not in problem.next


GOOD: dict[str, Any] = {
    "packets": 1000, "dropped": 0, "first_s": 90.0, "last_s": 210.0,
    "requests": {"due": 100, "done": 100, "failed": 0, "late": 0, "excused": 0},
}  # fmt: skip
LEAK = LedgerEntry("a-1", "test", 120.0, 150.0, "raw_tcp", "T1041", "new_edge", ("db", "outside"), ("db-0", ""),
                   100, 100, "x", "x", ((150.0, 100),))  # fmt: skip


def limits() -> Any:
    assert isinstance(shop().cluster, NetnsSpec)
    return shop().cluster.limits  # type: ignore[union-attr]


def test_a_good_recording_passes() -> None:
    check_worth(limits(), GOOD, [LEAK], (100.0, 200.0))


@pytest.mark.parametrize(
    ("facts", "entry", "reason"),
    [
        ({"requests": {"due": 0, "done": 0, "failed": 0, "late": 0, "excused": 0}}, {}, "none was answered"),
        (
            {"requests": {"due": 100, "done": 90, "failed": 10, "late": 0, "excused": 0}},
            {},
            "10 of 100 requests failed",
        ),
        (
            {"requests": {"due": 100, "done": 100, "failed": 0, "late": 9, "excused": 0}},
            {},
            "9 of 100 requests were late",
        ),
        (
            {"requests": {"due": 100, "done": 70, "failed": 0, "late": 0, "excused": 30}},
            {},
            "30 of 100 requests failed because pods",
        ),
        ({"dropped": 500}, {}, "dropped 500 of 1500"),
        ({"first_s": 130.0}, {}, "does not hold all"),
        ({"last_s": 140.0}, {}, "does not hold all"),
        ({}, {"bytes_delivered": 60, "delivered": ((150.0, 60),)}, "40 of 100 stolen bytes"),
        ({}, {"sha256_received": "y"}, "not what was sent"),
        ({}, {"end": 205.0}, "after the recording"),
    ],
)
def test_a_bad_recording_says_why(facts: dict[str, Any], entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(MimirError, match=reason):
        check_worth(limits(), GOOD | facts, [replace(LEAK, **entry)], (100.0, 200.0))


def test_the_doctor_names_every_cluster() -> None:
    from mimir.cluster.registry import CLUSTERS

    text = doctor()
    assert not [name for name in CLUSTERS if f"cluster={name}" not in text]


def test_the_plan_says_how_long_it_takes() -> None:
    changed = shop("load.duration_s=1200", "exfiltration.incidents=1", "exfiltration.incident_duration_s=60")
    assert NetnsCluster(changed).plan(changed)["real_time_s"] == 3600


def test_what_is_missing_is_named_with_how_to_meet_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from mimir.cluster.netns import requirements as needs

    monkeypatch.setattr(needs.shutil, "which", lambda name, path: None)
    unmet = {need.name: need.how_to_meet for need in needs.requirements() if not need.met}
    assert unmet["the program nft"] == "install it: apt-get install nftables"
    assert unmet["the program ip"] == "install it: apt-get install iproute2"
    monkeypatch.setattr(needs.sys, "platform", "darwin")
    (need,) = needs.requirements()
    assert not need.met
    assert "darwin" in need.how_to_meet


def test_namespaces_that_the_kernel_refuses_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from mimir.cluster.netns import requirements as needs

    monkeypatch.setattr(needs, "_TRY", "raise OSError(1, 'unshare: Operation not permitted')")
    need = needs._namespaces()
    assert not need.met
    assert "unshare: Operation not permitted" in need.how_to_meet
    assert "sysctl" in need.how_to_meet
