"""What a request to the real WordPress costs its database, beside what conf/app/wordpress.yaml says; prints Markdown tables.

    python scripts/wordpress_pages.py --requests 20 --busy-s 20

Needs what `app=wordpress cluster=netns` with real programs needs (make doctor). Nothing else runs in the testbed: no probes, no users.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mimir.cluster.netns.kernel import become_root_of_own_world, die_with_parent

COUNTED = ("questions", "bytes_received", "bytes_sent", "wsrep_replicated_bytes")
_USERS = 6  # at a time, for the rate


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20, help="requests of each kind (default 20)")
    parser.add_argument(
        "--busy-s", type=float, default=20, help=f"s in which {_USERS} users ask for pages without a pause"
    )
    chosen = parser.parse_args()
    parent = os.getppid()
    become_root_of_own_world()  # before anything that starts threads is imported
    die_with_parent(parent)
    print(asyncio.run(measure(chosen.requests, chosen.busy_s)))
    return 0


async def measure(requests: int, busy_s: float) -> str:
    """Both tables."""
    import numpy as np

    from mimir.cluster.base import RecordingOrder
    from mimir.cluster.netns.hosts import Hosts
    from mimir.cluster.netns.network import build
    from mimir.cluster.netns.session import Session
    from mimir.cluster.netns.wordpress.stack import WEB, WordPress
    from mimir.load.real import REAL
    from mimir.spec.compose import composed

    spec = composed(["app=wordpress", "cluster=netns"])
    with tempfile.TemporaryDirectory() as folder:
        session = Session(spec, RecordingOrder("fit", 0, 60, (1, 0), False, Path(folder)))
        network = build(session.layout)
        hosts = Hosts(session.layout, network)
        await session._dns(hosts)
        stack = WordPress(session.layout, network, hosts, Path(folder), np.random.default_rng(1))
        await stack.start()
        blog = Blog(stack, hosts, np.random.default_rng(2), spec.app)
        idle = await blog.cost("", 0)
        rows = []
        for name in REAL[WEB]:
            await blog.cost(name, 4)  # PHP has compiled it everywhere
            got = await blog.cost(name, requests)
            real = {key: (got[key] - idle[key]) / requests for key in COUNTED} | {
                "ms": got["ms"],
                "reply": got["reply"],
            }
            rows.append((name, real, model_of(spec.app, name)))
        await stack.count("begin")
        pages = await blog.busy(busy_s)
        await stack.count("end")
        facts = stack.facts
        stack.close()
    return table(rows) + summary(facts, pages, busy_s)


class Blog:
    """Asks for pages one after the other or beside each other, and counts what the databases did meanwhile."""

    def __init__(self, stack: Any, hosts: Any, random: Any, app: Any):
        self._stack, self._hosts, self._random, self._app = stack, hosts, random, app

    async def cost(self, name: str, requests: int) -> dict[str, float]:
        """Sums over all members, the median reply (bytes) and time (ms)."""
        before, replies, times_ms = await self._counted(), [0], [0.0]
        for number in range(requests):
            browser = self._stack.browser(self._hosts.client(number), number)
            begun = time.monotonic()
            replies.append(await browser.ask(name, self._size(name)))
            times_ms.append((time.monotonic() - begun) * 1000)
            browser.close()
        after = await self._counted()
        found = {key: float(after[key] - before[key]) for key in COUNTED}
        return found | {"reply": statistics.median(replies[1:] or [0]), "ms": statistics.median(times_ms[1:] or [0])}

    async def busy(self, busy_s: float) -> int:
        """Pages that users without pauses get in so many seconds."""
        until, pages = time.monotonic() + busy_s, [0] * _USERS

        async def reader(slot: int) -> None:
            browser = self._stack.browser(self._hosts.client(slot), slot)
            while time.monotonic() < until:
                await browser.ask("page", 260)
                pages[slot] += 1
            browser.close()

        await asyncio.gather(*(reader(slot) for slot in range(_USERS)))
        return sum(pages)

    def _size(self, name: str) -> int:
        median, sigma = self._app.services[self._app.users.entry].endpoints[name].request
        return round(float(median) * math.exp(float(sigma) * float(self._random.standard_normal())))

    async def _counted(self) -> dict[str, int]:
        await self._stack.count("now")
        members = self._stack.facts["now"]["databases"].values()
        return {key: sum(member[key] for member in members) for key in COUNTED}


def model_of(app: Any, name: str) -> dict[str, float]:
    """Means of the same quantities in the model."""
    endpoint = app.services[app.users.entry].endpoints[name]
    queries = asked = brought = replicated = 0.0
    written = {e: spec for spec in app.replication for e in spec.endpoints}
    for call in (call for stage in endpoint.calls for call in stage):
        target = app.services["pxc"].endpoints[call.to.split(":")[1]]
        count = call.probability * sum(call.count) / 2
        queries += count
        asked += count * _mean(target.request)
        brought += count * _mean(target.response.bytes) * sum(target.response.times) / 2
        if (spec := written.get(call.to.split(":")[1])) is not None:
            replicated += count * (spec.carries * _mean(target.request) + _mean(spec.frame))
    reply = _mean(endpoint.response.bytes) + endpoint.response.carries * brought
    return {"questions": queries, "bytes_received": asked, "bytes_sent": brought, "wsrep_replicated_bytes": replicated, "reply": reply}  # fmt: skip


def _mean(pair: tuple[float, float]) -> float:
    return float(pair[0] * math.exp(pair[1] ** 2 / 2))


def table(rows: list[tuple[str, dict[str, float], dict[str, float]]]) -> str:
    """One line a kind of request: real and model."""
    names = ("queries", "kB asked", "kB brought", "kB replicated", "kB reply")
    head = "| request | ms real | " + " | ".join(f"{name} real | model" for name in names) + " |\n"
    lines = [head + "|---" * (2 + 2 * len(names)) + "|\n"]
    for name, real, model in rows:
        cells = [f"{real['questions']:.0f}", f"{model['questions']:.0f}"]
        for key in (*COUNTED[1:], "reply"):
            cells += [f"{real[key] / 1000:.1f}", f"{model[key] / 1000:.1f}"]
        lines.append(f"| {name} | {real['ms']:.0f} | " + " | ".join(cells) + " |\n")
    return "".join(lines)


def summary(facts: dict[str, Any], pages: int, busy_s: float) -> str:
    """Start, memory, rate."""
    start = ", ".join(f"{name} {seconds:g} s" for name, seconds in facts["start_s"].items())
    load = os.getloadavg()[0]
    work = {name: facts["end"]["cpu_s"][name] - facts["begin"]["cpu_s"][name] for name in facts["end"]["cpu_s"]}
    cost = ", ".join(f"{name} {1000 * seconds / max(1, pages):.0f} ms" for name, seconds in work.items())
    return (
        f"\nStart: {start}. Memory (proportional): {facts['memory_mb']} MB. {pages / busy_s:.1f} pages/s for {_USERS} users without "
        f"pauses. Processor time of a page: {cost}. Load of the machine: {load:.1f} on {os.cpu_count()} processors.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
