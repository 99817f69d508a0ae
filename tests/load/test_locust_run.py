"""Locust really runs a plan against an HTTP server: mix, waits and profile are the simulator's; failures end it."""

from __future__ import annotations

import csv
import importlib.util
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mimir.errors import MimirError
from mimir.load.locust.__main__ import main
from mimir.load.locust.command import run_locust
from mimir.load.locust.plan import locust_plan
from mimir.load.population import Population
from mimir.spec import Spec
from mimir.spec.app import RepeatSpec, StepSpec
from mimir.units import NS_PER_S
from tests.support.specs import spec

pytestmark = pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="needs mimir[locust]")
DURATION_S, LEVEL, FASTER = 14, 1e-4, 10
PROFILE = "[40,100,60]"


@dataclass(frozen=True)
class Done:
    """One run of Locust."""

    spec: Spec
    requests: list[dict[str, str]]
    users: np.ndarray[Any, Any]  # offset, wanted, present
    server: list[str]  # actions asked
    summary: dict[str, Any]
    folder: Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012
    broken = False

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(500 if self.broken and len(self.asked) % 2 else 200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


def fast(step: StepSpec) -> StepSpec:
    return replace(step, wait_s=(step.wait_s[0] / FASTER, step.wait_s[1] / FASTER))


def quick_spec() -> Spec:
    """Sock Shop ten times as fast, browsing 3 items instead of 20, with a profile of three steps."""
    chosen = spec([f"load.profile={PROFILE}", "load=steady", "load.users=40", f"load.day_s={DURATION_S}",
                   "load.interpolation=step", "load.pace_sigma=0"])  # fmt: skip
    behaviours = {
        name: [RepeatSpec((3, 3), [fast(s) for s in i.steps]) if isinstance(i, RepeatSpec) else fast(i) for i in items]
        for name, items in chosen.app.users.behaviours.items()
    }
    users = replace(chosen.app.users, behaviours=behaviours, pause_s=(0.2, 0.4))
    return replace(chosen, app=replace(chosen.app, users=users))


@pytest.fixture(scope="module")
def done(server: str, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder, chosen = tmp_path_factory.mktemp("locust"), quick_spec()
    Handler.asked.clear()
    (folder / "plan.json").write_text(json.dumps(locust_plan(chosen, "test", 5, DURATION_S)))
    summary = run_locust(folder / "plan.json", server, folder / "out", 0.01)
    with (folder / "out" / "requests.csv").open(newline="") as file:
        requests = list(csv.DictReader(file))
    with (folder / "out" / "users.csv").open(newline="") as file:
        users = np.array([[float(v) for v in row.values()] for row in csv.DictReader(file)])
    return Done(chosen, requests, users, list(Handler.asked), summary, folder / "out")


def simulated(chosen: Spec, response_s: float) -> Population:
    endpoints = len(chosen.app.services[chosen.app.users.entry].endpoints)
    return Population(chosen.app, chosen.load.of("test"), 0, np.full(endpoints, response_s), np.random.SeedSequence(1))


def response_s(done: Done) -> float:
    return float(np.median([float(r["response_s"]) for r in done.requests]))


def test_every_request_reaches_the_server_as_the_application_says(done: Done) -> None:
    entry = done.spec.app.services[done.spec.app.users.entry]
    assert done.summary["failed"] == 0
    assert done.summary["requests"] == len(done.requests)
    assert abs(len(done.server) - len(done.requests)) <= 40  # those of the last moment
    known = {e.action.replace("{item}", value) for e in entry.endpoints.values() for value in
             done.spec.app.users.session["item"].values}  # fmt: skip
    assert set(done.server) <= known
    assert sum("detail.html" in action for action in set(done.server)) == 9


def test_the_mix_is_that_of_the_simulator(done: Done) -> None:
    """Endpoints are asked in the shares of a long walk of the simulator, and behaviours begun in those of the mix."""
    begun = Counter(r["behaviour"] for r in done.requests if r["begins"] == "1")
    assert sum(begun.values()) > 120
    users = simulated(done.spec, response_s(done))
    names, counted = list(done.spec.app.services["front-end"].endpoints), Counter[str]()
    for second in range(1, 40):
        for n in range(DURATION_S):
            batch = users.until((DURATION_S * (second - 1) + n + 1) * NS_PER_S)
            counted.update(names[e] for e in batch.endpoint)
    mine = Counter(r["endpoint"] for r in done.requests)
    for name in names:
        assert mine[name] / len(done.requests) == pytest.approx(counted[name] / sum(counted.values()), abs=0.03), name
    shares = done.spec.app.users.mix
    expected = {name: shares[name] * sum(begun.values()) for name in shares}
    assert all(abs(begun[name] - expected[name]) < 4 * expected[name] ** 0.5 for name in shares), begun


def test_waits_are_those_of_the_simulator(done: Done) -> None:
    usual, gaps, last = response_s(done), [], dict[str, tuple[float, float]]()
    for row in sorted(done.requests, key=lambda r: float(r["ts"])):
        ts, user = float(row["ts"]), row["user"]
        if row["begins"] == "0" and user in last:
            gaps.append(ts - sum(last[user]))
        last[user] = ts, float(row["response_s"])
    users, other, before = simulated(done.spec, usual), [], dict[int, float]()
    for n in range(20 * DURATION_S):
        batch = users.until((n + 1) * NS_PER_S)
        for ts, user, ends in zip(batch.ts_ns / NS_PER_S, batch.user, batch.last, strict=True):
            if user in before:
                other.append(ts - before[user] - usual)
            before[user] = ts
            if ends:
                del before[user]
    late = 0.03  # s that a sleeping user may wake up late on a busy machine
    assert len(gaps) > 500
    assert min(gaps) > -1e-3
    assert np.abs(np.percentile(gaps, [5, 25, 50, 75, 95]) - np.percentile(other, [5, 25, 50, 75, 95])).max() < late
    assert stats.ks_2samp(np.array(gaps) > late, np.array(other) > late).pvalue > LEVEL  # the share of waits at all


def test_the_profile_is_that_of_the_simulator(done: Done) -> None:
    offset_s, wanted, present = done.users.T
    users = simulated(done.spec, response_s(done))
    assert set(wanted) == {users.wanted(int(t)) for t in offset_s}
    assert {16, 40, 24} <= set(wanted)
    for n, t in enumerate(offset_s[2:], 2):
        users.until(int(t) * NS_PER_S)  # the tick of this line is not played yet
        assert present[n] >= min(wanted[n], wanted[n - 1]) - 1, t  # those missing come within a tick
        assert abs(present[n] - users.present) <= 9, (t, present[n], users.present)  # surplus ones leave on their own


def test_nobody_is_cut_off_at_a_step(done: Done) -> None:
    """Whoever began a behaviour well before the end of the test ends it."""
    end = max(float(r["ts"]) for r in done.requests)
    rows: dict[str, list[dict[str, str]]] = {}
    for row in done.requests:
        rows.setdefault(row["user"], []).append(row)
    assert len(rows) > 40
    for user, own in rows.items():
        own.sort(key=lambda r: float(r["ts"]))
        if float(own[-1]["ts"]) < end - 1.5:
            assert own[-1]["ends"] == "1", user


@pytest.mark.parametrize("host", ["shop", "shop:8080", "ftp://shop", "http://"])
def test_a_host_that_is_no_base_url_is_refused_at_once(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "plan.json"), "--host", host, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"--host is no base URL (got {host!r}) (allowed: http://NAME[:PORT] or https://…)" in said
    assert not (tmp_path / "out").exists()


def test_locust_leaves_its_own_statistics(done: Done) -> None:
    with (done.folder / "locust_stats.csv").open(newline="") as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert abs(int(rows["Aggregated"]["Request Count"]) - done.summary["requests"]) <= 40  # of the last moment
    assert json.loads((done.folder / "locust.json").read_text())


def test_failures_end_the_run_with_their_reason(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(locust_plan(quick_spec(), "test", 5, 2)))
    Handler.broken = True
    try:
        with pytest.raises(MimirError, match=r"requests failed \(.*%, allowed 20.0%\).*HTTP 500"):
            run_locust(tmp_path / "plan.json", server, tmp_path / "out", 0.2)
    finally:
        Handler.broken = False
    assert main(["run", str(tmp_path / "plan.json"), "--host", "http://127.0.0.1:1", "--out", str(tmp_path / "x")]) == 1
    assert "ConnectionError" in capsys.readouterr().err
