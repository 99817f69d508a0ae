"""What changes in the cluster while a recording runs: autoscalers and triggers add, replace and remove pods."""

from __future__ import annotations

import math

import numpy as np

from mimir.apps.calls import CallTrees
from mimir.cluster.base import RecordingOrder
from mimir.cluster.simulated.hpa import Autoscaler
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.roster import pod_name
from mimir.cluster.simulated.tables import ENDPOINT, START, Floats, Ints
from mimir.cluster.simulated.triggers import Happened as Happened
from mimir.cluster.simulated.triggers import Planned, plan_triggers
from mimir.spec import Spec
from mimir.spec.cluster import SimulatedSpec
from mimir.units import NS_PER_S

_PODS = 0x504F4453  # keeps this stream apart
_MOST_DRAIN_S = 30.0  # terminationGracePeriodSeconds' default
_CREATE_S = 0.8  # from the end of a pod to its successor


class World:
    """`advance(now, until, calls)` decides all changes of pods before `until_ns` and, of triggers, a slice further."""

    def __init__(self, spec: Spec, layout: Layout, order: RecordingOrder):
        assert isinstance(spec.cluster, SimulatedSpec)
        self._layout, self._roster, self._spec = layout, layout.roster, spec.cluster
        self._random = np.random.default_rng(np.random.SeedSequence((*order.entropy, _PODS)))
        self._start_ns = order.start_s * NS_PER_S
        self._waiting = plan_triggers(spec, order)
        self.happened: list[Happened] = []
        self._template = dict.fromkeys(spec.app.services, 1)
        self._scalers = {}
        if spec.cluster.autoscaling:
            self._scalers = {n: Autoscaler(s, spec.cluster.hpa) for n, s in spec.app.autoscaling.items()}
        self._sync_ns, self._syncs = int(spec.cluster.hpa.sync_s * NS_PER_S), 0
        self._used: Floats = np.zeros((len(spec.app.services), 0))
        self._services = list(spec.app.services)

    def advance(self, until_ns: int, calls: Ints, trees: CallTrees) -> None:
        """Changes until the end of a slice whose calls are known."""
        before = len(self._roster.lives), [life.leave_ns for life in self._roster.lives]
        while self._waiting and self._waiting[0].start_ns < until_ns + int(self._spec.slice_s * NS_PER_S):
            self._begin(self._waiting.pop(0))
        if self._scalers:
            self._scale(until_ns, calls, trees)
        if before != (len(self._roster.lives), [life.leave_ns for life in self._roster.lives]):
            self._roster.publish()

    def _begin(self, planned: Planned) -> None:
        change = planned.spec.pods
        happened = Happened(planned, planned.end_ns, list(change.services) if change else [], [])
        self.happened.append(happened)
        if planned.kind == "state_transfer":
            happened.joining = self._join(planned)
        if not change:
            return  # see Transfers
        act = {"scale_out": self._more, "scale_in": self._fewer, "rolling_update": self._roll,
               "pod_kill": self._kill, "node_drain": self._drain}[planned.kind]  # fmt: skip
        for service in happened.services:
            numbers = act(service, planned)
            lives = [self._roster.lives[n] for n in numbers]
            happened.pods += [life.pod.name for life in lives]
            last = [t for life in lives for t in (life.ready_ns, life.free_ns) if abs(t) < 1 << 61]
            happened.end_ns = max([happened.end_ns, *last])

    def _join(self, planned: Planned) -> int:
        """A new member of a store's group: created, its process started at `ready_ns`; Transfers says when it is ready."""
        return self._new(planned.spec.transfers[0].server, planned.start_ns + self._some(0.5))

    def _more(self, service: str, planned: Planned) -> list[int]:
        return [self._new(service, planned.start_ns + self._some(0.5)) for _ in range(_count(planned))]

    def _fewer(self, service: str, planned: Planned) -> list[int]:
        """The youngest go first, one stays."""
        there = self._roster.wanted(service, planned.start_ns)
        going = there[1:][-_count(planned) :]
        for number in going:
            self._leave(number, planned.start_ns + self._some(0.5))
        return going

    def _roll(self, service: str, planned: Planned) -> list[int]:
        """maxSurge 1, maxUnavailable 0: one comes, is ready, one goes, and so on."""
        there, at_ns = self._roster.wanted(service, planned.start_ns), planned.start_ns + self._some(0.5)
        self._template[service] += 1
        touched = []
        for number in there:
            new = self._new(service, at_ns)
            at_ns = self._roster.lives[new].ready_ns + self._some(0.3)
            self._leave(number, at_ns)
            touched += [number, new]
        return touched

    def _kill(self, service: str, planned: Planned) -> list[int]:
        """The process dies at once; a successor comes."""
        there = self._roster.serving(service, planned.start_ns)
        touched = []
        for number in self._random.permutation(there)[: _count(planned)].tolist():
            at_ns = planned.start_ns + self._some(1.0)
            self._roster.end(number, at_ns, at_ns, int(self._spec.pods.remove_s * NS_PER_S))
            touched += [number, self._new(service, at_ns + int(_CREATE_S * NS_PER_S))]
        return touched

    def _drain(self, service: str, planned: Planned) -> list[int]:
        """Half of the pods, as a second node would have had, are evicted together; successors come at once."""
        there = self._roster.serving(service, planned.start_ns)
        touched = []
        for number in there[1::2]:
            at_ns = planned.start_ns + self._some(2.0)
            self._leave(number, at_ns)
            touched += [number, self._new(service, at_ns + self._some(0.3))]
        return touched

    def _new(self, service: str, at_ns: int) -> int:
        kind = self._layout.app.services[service].kind
        ready_ns = at_ns + int(self._lognormal_s(self._spec.pods.start_s) * NS_PER_S)
        name = pod_name(service, kind, len(self._roster.of(service)), self._template[service])
        return self._roster.add(service, self._layout.app.namespace, at_ns, ready_ns, name)

    def _leave(self, number: int, at_ns: int) -> None:
        drain_ns = int(min(self._lognormal_s(self._spec.pods.drain_s), _MOST_DRAIN_S) * NS_PER_S)
        self._roster.end(number, at_ns, at_ns + drain_ns, int(self._spec.pods.remove_s * NS_PER_S))

    def _some(self, most_s: float) -> int:
        return int(self._random.random() * most_s * NS_PER_S)

    def _lognormal_s(self, pair: tuple[float, float]) -> float:
        return float(self._random.lognormal(math.log(pair[0]), pair[1]))

    def _scale(self, until_ns: int, calls: Ints, trees: CallTrees) -> None:
        """Every decision that is due, with the CPU used between the last one and it."""
        self._add_use(calls, trees)
        while self._start_ns + (self._syncs + 1) * self._sync_ns < until_ns:
            self._syncs += 1
            at_ns = self._start_ns + self._syncs * self._sync_ns
            for service, scaler in self._scalers.items():
                ready = len(self._roster.serving(service, at_ns))
                present = self._roster.wanted(service, at_ns)
                used = float(self._used[self._services.index(service), self._syncs - 1])
                used += ready * self._spec.hpa.idle_millicores
                wanted = scaler.decide(at_ns / NS_PER_S, ready, len(present) - ready, used)
                for _ in range(wanted - len(present)):
                    self._new(service, at_ns + self._some(0.5))
                for number in present[wanted:]:
                    self._leave(number, at_ns + self._some(0.5))

    def _add_use(self, calls: Ints, trees: CallTrees) -> None:
        """CPU of the calls' services, mean millicores a sync period: requests × own time × the share computed."""
        period = np.maximum((calls[:, START] - self._start_ns) // self._sync_ns, self._syncs)
        missing = int(period.max(initial=0)) + 1 - self._used.shape[1]
        if missing > 0:
            self._used = np.pad(self._used, ((0, 0), (0, missing + 8)))
        own_ns = np.exp(trees.busy[:, 0] + trees.busy[:, 1] ** 2 / 2) * self._spec.hpa.cpu_share
        where = (trees.service[calls[:, ENDPOINT]], period)
        np.add.at(self._used, where, own_ns[calls[:, ENDPOINT]] / self._sync_ns * 1000)


def _count(planned: Planned) -> int:
    return planned.spec.pods.count if planned.spec.pods else 0
