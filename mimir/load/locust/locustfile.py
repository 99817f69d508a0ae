"""What Locust runs: users of a plan, one continuous population.

`locust -f mimir/load/locust/locustfile.py --plan plan.json --out folder --host http://…` (or `python -m mimir.load.locust run`).
Import it in no other process: Locust's gevent replaces the standard library's sockets and threads.
"""

from __future__ import annotations

import json
import logging
import time
from argparse import ArgumentParser
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import gevent
from locust import HttpUser, LoadTestShape, events, task
from locust.env import Environment
from locust.exception import StopUser
from requests.adapters import HTTPAdapter

from mimir.load.locust.crowd import Crowd
from mimir.load.locust.walker import Step, Walker
from mimir.load.locust.wire import framed
from mimir.load.real import real_request

crowds: dict[str, Crowd] = {}  # the one of this process, under "it"


@events.init_command_line_parser.add_listener
def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--plan", required=True, help="plan.json of python -m mimir.load.locust plan")
    parser.add_argument("--out", required=True, help="folder for requests.csv, users.csv and summary.json")
    parser.add_argument("--failed-share", type=float, default=0.01, help="share of requests that may fail")
    parser.add_argument("--begin", type=float, default=0.0, help="when the load begins, UTC epoch s; default: at once")
    parser.add_argument("--sources", default="", help="first source address for users, e.g. 203.0.113.1; default: any")
    parser.add_argument("--source-count", type=int, default=0, help="how many of them there are")


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    given = environment.parsed_options
    assert given is not None
    plan = json.loads(Path(given.plan).read_text(encoding="utf-8"))
    crowds["it"] = Crowd(plan, Path(given.out), given.failed_share)
    gevent.sleep(max(0.0, given.begin - time.time()))


@events.quitting.add_listener
def _quitting(environment: Environment, **_: Any) -> None:
    why = crowds["it"].close()
    environment.process_exit_code = 1 if why else 0
    if why:
        logging.getLogger(__name__).error("the load is no good: %s", why)


class Profile(LoadTestShape):
    """The plan's profile. Locust starts users; surplus ones leave by themselves at the end of a behaviour."""

    def __init__(self) -> None:
        super().__init__()
        self._ticks = 0

    def tick(self) -> tuple[int, float] | None:
        """Users wanted now, and a rate at which all missing ones start at once; None when the plan is over."""
        crowd = crowds["it"]
        if not self._ticks:
            crowd.start()
        if crowd.over:
            return None
        self._ticks += 1
        assert self.runner is not None
        present = self.runner.user_count
        if crowd.plan["arrivals"] == "closed":
            wanted = target = crowd.wanted
        else:
            arrived = crowd.arrivals()
            crowd.arriving += arrived
            wanted = target = present + arrived
        crowd.note_users(wanted)
        return target, max(
            1.0, target - present
        ) + self._ticks * 1e-9  # differs each time: Locust compares with the last


class SourceAdapter(HTTPAdapter):
    """Connects from one source address."""

    def __init__(self, source: str):
        self._source = source
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Pools whose connections are bound to the address."""
        super().init_poolmanager(*args, **kwargs, source_address=(self._source, 0))


class Visitor(HttpUser):
    """One user: behaviour after behaviour (closed) or one session (open)."""

    def stop(self, force: bool = False) -> bool:
        """Called where Locust wants fewer users: those too many leave at the end of what they do, nobody is cut off."""
        if force and crowds["it"].over:
            return bool(super().stop(force=True))
        return False

    @task
    def live(self) -> None:
        """All that this user ever does."""
        crowd = crowds["it"]
        opened, first = crowd.plan["arrivals"] == "open", crowd.offset_s < crowd.plan["tick_s"] / 2
        if opened and crowd.arriving <= crowd.begun:
            raise StopUser  # started for a session that ended in the meantime
        self.number, self.seat = crowd.begin()
        self.walker = Walker(crowd.plan, self.number)
        self._move(self.seat)
        if not first:
            gevent.sleep(self.walker.within_s(crowd.plan["tick_s"]))
        try:
            self._session(settled=first)
            while not opened and self.environment.runner.user_count <= crowd.wanted:
                gevent.sleep(self.walker.pause_s() * crowd.pace.at(crowd.offset_s))
                self._session(settled=False)
        finally:
            crowd.leave(self.seat)
        raise StopUser

    def _session(self, *, settled: bool) -> None:
        """One behaviour; its connection ends with it, and so do cookies."""
        known = self.walker.values()
        pace = crowds["it"].pace
        for step in self.walker.session(settled=settled):
            wait_s = step.wait_s * pace.at(crowds["it"].offset_s)
            gevent.sleep(wait_s)
            self._ask(step, known, wait_s)
        self.client.cookies.clear()
        self.client.close()

    def _ask(self, step: Step, known: dict[str, str], wait_s: float) -> None:
        crowd = crowds["it"]
        endpoint, began = crowd.plan["endpoints"][step.endpoint], time.time()
        status, error = 0, ""
        headers: dict[str, str]
        body: str | bytes
        if endpoint["method"]:
            path, size = self.walker.path(step.endpoint, known), self.walker.bytes_of(step.endpoint)
            if endpoint.get("real"):
                headers, body = real_request(endpoint["real"], self.number, size, self.walker.noise)
            else:
                headers, body = framed(endpoint, path, self.host or "", size, close=crowd.plan["close_each"])
            with self.client.request(
                endpoint["method"], path, name=endpoint["name"], headers=headers, data=body, catch_response=True,
                allow_redirects=False, verify=False, timeout=30,
            ) as reply:  # fmt: skip
                status, error = reply.status_code, _error(reply)
                if error:
                    reply.failure(error)
                else:
                    reply.success()
        spent_s = time.time() - began
        behaviour = crowd.plan["behaviours"][step.behaviour]
        crowd.note([f"{began:.6f}", self.number, behaviour, endpoint["name"], int(step.begins), int(step.ends),
                    f"{wait_s:.6f}", f"{spent_s:.6f}", status], error)  # fmt: skip

    def _move(self, seat: int) -> None:
        """Give the user an address of their own, where there are some."""
        given = self.environment.parsed_options
        if given.sources:
            address = ip_address(given.sources) + seat % max(1, given.source_count)
            for scheme in ("http://", "https://"):
                self.client.mount(scheme, SourceAdapter(str(address)))


def _error(reply: Any) -> str:
    if reply.error is not None:
        return type(reply.error).__name__
    return f"HTTP {reply.status_code}" if reply.status_code >= 400 else ""
