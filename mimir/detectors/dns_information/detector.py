"""How much could have left in the DNS queries of a pod to a domain today: an upper bound.

Paxson, Christodorescu, Javed, Rao, Sailer, Schales, Stoecklin, Thomas, Venema & Weaver, "Practical comprehensive bounds on
surreptitious communication over DNS", USENIX Security 2013; Ozery, Nadler & Shabtai, "Information-based heavy hitters for
real-time DNS data exfiltration detection and prevention", 2023 (arXiv 2307.02614).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import canonical, columns_of, keys_from_json, keys_to_json, total_bytes
from mimir.detectors.dns_information.account import Account
from mimir.detectors.dns_information.names import queries_of
from mimir.detectors.leakpaths import DNS_PORT, path_through
from mimir.detectors.messages import edge_of
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.pods import present, real_names
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries, Window
from mimir.units import DAY_S, format_bytes

SHOWN = 3  #: pairs named by `explain`
VARIANTS = ("auto", "compression", "hyperloglog", "bytes")
Pair = tuple[str, str]


class Found(NamedTuple):
    """Bounds of the pairs that asked in each window."""

    by_window: list[dict[Pair, float]]


class DnsInformation(Parametrised):
    """Score = largest bound on the bytes that the queries of one pod to one registered domain carried today, up to this window.

    Only pairs that ask in the window count. `compression`: the smallest of DEFLATE and two adaptive arithmetic codes over the
    names not seen before today, plus the same over which name was asked for again and with which record type, plus the same
    over the times between queries in ticks. `hyperloglog`: distinct names × mean length in constant memory. Names below the
    cluster's domain are answered inside and carry nothing out, which takes search-domain expansion off as well. `bytes`, all
    that is left without names (`auto` falls back to it): bytes of query names of an edge above its benign mean, a window.

    Source: Paxson et al., USENIX Security 2013 (bound); Ozery et al., arXiv 2307.02614, 2023 (constant memory)
    Family: information bound, DNS
    Supervised: no
    Needs: names of DNS queries (capture.dissector), else DNS name bytes
    Complexity: O(bytes of names) to fit and to score; memory likewise (hyperloglog: 1 kB a pod and domain)
    Limits: other channels; answers; many domains used in turn; registered domains by shape, not by the public suffix list
    """

    name = "dns_information"
    parameters = ("variant", "cluster_domain", "search_domains", "tick_s")

    def __init__(self) -> None:
        self.variant, self.cluster_domain, self.tick_s = "auto", "cluster.local", 1.0
        self.search_domains: list[str] = []
        self._mode = ""
        self._usual: dict[EdgeKey, float] = {}
        self._pairs: dict[str, float] = {}  #: pod's service and domain → largest benign bound
        self._last: tuple[EdgeSeries, Found] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn what is usual, for the reasons; MimirError for a wrong parameter or when names are demanded and absent."""
        if self.variant not in VARIANTS or self.tick_s <= 0:
            allowed = f"detector.variant must be one of {', '.join(VARIANTS)} (got {self.variant!r}), tick_s above 0"
            raise MimirError(f"{allowed} (got {self.tick_s}); see conf/detector/dns_information.yaml")
        named = queries_of(benign, self.cluster_domain, self.search_domains) is not None
        self._mode = self.variant if self.variant != "auto" else "compression" if named else "bytes"
        self._pairs, self._last = {}, None
        columns = columns_of(benign)
        mean = columns.sum(benign, "dns_name_bytes").mean(axis=0) if len(benign) else np.zeros(len(columns.keys))
        self._usual = {k: float(m) for k, m in zip(columns.keys, mean, strict=True) if m > 0}
        if self._mode != "bytes":
            for bounds in self._found(benign).by_window:
                for (pod, domain), bound in bounds.items():
                    pair = f"{benign.workloads.get(pod, pod)} {domain}"
                    self._pairs[pair] = max(self._pairs.get(pair, 0.0), bound)
        return self

    def _found(self, series: EdgeSeries) -> Found:
        if self._last and self._last[0] is series:
            return self._last[1]
        queries = queries_of(series, self.cluster_domain, self.search_domains)
        if queries is None:
            raise MimirError(
                f"dns_information ({self._mode}) needs the names of DNS queries and this recording has none; set "
                "capture.dissector=own (and capture.payload=dns), or detector.variant=bytes"
            )
        found, pairs, day = Found([{} for _ in range(len(series))]), dict[Pair, Account](), -1
        touched: dict[int, set[Pair]] = {}
        for number, query in enumerate(queries):
            today = int(query.ts // DAY_S)
            pairs, day = (pairs, day) if today == day else ({}, today)
            pair = (query.pod, query.domain)
            pairs.setdefault(pair, Account(self._mode)).add(query, self.tick_s)
            touched.setdefault(query.window, set()).add(pair)
            if number + 1 == len(queries) or queries[number + 1].window != query.window:
                here = found.by_window[query.window]
                here.update({p: pairs[p].bound() for p in touched[query.window] if p in pairs})
        self._last = (series, found)
        return found

    @once_a_series
    def _excess(self, series: EdgeSeries) -> NDArray[np.float64]:
        """(T, columns) name bytes above the mean of training."""
        columns = columns_of(series)
        usual = np.array([self._usual.get(k, 0.0) for k in columns.keys])
        return np.asarray(np.maximum(columns.sum(series, "dns_name_bytes") - usual, 0.0))

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest bound, bytes; contributions stand on the edge from the pod (or its service) to its resolver."""
        self.require(bool(self._mode))
        if self._mode == "bytes":
            excess = self._excess(windows)
            parts = columns_of(windows).spread(excess, windows.dense("dns_name_bytes"))
            return Scores(windows.window_s, windows.window_start, excess.max(axis=1, initial=0.0), windows.edges, parts)
        out, parts = np.zeros(len(windows)), np.zeros((len(windows), len(windows.edges)))
        edges: dict[str, int | None] = {}
        for t, bounds in enumerate(self._found(windows).by_window):
            out[t] = max(bounds.values(), default=0.0)
            for (pod, _), bound in bounds.items():
                edge = edges.setdefault(pod, edge_of(windows, pod, None, DNS_PORT))
                if edge is not None:
                    parts[t, edge] = max(parts[t, edge], bound)
        return Scores(windows.window_s, windows.window_start, out, windows.edges, parts)

    def explain(self, window: Window) -> list[Reason]:
        """The pods and domains with the largest bounds; without names the edges with most name bytes above usual."""
        self.require(bool(self._mode))
        series, t = window.series, window.index
        if self._mode == "bytes":
            row, keys = self._excess(series)[t], columns_of(series).keys
            order = [int(i) for i in np.argsort(-row, kind="stable")[:SHOWN] if row[i] > 0]
            told = "names asked for could carry up to {} more than on average in training ({})"
            return [self._reason(window, present(keys[i], series, t), told, float(row[i]), self._usual.get(keys[i], 0.0),
                                 float(row[i]), ()) for i in order]  # fmt: skip
        found, reasons = self._found(series).by_window, []
        for (pod, domain), bound in sorted(found[t].items(), key=lambda item: (-item[1], item[0]))[:SHOWN]:
            edge = edge_of(series, pod, None, DNS_PORT)
            if edge is not None:
                usual = self._pairs.get(f"{series.workloads.get(pod, pod)} {domain}", 0.0)
                before = next((w[pod, domain] for w in reversed(found[:t]) if (pod, domain) in w), 0.0)
                gained = bound - before if bound >= before else bound  # a new day starts from nothing
                told = f"today's queries of {pod} for {domain} could carry up to {{}}, in training at most {{}}"
                pods = (pod,) if pod in series.workloads else ()
                reasons.append(self._reason(window, series.edges[edge], told, bound, usual, gained, pods))
        return reasons

    def _reason(self, window: Window, edge: EdgeKey, told: str, bound: float, usual: float, gained: float,
                pods: tuple[str, ...]) -> Reason:  # fmt: skip
        series = window.series
        what = told.format(format_bytes(bound), format_bytes(usual))
        text = f"{edge.client} → {edge.server}:{edge.server_port}: {what} ({self._mode} bound)"
        columns = columns_of(series)
        used = columns.fold(total_bytes(series)[window.index][None])[0] > 0
        keys = [key for key, carried in zip(columns.keys, used, strict=True) if carried]
        ends = canonical(edge, series.workloads)
        path = real_names(path_through(keys, series.sensitive, ends.client, ends.server), series, window.index)
        return Reason(self.name, text, *edge[:3], bound, usual, "bytes", path=path, pods=pods, bytes_estimate=gained,
                      bytes_low=0.0, bytes_high=gained, technique="T1048.003")  # fmt: skip

    def state(self) -> Mapping[str, Any]:
        """Which bound, mean name bytes of edges, largest benign bound of pairs."""
        self.require(bool(self._mode))
        usual = {"edges": keys_to_json(tuple(self._usual)), "usual": np.array(list(self._usual.values()))}
        return {"mode": self._mode, **usual, "pairs": self._pairs}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._mode, self._pairs, self._last = str(state["mode"]), dict(state["pairs"]), None
        self._usual = dict(zip(keys_from_json(state["edges"]), map(float, state["usual"]), strict=True))
        return self
