"""A small shop as an EdgeSeries: request-driven sizes, load swings, pods, and a leak along a path. Pure and seeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimir.flows.edges import COUNTERS, EdgeKey, EdgeSeries

OUT, FE, DNS, NODE = "outside:users", "front-end", "kube-dns", "node:worker-1"
RESOLVER = "outside:resolver"
PORTS = {FE: 8079, "user-db": 27017, "orders-db": 27017, "carts-db": 27017, "catalogue-db": 3306, DNS: 53, RESOLVER: 53}
PROFILE = (
    np.array([69, 61, 53, 47, 42, 39, 38, 39, 42, 47, 53, 61, 69, 77, 84, 91, 96, 99, 100, 99, 96, 91, 84, 77]) / 100
)
#: action → (share of user requests, calls per edge)
ACTIONS: Mapping[str, tuple[float, Mapping[tuple[str, str], float]]] = {
    "static": (0.35, {}),
    "browse": (0.40, {(FE, "catalogue"): 1, ("catalogue", "catalogue-db"): 1, (FE, "carts"): 0.3}),
    "login": (0.13, {(FE, "user"): 1, ("user", "user-db"): 2, (FE, "carts"): 1, ("carts", "carts-db"): 1}),
    "register": (0.04, {(FE, "user"): 1, ("user", "user-db"): 3}),
    "buy": (
        0.08,
        {
            (FE, "user"): 3,
            ("user", "user-db"): 6,
            (FE, "orders"): 1,
            ("orders", "user"): 3,
            ("orders", "carts"): 1,
            ("carts", "carts-db"): 1,
            ("orders", "payment"): 1,
            ("orders", "shipping"): 1,
            ("orders", "orders-db"): 1,
        },
    ),
}
#: edge → (request bytes, response bytes, coefficient of variation of the response)
SIZES: Mapping[tuple[str, str], tuple[float, float, float]] = {
    (OUT, FE): (420, 4800, 1.2),
    (FE, "catalogue"): (210, 2900, 0.9),
    ("catalogue", "catalogue-db"): (160, 3300, 0.9),
    (FE, "carts"): (260, 900, 0.6),
    ("carts", "carts-db"): (190, 800, 0.6),
    (FE, "user"): (300, 1500, 0.8),
    ("user", "user-db"): (180, 900, 0.7),
    (FE, "orders"): (650, 1100, 0.4),
    ("orders", "user"): (230, 700, 0.4),
    ("orders", "carts"): (230, 650, 0.5),
    ("orders", "payment"): (520, 180, 0.1),
    ("orders", "shipping"): (380, 210, 0.1),
    ("orders", "orders-db"): (1400, 300, 0.3),
}
EDGES = tuple(SIZES)
SERVICES = (
    FE,
    "catalogue",
    "catalogue-db",
    "carts",
    "carts-db",
    "user",
    "user-db",
    "orders",
    "orders-db",
    "payment",
    "shipping",
)
REPLICAS = {FE: 3, "user": 2, "catalogue": 2}
CHAIN = ("user-db", "user", FE, OUT)


@dataclass(frozen=True)
class Leak:
    """Bytes leaving along `path` (store first, outside last) in windows `start` … `stop` - 1."""

    start: int
    stop: int
    bytes_per_window: float
    path: tuple[str, ...] = CHAIN
    message_bytes: float = 10_000.0
    dns: bool = False
    mediated: bool = True


@dataclass(frozen=True)
class Toy:
    """What to generate. `users` sets the load; `first_step` is where the day profile starts."""

    windows: int
    window_s: int = 60
    seed: int = 1
    requests_per_s: float = 25.0
    steps: int = 24
    mix_noise: float = 0.10
    rare_large: float = 0.002
    show_service_addresses: bool = True
    sensitive: frozenset[str] = frozenset({"user-db", "orders-db"})
    replicas: Mapping[str, int] | None = None
    start: int = 1_700_000_040


Columns = dict[EdgeKey, dict[str, NDArray[np.float64]]]


def key(client: str, server: str) -> EdgeKey:
    """The edge opened by `client`; port and protocol as in the shop."""
    return EdgeKey(client, server, PORTS.get(server, 80), "udp" if server in (DNS, RESOLVER) else "tcp")


def load(toy: Toy) -> NDArray[np.float64]:
    """(T,) share of the peak load: the day profile, compressed into the recording."""
    step = np.arange(toy.windows) * toy.steps // max(1, toy.windows)
    return PROFILE[step % len(PROFILE)]


def _row(requests: NDArray, up: NDArray, down: NDArray, mediated: float = 1.0) -> dict[str, NDArray[np.float64]]:
    packets_up, packets_down = requests + np.ceil(up / 1400), requests + np.ceil(down / 1400)
    up_ip, down_ip = up + 52 * packets_up, down + 52 * packets_down
    return {
        "request_bytes": up_ip,
        "response_bytes": down_ip,
        "request_payload_bytes": up,
        "response_payload_bytes": down,
        "request_packets": packets_up,
        "response_packets": packets_down,
        "connections": np.ceil(requests / 20),
        "exchanges": requests,
        "mediated_bytes": mediated * (up_ip + down_ip),
        "dns_queries": np.zeros_like(up),
        "dns_name_bytes": np.zeros_like(up),
    }


def _sum_of_sizes(rng: np.random.Generator, count: NDArray, mean: float, cv: float) -> NDArray[np.float64]:
    """The sum of `count` gamma-distributed sizes (exact), 0 where count is 0."""
    shape = np.maximum(count, 1e-9) / cv**2
    return np.where(count > 0, rng.gamma(shape, mean * cv**2), 0.0).round()


def _straddle(values: NDArray, share: float = 0.01) -> NDArray[np.float64]:
    """Some bytes arrive one window after the request that caused them."""
    late = np.floor(values * share)
    return values - late + np.concatenate([[0.0], late[:-1]]) if len(values) else values


def _calls(toy: Toy, rng: np.random.Generator) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Requests per window on every edge, from user actions with a slowly drifting mix."""
    expected = toy.requests_per_s * toy.window_s * load(toy)
    calls = {edge: np.zeros(toy.windows) for edge in EDGES}
    memory = np.exp(-toy.window_s / 300)
    for share, tree in ACTIONS.values():
        shocks = rng.normal(size=toy.windows) * toy.mix_noise * np.sqrt(1 - memory**2)
        drift = np.zeros(toy.windows)
        for t in range(toy.windows):
            drift[t] = (memory * drift[t - 1] if t else 0.0) + shocks[t]
        actions = rng.poisson(expected * share * np.exp(drift)).astype(float)
        calls[OUT, FE] += actions
        for edge, per_action in tree.items():
            whole, part = divmod(per_action, 1)
            calls[edge] += whole * actions + (rng.binomial(actions.astype(int), part) if part else 0.0)
    return calls


