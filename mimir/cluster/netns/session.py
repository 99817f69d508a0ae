"""One recording, from the first namespace to the last check."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mimir.cluster.base import Progress, RecordingOrder
from mimir.cluster.netns import dns
from mimir.cluster.netns.application import Application
from mimir.cluster.netns.around import Around
from mimir.cluster.netns.changes import Changes
from mimir.cluster.netns.fleet import Fleet
from mimir.cluster.netns.hosts import Hosts
from mimir.cluster.netns.layout import DNS_PORT, KUBE_DNS, Layout
from mimir.cluster.netns.leak import Leaks
from mimir.cluster.netns.locust_users import LocustUsers, locust_seed
from mimir.cluster.netns.network import Network, build
from mimir.cluster.netns.real.base import Programs, real_or_framed, real_programs
from mimir.cluster.netns.tasks import Tasks
from mimir.cluster.netns.users import Users, warm_up
from mimir.cluster.netns.worth import check_worth
from mimir.errors import MimirError
from mimir.exfiltration.baseline import Baseline
from mimir.exfiltration.ledger import BENIGN, write_ledger
from mimir.files import write_jsonl
from mimir.spec import Spec
from mimir.spec.build import from_plain
from mimir.spec.cluster import NetnsSpec
from mimir.units import NS_PER_S


def run_job(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Make the recording a job describes; its counts. MimirError when it is not worth anything."""
    spec = from_plain(job["spec"], check=False)
    given = job["order"]
    baseline = Baseline(**given["baseline"]) if given["baseline"] else None
    order = RecordingOrder(
        given["name"], given["start_s"], given["duration_s"], tuple(given["entropy"]), given["leaking"],
        Path(given["folder"]), baseline,
    )  # fmt: skip
    return asyncio.run(Session(spec, order).run(progress))


class Recorder:
    """The recorder process."""

    def __init__(self, spec: Spec, path: Path):
        assert isinstance(spec.cluster, NetnsSpec)
        arguments = [str(path), str(spec.capture.snaplen_bytes), spec.capture.payload, str(spec.cluster.ring_mb)]
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "mimir.cluster.netns.recorder", *arguments, str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        if self._process.stdout.readline().strip() != "ready":
            raise MimirError("the recorder did not start")
        os.set_blocking(self._process.stdout.fileno(), False)
        self._packets = 0

    @property
    def packets(self) -> int:
        """Packets so far, as of a second ago."""
        assert self._process.stdout
        with contextlib.suppress(BlockingIOError):
            told = os.read(self._process.stdout.fileno(), 65536).split()
            self._packets = int(told[-1]) if told and told[-1].isdigit() else self._packets
        return self._packets

    def stop(self) -> dict[str, Any]:
        """End the recording; what it holds."""
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), True)
        out, _ = self._process.communicate(timeout=120)
        if self._process.returncode != 0:
            raise MimirError(f"the recorder failed with exit code {self._process.returncode}")
        counts: dict[str, Any] = json.loads(out.splitlines()[-1])
        return counts

    @property
    def alive(self) -> bool:
        """Is it still recording?"""
        return self._process.poll() is None


