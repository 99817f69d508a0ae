"""I3 in words: which edges carried more than requests explain (± one σ), how much leaves, and along which chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import aligned
from mimir.detectors.invariants import chains, tails
from mimir.detectors.invariants.targets import CALLS, CLEAN, NAMES, OWN, REPLIES, REQUESTS, Target
from mimir.detectors.leakpaths import Hop, technique_of
from mimir.detectors.pods import pods_behind, present, real_names
from mimir.flows.edges import Window
from mimir.units import format_bytes, format_duration

if TYPE_CHECKING:
    from mimir.detectors.invariants.volume import Evidence, Volume

Array = NDArray[np.float64]

ALTERNATIVES = 2  #: further chains named after the strongest one
CONVINCING = 4.0  #: statistic of a chain that speaks even before an edge of its own that says more
Z95 = 1.96
#: stolen bytes a byte of a name carries: hexadecimal with overhead, usual, base32 at its limit (5 bits a character)
NAME_CARRIES = (0.35, 0.48, 0.625)
NAME = "I3, request-driven volume"


def volume_reasons(volume: Volume, window: Window) -> list[Reason]:
    """The strongest test, one reason per edge of it (largest excess first), then the next best chains."""
    evidence = volume.evidence(window.series)
    if not volume.tests or evidence.surprise[window.index] <= 0:
        return []
    span = slice(max(0, window.index + 1 - int(evidence.length[window.index])), window.index + 1)
    best, runners_up = volume.tests[evidence.test[window.index]], _runners_up(volume, evidence, span)
    if best.chain < 0 and runners_up and runners_up[0][0] > CONVINCING:
        best = runners_up[0][1]  # an edge off the chain breaks too where the leak's requests are among its regressors
    out = _of_test(volume, evidence, window, span, best)
    seen = {best.chain}
    for _, test in runners_up:
        if test.chain not in seen and len(seen) <= ALTERNATIVES:
            seen.add(test.chain)
            out += _of_test(volume, evidence, window, span, test)[:1]
    return out


def _runners_up(volume: Volume, evidence: Evidence, span: slice) -> list[tuple[float, chains.Test]]:
    """Statistic over the span and chain test, strongest first, those without excess left out."""
    ranked = []
    residuals, normal = evidence.residuals.at(span), evidence.normal[span]
    for number, test in enumerate(volume.tests):
        if test.chain < 0:
            continue
        signal = chains.signal_of(test, normal, residuals, volume.correlation)
        value = float(chains.statistic(signal, len(normal))[-1] / volume.scale[number].max())
        if value > tails.KNEE:
            ranked.append((-value, number))
    return [(-value, volume.tests[number]) for value, number in sorted(ranked)]


def _of_test(volume: Volume, evidence: Evidence, window: Window, span: slice, test: chains.Test) -> list[Reason]:
    path, hops = _chain(volume, test)
    size = leaked(volume, evidence, span, test.chain, hops)
    excess = evidence.normal[span].sum(axis=0)
    each = len(test.members) // len(hops)
    broken = [max(test.members[each * n : each * (n + 1)], key=lambda m: excess[m]) for n in range(len(hops))]
    members = sorted(zip(broken, hops, strict=True), key=lambda m: -excess[m[0]])
    named = real_names(path, window.series, window.index)
    pods = tuple(dict.fromkeys(p for hop in hops for p in _pods(volume, evidence, window, span, hop)))
    last = volume.keys[hops[-1].edge]
    p_value = float(10 ** -min(evidence.surprise[window.index], 300.0))
    out = []
    for number, hop in members:
        target = volume.invariants[number].target
        edge = present(volume.keys[target.edge], window.series, window.index)
        observed = float(evidence.residuals.observed[span, number].sum())
        expected = float(evidence.residuals.expected[span, number].sum())
        out.append(
            Reason(
                volume.name, _sentence(volume, evidence, window, span, number), edge.client, edge.server, edge.server_port,
                observed, expected, "requests" if target.counter == CALLS else "bytes", p_value=p_value,
                path=named, pods=pods or _pods(volume, evidence, window, span, hop), technique=technique_of(path, last), proto=edge.proto, since=int(window.series.window_start[span.start]),
                bytes_estimate=size[0], bytes_low=size[1], bytes_high=size[2],
            )
        )  # fmt: skip
    return out


def _chain(volume: Volume, test: chains.Test) -> tuple[tuple[str, ...], tuple[Hop, ...]]:
    """Nodes and hops of a test; a single edge is a chain of two nodes in the direction of its bytes."""
    if test.chain >= 0:
        path = volume.paths[test.chain]
        return path.nodes, path.hops
    target = volume.invariants[test.members[0]].target
    key, reply = volume.keys[target.edge], target.counter not in (REQUESTS, NAMES) and not volume.dns[target.edge]
    return ((key.server, key.client) if reply else (key.client, key.server)), (Hop(target.edge, reply),)


def leaked(
    volume: Volume, evidence: Evidence, span: slice, chain: int, hops: Sequence[Hop]
) -> tuple[float, float, float]:
    """Bytes leaked a window over these hops, and the ends of a 95 % interval, none below 0."""
    low, middle, high = NAME_CARRIES if any(volume.dns[h.edge] for h in hops) else (1.0, 1.0, 1.0)
    if chain >= 0:
        size = volume.sizes.of(
            chain, volume.invariants, evidence.residuals.at(span), hops, volume.dns.tolist(), volume.correlation
        )
        return size.estimate * middle, size.low * low, size.high * high
    position = {i.target: n for n, i in enumerate(volume.invariants)}
    members = chains.members_of(hops, position, volume.dns.tolist())
    signatures = np.stack(chains.signature(volume.invariants, members, hops))
    residuals, spread = evidence.residuals.at(span), volume.spread
    standard = (residuals.standard - volume.bias) / spread
    found = chains.estimate_of(members, signatures, standard, spread, residuals, volume.correlation)
    length = len(found.signal)
    estimate = float(found.signal.sum()) / length
    error = Z95 * float(np.sqrt(chains.variance(found, length)[-1])) / length
    ends = max(estimate - error, 0.0), max(estimate + error, 0.0)
    return max(estimate, 0.0) * middle, ends[0] * low, ends[1] * high


def _carrier(volume: Volume, hop: Hop) -> str:
    return chains.carrier(bool(volume.dns[hop.edge]), hop.reply)


def _pods(volume: Volume, evidence: Evidence, window: Window, span: slice, hop: Hop) -> tuple[str, ...]:
    position = [
        n for n, i in enumerate(volume.invariants) if i.target == Target(hop.edge, _carrier(volume, hop), CLEAN)
    ]
    expected = float(evidence.residuals.expected[span, position[0]].sum())
    return pods_behind(window.series, span, volume.keys[hop.edge], _carrier(volume, hop), max(expected, 0.0))


def _sentence(volume: Volume, evidence: Evidence, window: Window, span: slice, number: int) -> str:
    residuals, target = evidence.residuals, volume.invariants[number].target
    edge = present(volume.keys[target.edge], window.series, window.index)
    length = span.stop - span.start
    when = "in this window" if length == 1 else f"in the last {format_duration(length * window.series.window_s)}"
    observed = float(residuals.observed[span, number].sum())
    expected = max(float(residuals.expected[span, number].sum()), 0.0)
    sigma = float(np.sqrt((residuals.sigma[span, number] ** 2).sum()))
    head = f"{edge.client} → {edge.server}:{edge.server_port}"
    rule = NAME if observed - expected > sigma else f"{NAME}; alone within one σ, it counts as part of the path"
    if target.counter == CALLS:
        what = "DNS queries" if volume.dns[target.edge] else "requests"
        return f"{head} carried {observed:.0f} {what} {when}; user requests and other edges explain {expected:.0f} ± {sigma:.0f} ({rule})"
    calls = _calls(volume, window, span, target.edge)
    verb = {REPLIES: "returned", REQUESTS: "sent", NAMES: "asked for names of"}[target.counter]
    asked = "queries" if target.counter == NAMES else "requests"
    why = f"{calls:.0f} {asked}" if target.kind == OWN else "user requests and other edges"
    return f"{head} {verb} {format_bytes(observed)} {when}; {why} explain {format_bytes(expected)} ± {format_bytes(sigma)} ({rule})"


def _calls(volume: Volume, window: Window, span: slice, edge: int) -> float:
    """Requests seen on an edge of training over these windows."""
    counter = "dns_queries" if volume.dns[edge] else "exchanges"
    return float(aligned(window.series, counter, [volume.keys[edge]])[span].sum())