def benign(toy: Toy) -> Columns:
    """Service-view counters of the shop without a leak."""
    rng = np.random.default_rng([toy.seed, 11])
    mediated = 1.0 if toy.show_service_addresses else 0.0
    calls, rows = _calls(toy, rng), {}
    for edge in EDGES:
        up_mean, down_mean, cv = SIZES[edge]
        count = calls[edge]
        down = _sum_of_sizes(rng, count, down_mean, cv)
        large = rng.binomial(count.astype(int), toy.rare_large) if cv > 0.5 else np.zeros(toy.windows, int)
        down += np.array([np.minimum(rng.pareto(2.0, n) + 1, 20).sum() * 5_000 for n in large]).round()
        rows[key(*edge)] = _row(count, _straddle(_sum_of_sizes(rng, count, up_mean, 0.2)), _straddle(down), mediated)
    for service in SERVICES:
        out = sum((calls[e] for e in EDGES if e[0] == service), np.zeros(toy.windows))
        queries = rng.binomial(out.astype(int), 0.2).astype(float) * 2 + rng.poisson(0.4, toy.windows)
        names = _sum_of_sizes(rng, queries, 34, 0.3)
        rows[key(service, DNS)] = _dns_row(queries, names, mediated)
        probes = np.full(toy.windows, toy.window_s / 10) + rng.integers(-1, 2, toy.windows) * (
            rng.random(toy.windows) < 0.1
        )
        probes = np.maximum(probes, 0.0).round()
        rows[key(NODE, service)] = _row(probes, 120 * probes, 180 * probes, 0.0)
    upstream = rng.poisson(toy.window_s / 12, toy.windows).astype(float)
    rows[key(DNS, RESOLVER)] = _dns_row(upstream, _sum_of_sizes(rng, upstream, 20, 0.3), 0.0)
    return rows