class Session:
    """The testbed of one recording."""

    def __init__(self, spec: Spec, order: RecordingOrder):
        assert isinstance(spec.cluster, NetnsSpec)
        self.spec, self.order, self.cluster = spec, order, spec.cluster
        self.layout, self.tasks = Layout(spec.app, spec.cluster), Tasks()
        self.seeds = np.random.SeedSequence(order.entropy).spawn(5)

    async def run(self, progress: Progress) -> dict[str, Any]:
        """Bring everything up, record, check, write the logs."""
        load = self.spec.load.of(self.order.name)
        warm_up(self.spec.app, load)
        up_s = time.time()
        network = build(self.layout)
        capture = self.order.folder / "capture" / f"{self.order.name}.pcap"
        capture.parent.mkdir(parents=True, exist_ok=True)
        recorder = Recorder(self.spec, capture)
        hosts = Hosts(self.layout, network)
        outside = await self._dns(hosts)
        programs = await self._programs(network, hosts)
        application = Application(self.layout, hosts, self._random(0), self.tasks, programs)
        await application.serve()
        around = Around(application, self._random(1))
        await around.start()
        fleet = Fleet(self.layout, network, application, around, self._random(4))
        first_s = math.ceil(time.time()) + (1 if self.cluster.load_driver == "builtin" else self.cluster.locust_start_s)
        longest = max(self.spec.detector.windows_s)
        start_s = -(-math.ceil(first_s + self.cluster.warmup_s) // longest) * longest
        users: Users | LocustUsers = Users(application, load, first_s * NS_PER_S, self.seeds[2], start_s * NS_PER_S)
        if self.cluster.load_driver == "locust":
            begin = (self.order.name, first_s * NS_PER_S, start_s * NS_PER_S, locust_seed(self.seeds[2]))
            users = LocustUsers(
                self.spec, self.layout, network.outside, self.order.folder / "locust", begin, application.unrest
            )
        leaks = (
            Leaks(self.spec, self.order, start_s, application, outside, self.seeds[3]) if self.order.leaking else None
        )
        if leaks:
            fleet.followers.append(leaks.gone)
        changes = Changes(self.spec, self.order, start_s, fleet, self._random(4))
        end_s = start_s + self.order.duration_s
        await self._live(users, [changes, *([leaks] if leaks else [])], recorder, (start_s, end_s), progress, programs)
        users.close()
        application.close()
        await self.tasks.stop()
        if programs:
            await programs.count("end")
            programs.close()
        counts = recorder.stop()
        if self.tasks.defect is not None:
            raise self.tasks.defect
        ledger = [*(leaks.ledger() if leaks else []), *changes.ledger()]
        facts = self._facts(counts, users, application) | ({"real": programs.facts} if programs else {})
        facts |= {"stores": stores} if (stores := real_or_framed(self.spec)) else {}
        check_worth(self.cluster.limits, facts, ledger, (start_s, end_s))
        self._write(fleet, up_s, start_s, users, ledger, leaks.replaced if leaks else [])
        return facts

    async def _programs(self, network: Network, hosts: Hosts) -> Programs | None:
        """Real programs in place of generic services, where there are some."""
        make = real_programs(self.spec)
        if make is None:
            return None
        programs = make(
            self.layout, network, hosts, self.order.folder, np.random.default_rng(self.seeds[0].spawn(1)[0])
        )
        await programs.start()
        await programs.count("begin")
        return programs

    async def _dns(self, hosts: Hosts) -> dns.Outside:
        resolver, random = self.cluster.addresses.resolver, self._random(4)
        median_ms, sigma = self.cluster.dns.resolver_ms
        tunnel = self.spec.exfiltration.dns if self.order.leaking else None
        outside = dns.Outside(self.layout, tunnel, lambda: median_ms / 1000 * float(random.lognormal(0, sigma)))
        udp, tcp = socket.SOCK_DGRAM, socket.SOCK_STREAM
        sockets = hosts.outside.bound(udp, DNS_PORT, resolver), hosts.outside.bound(tcp, DNS_PORT, resolver)
        await dns.serve(outside.answer, *sockets, self.tasks)
        for host in hosts.of(KUBE_DNS):
            server = dns.KubeDns(
                self.layout, partial(host.datagrams, resolver, DNS_PORT), host.pod.name, outside.through
            )
            await dns.serve(server.answer, host.bound(udp, DNS_PORT), host.bound(tcp, DNS_PORT), self.tasks)
        return outside

    async def _live(
        self,
        users: Users | LocustUsers,
        acts: list[Leaks | Changes],
        recorder: Recorder,
        span_s: tuple[int, int],
        progress: Progress,
        programs: Programs | None,
    ) -> None:
        """Users, changes and leaks from before the recording until after it, in real time."""
        start_s, end_s = span_s
        stop_s = end_s + self.cluster.drain_s
        if time.time() >= start_s:
            raise MimirError(f"bringing the testbed up took {time.time() - start_s:.0f} s too long: the recording should have begun; try again")  # fmt: skip
        work = [self.tasks.start(users.run(int((end_s + 1) * NS_PER_S)), "users")]
        work += [self.tasks.start(act.run(), type(act).__name__.lower()) for act in acts]
        while time.time() < stop_s:
            await asyncio.sleep(min(1.0, max(0.0, stop_s - time.time())))
            if not recorder.alive:
                raise MimirError("the recorder ended before the recording did")
            failed = [task.exception() for task in work if task.done() and not task.cancelled() and task.exception()]
            if failed and failed[0] is not None:
                raise failed[0]
            if programs:
                programs.check()
            progress(min(max(0.0, time.time() - start_s), float(self.order.duration_s)), recorder.packets)

    def _facts(self, counts: dict[str, Any], users: Users | LocustUsers, application: Application) -> dict[str, Any]:
        latencies = np.array(users.latencies_s or [0.0])
        return counts | {
            "pods": len(self.layout.pods),
            "requests": {
                "due": users.due, "done": users.done, "failed": users.failed, "late": users.late,
                "excused": users.excused,
                "calls": application.requests,
                "p50_ms": round(float(np.percentile(latencies, 50)) * 1000, 3),
                "p99_ms": round(float(np.percentile(latencies, 99)) * 1000, 3),
            },
            "broken": dict(self.tasks.broken.most_common(20)),
        }  # fmt: skip

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng(self.seeds[number].spawn(1)[0])

    def _write(
        self,
        fleet: Fleet,
        up_s: float,
        start_s: int,
        users: Users | LocustUsers,
        ledger: list[Any],
        replaced: list[Any],
    ) -> None:
        folder, order = self.order.folder, self.order
        write_jsonl(folder / "entities.jsonl", self.layout.entities(round(up_s, 6), fleet.events))
        write_ledger(folder / "truth.jsonl", ledger)
        end_s = start_s + order.duration_s
        events: list[dict[str, Any]] = [
            {"ts": start_s, "event": "recording_started"},
            {"ts": end_s, "event": "recording_ended"},
        ]
        marks = [(users.start_s + offset_s, counts) for offset_s, counts in users.population.marks]
        begun = [counts for ts, counts in marks if ts <= start_s]  # the step that holds when the recording begins
        steps = [(float(start_s), begun[-1]), *((ts, counts) for ts, counts in marks if start_s < ts < end_s)]
        events += [{"ts": ts, "event": "users", **counts} for ts, counts in steps] + replaced
        for entry in ledger:
            what = "trigger" if entry.path_class.startswith(BENIGN) else "incident"
            events.append({"ts": entry.start, "event": f"{what}_started", what: entry.incident})
            events.append({"ts": entry.end, "event": f"{what}_ended", what: entry.incident})
        events.sort(key=lambda event: float(event["ts"]))
        write_jsonl(folder / "timeline.jsonl", [{**event, "recording": order.name} for event in events])
