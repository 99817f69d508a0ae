"""What makes pods come and go: benign triggers of the load, and the autoscalers of the application. The rules are the simulator's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np

from mimir.cluster.base import RecordingOrder
from mimir.cluster.netns.fleet import Fleet
from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.simulated.happenings import benign_entries
from mimir.cluster.simulated.hpa import Autoscaler
from mimir.cluster.simulated.triggers import Happened, Planned, plan_triggers
from mimir.cluster.simulated.world import _CREATE_S
from mimir.exfiltration.ledger import LedgerEntry
from mimir.spec import Spec
from mimir.spec.change import PodChangeSpec
from mimir.spec.cluster import NetnsSpec
from mimir.units import NS_PER_S

REJOINS = "state_transfer"  #: the trigger that real groups of databases act out


class Changes:
    """Acts triggers out at their times and lets autoscalers decide; `ledger` holds what happened."""

    def __init__(self, spec: Spec, order: RecordingOrder, start_s: int, fleet: Fleet, random: np.random.Generator):
        assert isinstance(spec.cluster, NetnsSpec)
        self._fleet, self._it, self._random = fleet, fleet.application, random
        self._order = replace(order, start_s=start_s)
        self._planned = plan_triggers(spec, self._order)
        self._hpa = spec.cluster.hpa
        scaled = spec.app.autoscaling if spec.cluster.autoscaling else {}
        self._scalers = {name: Autoscaler(scaler, self._hpa) for name, scaler in scaled.items()}
        self.happened: list[Happened] = []

    async def run(self) -> None:
        """Until the end of the recording."""
        await asyncio.gather(self._scale(), *(self._trigger(planned) for planned in self._planned))

    def ledger(self) -> list[LedgerEntry]:
        """One entry a trigger that began."""
        return benign_entries(self.happened, self._order)

    async def _trigger(self, planned: Planned) -> None:
        await asyncio.sleep(max(0.0, planned.start_ns / NS_PER_S - time.time()))
        change = planned.spec.pods or PodChangeSpec(services=[planned.spec.transfers[0].server], count=1)
        end_ns = 0 if planned.kind == REJOINS else planned.end_ns
        happened = Happened(replace(planned, start_ns=time.time_ns()), end_ns, list(change.services), [])
        self.happened.append(happened)
        act: Callable[[str, int], Awaitable[list[PodHost]]] = getattr(self, f"_{planned.kind}")
        try:
            touched = await asyncio.gather(*(act(service, change.count) for service in change.services))
            happened.pods += [host.pod.name for hosts in touched for host in hosts]
        finally:
            happened.end_ns = max(happened.end_ns, time.time_ns())

    async def _scale_out(self, service: str, count: int) -> list[PodHost]:
        await self._soon(0.5)
        return list(await asyncio.gather(*(self._fleet.add(service) for _ in range(count))))

    async def _scale_in(self, service: str, count: int) -> list[PodHost]:
        """The youngest go first, one stays."""
        await self._soon(0.5)
        going = self._fleet.present(service)[1:][-count:]
        await asyncio.gather(*(self._fleet.leave(host) for host in going))
        return going

    async def _rolling_update(self, service: str, count: int) -> list[PodHost]:
        """All pods, maxSurge 1, maxUnavailable 0: one comes, is ready, one goes, and so on."""
        await self._soon(0.5)
        self._fleet.renew(service)
        touched, going = [], []
        for host in self._fleet.present(service):
            touched += [host, await self._fleet.add(service)]
            await self._soon(0.3)
            going.append(asyncio.ensure_future(self._fleet.leave(host)))
        await asyncio.gather(*going)
        return touched

    async def _pod_kill(self, service: str, count: int) -> list[PodHost]:
        """The process dies at once; a successor comes."""
        await self._soon(1.0)
        there = self._fleet.hosts.of(service)
        chosen = [there[int(n)] for n in self._random.permutation(len(there))[:count]]
        return await self._replaced(service, [(host, self._fleet.kill(host), _CREATE_S) for host in chosen])

    async def _node_drain(self, service: str, count: int) -> list[PodHost]:
        """Half of the pods, as a second node would have had, are evicted together; successors come at once."""
        await self._soon(2.0)
        chosen = self._fleet.hosts.of(service)[1::2]
        return await self._replaced(service, [(host, self._fleet.leave(host), 0.3) for host in chosen])

    async def _state_transfer(self, service: str, count: int) -> list[PodHost]:
        """A member of a group of real databases dies with its data, starts again and takes a copy of another one's."""
        assert self._it.programs
        members = self._fleet.hosts.of(service)
        host = members[int(self._random.integers(len(members)))]
        with self._it.unrest.change():
            self._fleet.set_ready(host, False)
            await self._it.programs.rejoin(host.pod.name, _CREATE_S)
            self._fleet.set_ready(host, True)
        return [host]

    async def _replaced(self, service: str, ends: list[tuple[PodHost, Awaitable[None], float]]) -> list[PodHost]:
        async def successor(after_s: float) -> PodHost:
            await asyncio.sleep(after_s)
            return await self._fleet.add(service)

        done = [asyncio.gather(end, successor(after_s)) for _, end, after_s in ends]
        come = [(await both)[1] for both in done]
        return [host for (old, _, _), new in zip(ends, come, strict=True) for host in (old, new)]

    async def _soon(self, most_s: float) -> None:
        await asyncio.sleep(float(self._random.random()) * most_s)

    async def _scale(self) -> None:
        """A decision of every autoscaler each sync period, from the time its service spent on requests since the last one."""
        before, work = dict(self._it.busy_s), list[asyncio.Future[object]]()
        while self._scalers:
            await asyncio.sleep(self._hpa.sync_s)
            for service, scaler in self._scalers.items():
                ready, present = len(self._fleet.hosts.of(service)), self._fleet.present(service)
                spent_s = self._it.busy_s[service] - before.get(service, 0.0)
                before[service] = self._it.busy_s[service]
                used = spent_s * self._hpa.cpu_share / self._hpa.sync_s * 1000 + ready * self._hpa.idle_millicores
                wanted = scaler.decide(time.time(), ready, len(present) - ready, used)
                work += [asyncio.ensure_future(self._fleet.add(service)) for _ in range(wanted - len(present))]
                ready_ones = self._fleet.hosts.of(service)
                going = ready_ones[max(1, wanted) :] if wanted < len(present) else []
                work += [asyncio.ensure_future(self._fleet.leave(host)) for host in going]
            for failed in [one for one in work if one.done() and not one.cancelled() and one.exception()]:
                await failed