def _dns_row(queries: NDArray, names: NDArray, mediated: float) -> dict[str, NDArray[np.float64]]:
    row = _row(queries, names + 18 * queries, names + 60 * queries, mediated)
    return {**row, "dns_queries": queries, "dns_name_bytes": names, "exchanges": queries}


def add_leak(rows: Columns, leak: Leak, windows: int, seed: int) -> None:
    """Carry the leak hop by hop: in replies where the edge exists that way round, else in requests (a new edge)."""
    rng = np.random.default_rng([seed, 13])
    active = np.zeros(windows)
    active[leak.start : leak.stop] = 1.0
    amount = (active * leak.bytes_per_window * rng.uniform(0.9, 1.1, windows)).round()
    if leak.dns:
        _add_dns(rows, leak.path, amount)
        return
    messages = np.ceil(amount / leak.message_bytes)
    for store, taker in zip(leak.path, leak.path[1:], strict=False):
        reply = key(taker, store)
        if reply in rows:
            extra, target = _row(messages, 150 * messages, amount + 120 * messages, float(leak.mediated)), reply
        else:
            extra, target = _row(messages, amount + 150 * messages, 60 * messages, 0.0), key(store, taker)
        if rows.get(reply, {}).get("mediated_bytes", np.ones(1)).sum() == 0:
            extra["mediated_bytes"] = np.zeros(windows)
        _add(rows, target, extra)


def _add_dns(rows: Columns, path: tuple[str, ...], amount: NDArray) -> None:
    names = np.ceil(amount * 1.6)
    queries = np.ceil(names / 200)
    for client, server in pairwise(path):
        _add(rows, key(client, server), _dns_row(queries, names, float(server == DNS)))


def _add(rows: Columns, target: EdgeKey, extra: dict[str, NDArray[np.float64]]) -> None:
    old = rows.get(target)
    rows[target] = {name: extra[name] + (old[name] if old else 0.0) for name in COUNTERS}


def to_series(rows: Columns, toy: Toy, workloads: dict[str, str], pods: EdgeSeries | None) -> EdgeSeries:
    """Columns → EdgeSeries (sparse, zero rows left out)."""
    keys = tuple(sorted(rows))
    frames = []
    for number, name in enumerate(keys):
        frame = pd.DataFrame({c: rows[name][c] for c in COUNTERS})
        frame.insert(0, "edge", number)
        frame.insert(0, "window", np.arange(toy.windows))
        frames.append(frame[frame[list(COUNTERS)].to_numpy().any(axis=1)])
    columns = ["window", "edge", *COUNTERS]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({c: [] for c in columns})
    table = table.astype({"window": np.int64, "edge": np.int64, **{c: np.float64 for c in COUNTERS}})
    starts = toy.start + toy.window_s * np.arange(toy.windows, dtype=np.int64)
    return EdgeSeries(toy.window_s, starts, keys, table, workloads, toy.sensitive, pods)


