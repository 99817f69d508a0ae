"""The real WordPress on Galera: browsed by Locust, stolen from, judged; and nothing of it stays when it is killed."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from mimir.capture import open_capture
from mimir.cluster.base import RecordingOrder
from mimir.cluster.netns.cluster import NetnsCluster
from mimir.cluster.netns.real.base import real_programs
from mimir.cluster.netns.real.processes import descendants
from mimir.cluster.netns.requirements import child_environment, tool
from mimir.cluster.netns.wordpress import packages
from mimir.flows.addresses import address_text
from mimir.spec.build import from_plain, to_dict
from tests.support.netns import ROOT, lines, need_namespaces, runs
from tests.support.specs import plain, spec

OVERRIDES = [
    "app=wordpress", "cluster=netns", "load=steady", "load.users=4", "load.duration_s=120", "capture.windows_s=[5]",
    "detector.windows_s=[5]", "cluster.warmup_s=3", "cluster.drain_s=3", "cluster.limits.late_share=0.5", "exfiltration=relay_chain",
    "exfiltration.incidents=1", "exfiltration.incident_duration_s=30", "exfiltration.tail_s=5", "exfiltration.gap_s=0",
]  # fmt: skip
MEMBERS, WEBS = [f"pxc-{n}" for n in range(3)], [f"wordpress-{n}" for n in range(4)]
GROUP, TRANSFER, SQL = 4567, 4444, 3306


def need_wordpress() -> None:
    """Skip the test, with the reason, where the packages are missing."""
    need_namespaces()
    if packages.missing():
        pytest.skip(f"not installed: {' '.join(packages.missing())}")


def test_the_generic_services_stand_in_where_packages_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda: ("galera-4", "rsync"))
    chosen = {value: spec(["app=wordpress", "cluster=netns", f"cluster.real_stores={value}"]) for value in ("auto", "true", "false")}  # fmt: skip
    assert [real_programs(chosen[value]) is not None for value in ("auto", "true", "false")] == [False, True, False]
    unmet = [need for need in NetnsCluster(chosen["true"]).requirements() if not need.met]
    assert any("apt-get install galera-4 rsync" in need.how_to_meet for need in unmet)
    assert not [need for need in NetnsCluster(chosen["auto"]).requirements() if "galera-4" in need.how_to_meet]
    locust = spec(["app=wordpress", "cluster=netns", "cluster.load_driver=locust", "cluster.real_stores=auto"])
    assert any("Locust HTTP only" in str(problem) for problem in NetnsCluster(locust).problems())
    monkeypatch.setattr(packages, "missing", lambda: ())
    assert not NetnsCluster(locust).problems()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    need_wordpress()
    if importlib.util.find_spec("locust") is None:
        pytest.skip("needs mimir[locust]")
    runs = tmp_path_factory.mktemp("runs")
    command = [
        sys.executable,
        "run.py",
        *OVERRIDES,
        "cluster.load_driver=locust",
        "load.triggers=[state_transfer]",
        "load.trigger_separate=false",
        "app.triggers.state_transfer.duration_s=[2,3]",
        "tracking=none",
        f"paths.runs={runs}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=child_environment())
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in runs.glob("*/metrics.json"))
    return folder


@pytest.mark.slow
@pytest.mark.netns
def test_visitors_browse_a_cluster_of_three_and_the_detector_judges(run: Path) -> None:
    import pandas as pd

    stages = [json.loads(path.read_text()) for path in run.parent.glob(".cache/record-*/stage.json")]
    assert len(stages) == 3
    for facts in (stage["facts"] for stage in stages):
        members = facts["real"]["end"]["databases"]
        assert {name: member["wsrep_cluster_size"] for name, member in members.items()} == dict.fromkeys(MEMBERS, 3)
        requests = facts["requests"]
        assert requests["done"] + requests["excused"] == requests["due"] > 50
        assert not requests["excused"] or "rejoined" in facts["real"]
        assert facts["real"]["content"] == {"posts": 10, "authors": 20, "categories": 300}
    edges = pd.read_parquet(run / "edges.parquet")
    pods = edges[(edges["view"] == "pod") & (edges["request_bytes"] > 0)]
    pairs = {port: set(zip(of["client"], of["server"], strict=True)) for port, of in pods.groupby("server_port")}
    assert pairs[SQL] <= set(product(WEBS, MEMBERS))
    assert {server for _, server in pairs[SQL]} == set(MEMBERS)
    assert {frozenset(pair) for pair in pairs[GROUP]} == {frozenset(pair) for pair in permutations(MEMBERS, 2)}
    (entry,) = [entry for entry in lines(run / "truth.jsonl") if entry["channel"] != "benign"]
    assert entry["bytes_delivered"] == entry["bytes_intended"] > 1000
    assert entry["sha256_sent"] == entry["sha256_received"]
    scores = pd.read_parquet(run / "scores.parquet")
    assert len(scores[scores["recording"] == "test"]) == 24
    assert scores["score"].notna().all()
    assert scores["score"].nunique() > 10


@pytest.mark.slow
@pytest.mark.netns
def test_the_others_take_a_copy_of_the_first_member_and_so_does_one_that_lost_its_data(run: Path) -> None:
    entities = lines(run / "entities.jsonl")
    ips = {line["ip"]: line["name"] for line in entities if line["name"] in MEMBERS}
    (change,) = [entry for entry in lines(run / "truth.jsonl") if entry["channel"] == "benign"]
    begun: dict[tuple[str, str], int] = {}
    again: dict[tuple[str, str], int] = {}
    for batch in open_capture([run / "capture" / "test.pcap"]):
        for row in np.flatnonzero((batch.dport == TRANSFER) & (batch.payload_bytes > 0)):
            pair = ips[address_text(tuple(batch.src[row].tolist()))], ips[address_text(tuple(batch.dst[row].tolist()))]
            copied = again if batch.ts_ns[row] > change["start"] * 1e9 else begun
            copied[pair] = copied.get(pair, 0) + int(batch.payload_bytes[row])
    assert {receiver for _, receiver in begun} == set(MEMBERS[1:])
    assert (change["path_class"], change["path"]) == ("benign:state_transfer", ["pxc"])
    assert [[receiver] for _, receiver in again] == [change["pods"]]
    for copied in (begun, again):
        assert all(2 * 10e6 < size < 2 * 200e6 for size in copied.values())  # every packet is seen twice


@pytest.mark.slow
@pytest.mark.netns
def test_nothing_stays_when_it_is_killed(tmp_path: Path) -> None:
    need_wordpress()
    before = _machine()
    order = asdict(RecordingOrder("fit", 0, 60, (1, 2), False, tmp_path)) | {"folder": str(tmp_path)}
    job = json.dumps({"spec": to_dict(from_plain(plain(OVERRIDES), check=False)), "order": order}) + "\n"
    testbed = subprocess.Popen(
        [sys.executable, "-m", "mimir.cluster.netns.testbed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=child_environment(),
    )  # fmt: skip
    try:
        assert testbed.stdin
        assert testbed.stdout
        testbed.stdin.write(job)
        testbed.stdin.flush()
        assert "progress" in testbed.stdout.readline()
        alive = descendants(testbed.pid)
        names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in alive]
        made = {kind: _namespaces(kind, alive) - before[kind] for kind in KINDS}
        assert names.count("mariadbd") == 3
        assert names.count("nginx") == 8
        assert sum(name.startswith("php-fpm") for name in names) >= 8
        assert len(made["pid"]) == len(made["mnt"]) == 7
        assert {kind: _machine()[kind] for kind in ("links", "tables", "mounts")} == {
            kind: before[kind] for kind in ("links", "tables", "mounts")
        }
        killed_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        os.kill(testbed.pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and any(runs(pid) for pid in alive):
            time.sleep(0.2)
        assert not [name for pid, name in zip(alive, names, strict=True) if runs(pid)]
        for kind in KINDS:
            assert not _namespaces(kind, None, killed_s) & made[kind]
        after = _machine()
        assert {k: after[k] for k in ("links", "tables", "mounts")} == {
            k: before[k] for k in ("links", "tables", "mounts")
        }
        assert not [
            name for name in after["files"] - before["files"] if "mysql" in name or "php" in name or "nginx" in name
        ]
    finally:
        testbed.kill()
        testbed.communicate()


KINDS = ("net", "pid", "mnt", "user")


def _machine() -> dict[str, set[str]]:
    """What there is outside the testbed: namespaces of all kinds, links, tables, mounts, names in /tmp and /run."""
    ip, nft = tool("ip"), tool("nft")
    assert ip
    assert nft
    commands = {"links": [ip, "-br", "link"], "tables": [nft, "list", "tables"]}
    found = {
        name: {line.split("@")[0].split()[0] if name == "links" else line for line in _said(command).splitlines()}
        for name, command in commands.items()
    }
    found |= {kind: _namespaces(kind) for kind in KINDS}
    found["mounts"] = set(Path("/proc/self/mounts").read_text().splitlines())
    found["files"] = {str(path) for folder in ("/tmp", "/run") for path in Path(folder).iterdir()}
    return found


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _namespaces(kind: str, pids: list[int] | None = None, begun_before_s: float = float("inf")) -> set[str]:
    """Namespaces that processes are in, those of processes that began later left out (numbers are used again)."""
    found = set()
    for process in [Path(f"/proc/{pid}") for pid in pids] if pids else Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, *fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            if state not in "ZX" and int(fields[18]) / os.sysconf("SC_CLK_TCK") < begun_before_s:
                found.add(os.readlink(process / "ns" / kind))
    return found