def pod_names(toy: Toy) -> dict[str, list[str]]:
    """Pods of every service."""
    replicas = {**REPLICAS, **(toy.replicas or {})}
    return {s: [f"{s}-{i}" for i in range(replicas.get(s, 1))] for s in (*SERVICES, DNS)}


def _split(rows: Columns, toy: Toy, leaks: Sequence[Leak]) -> Columns:
    """Pod view: benign traffic spread evenly with noise; leaked traffic passes pod 0 of every service."""
    rng, pods = np.random.default_rng([toy.seed, 17]), pod_names(toy)
    out: Columns = {}
    leaked: Columns = {}
    for number, leak in enumerate(leaks):
        add_leak(
            leaked_rows := {k: {c: np.zeros(toy.windows) for c in COUNTERS} for k in rows},
            leak,
            toy.windows,
            toy.seed + number,
        )
        for name, row in leaked_rows.items():
            _add(leaked, name, row)
    for name, row in rows.items():
        clients, servers = pods.get(name.client, [name.client]), pods.get(name.server, [name.server])
        weights = rng.dirichlet(np.full(len(clients) * len(servers), 50.0))
        extra = leaked.get(name)
        for i, client in enumerate(clients):
            for j, server in enumerate(servers):
                share = weights[i * len(servers) + j]
                part = {c: (row[c] - (extra[c] if extra else 0.0)) * share for c in COUNTERS}
                if extra and i == j == 0:
                    part = {c: part[c] + extra[c] for c in COUNTERS}
                out[name._replace(client=client, server=server)] = part
    return out


def shop(toy: Toy, *leaks: Leak, with_pods: bool = True) -> EdgeSeries:
    """The whole thing: service view, with `pods`, `workloads` and `sensitive` filled in."""
    rows = benign(toy)
    for number, leak in enumerate(leaks):
        add_leak(rows, leak, toy.windows, toy.seed + number)
    workloads = {pod: service for service, names in pod_names(toy).items() for pod in names}
    pods = to_series(_split(rows, toy, leaks), toy, workloads, None) if with_pods else None
    return to_series(rows, toy, workloads, pods)


def select(series: EdgeSeries, edges: Sequence[EdgeKey], windows: int | None = None) -> EdgeSeries:
    """Only these edges (and the first `windows` windows)."""
    count = len(series) if windows is None else windows
    place = {series.edges.index(e): i for i, e in enumerate(edges)}
    table = series.table[series.table["edge"].isin(list(place)) & (series.table["window"] < count)].copy()
    table["edge"] = table["edge"].map(place).astype(np.int64)
    return replace(
        series, window_start=series.window_start[:count], edges=tuple(edges), table=table, pods=None, _dense={}
    )


def empty(series: EdgeSeries) -> EdgeSeries:
    """The same windows without any traffic, and without any edge."""
    return select(series, [])


def wide(windows: int, edges: int, seed: int, window_s: int = 60) -> EdgeSeries:
    """A big application without a story: a tree of services, request counts handed down, sizes per request."""
    rng = np.random.default_rng([seed, 19])
    toy = Toy(windows, window_s, seed, sensitive=frozenset({f"s{edges - 1}", f"s{edges - 2}"}))
    users = rng.poisson(600 * load(toy)).astype(float)
    calls, rows = {0: users}, {}
    rows[EdgeKey(OUT, "s0", 80, "tcp")] = _row(users, 300 * users, _sum_of_sizes(rng, users, 2_000, 0.8))
    for number in range(1, edges):
        parent = int(rng.integers(max(0, (number - 1) // 3), number))
        calls[number] = rng.binomial(calls[parent].astype(int), 0.8).astype(float)
        down = _sum_of_sizes(rng, calls[number], float(rng.uniform(200, 3_000)), 0.7)
        rows[EdgeKey(f"s{parent}", f"s{number}", 80, "tcp")] = _row(calls[number], 250 * calls[number], down)
    return to_series(rows, toy, {}, None)
