"""Features against values computed by hand and in other ways; models that survive storage; what is new has no feature."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from mimir.detectors.mimir_lasso import MimirLasso
from mimir.detectors.mimir_lasso.features import Features, centrality, currents
from mimir.detectors.mimir_lasso.podgraph import PodGraph
from mimir.detectors.registry import build
from mimir.errors import MimirError
from mimir.flows.edges import COUNTERS, EdgeKey, EdgeSeries
from tests.support import detector_contract as contract

#: client, server, bytes of requests, of replies, of both those over a service address
FEW = (
    ("outside:1", "web-0", 100, 900, 0),
    ("outside:2", "web-1", 100, 300, 0),
    ("web-0", "db-0", 40, 60, 100),
    ("web-1", "db-0", 10, 30, 20),
    ("node:1", "web-0", 999, 999, 0),
)
WORKLOADS = {"web-0": "web", "web-1": "web", "db-0": "db"}


def pods(rows: tuple[tuple[str, str, int, int, int], ...] = FEW) -> EdgeSeries:
    """One window of pod edges."""
    keys = tuple(EdgeKey(client, server, 80, "tcp") for client, server, *_ in rows)
    table = pd.DataFrame({"window": 0, "edge": range(len(rows)), **dict.fromkeys(COUNTERS, 0)})
    for number, name in enumerate(("request_bytes", "response_bytes", "mediated_bytes"), 2):
        table[name] = [row[number] for row in rows]
    return EdgeSeries(60, np.array([0]), keys, table, WORKLOADS, frozenset({"db"}))


def test_features_are_those_computed_by_hand() -> None:
    features = Features.of(pods())
    assert features.pairs == (("db", "web"), ("outside", "web"))
    found = dict(zip(features.items, features.table(pods())[0], strict=True))
    values = {(item.family, item.services): value for item, value in found.items()}
    # db and web: pods 40 | 60 and 10 | 30 bytes; 2 (40 + 10) / 140. Outside and web: 100 | 900 and 100 | 300
    assert values["reciprocity", ("db", "web")] == pytest.approx(100 / 140)
    assert values["reciprocity", ("outside", "web")] == pytest.approx(400 / 1400)
    assert values["evenness", ("db", "web")] == pytest.approx(np.std([100, 40]) / 70)
    assert values["bypass", ()] == pytest.approx(20 / 140)  # probes of the node are no pod-to-pod traffic
    # earth and store are joined by 100 in series with 1000, and by 40 in series with 400
    first, second = 1 / (1 / 100 + 1 / 1000), 1 / (1 / 40 + 1 / 400)
    share = np.array([first, second]) / (first + second)
    assert values["current", ("web",)] == pytest.approx(np.std(share) / np.mean(share), abs=1e-6)
    assert np.isnan(values["current", ("db",)])  # one pod


def test_centrality_and_current_agree_with_other_ways_to_compute_them() -> None:
    random = np.random.default_rng(5)
    names = [f"s{i}" for i in range(6)] + ["outside:x"]
    rows = tuple((a, b, int(random.integers(1, 1000)), int(random.integers(1, 1000)), 0)
                 for i, a in enumerate(names) for b in names[i + 1 :] if random.random() < 0.6)  # fmt: skip
    graph = PodGraph.of(pods(rows))
    total = sum(r[2] + r[3] for r in rows)
    directed, joined = nx.DiGraph(), nx.Graph()
    for client, server, up, down, _ in rows:
        a, b = (("outside" if n.startswith("outside") else n) for n in (client, server))
        directed.add_edge(a, b, far=total / up)
        directed.add_edge(b, a, far=total / down)
        joined.add_edge(a, b, g=(up + down) / total)
    expected = nx.harmonic_centrality(directed, distance="far")
    assert centrality(graph, graph.nodes)[0] == pytest.approx([expected[n] for n in graph.nodes])
    # Brandes & Fleischer 2005: potentials from the pseudo-inverse of the Laplacian, half of all current at a node passes it
    laplacian = nx.laplacian_matrix(joined, nodelist=list(graph.nodes), weight="g").toarray()
    inverse, place = np.linalg.pinv(laplacian), {name: n for n, name in enumerate(graph.nodes)}
    potential = inverse[:, place["s0"]] - inverse[:, place["outside"]]
    found = dict(zip(graph.nodes, currents(graph, frozenset({"s0"}))[0], strict=True))
    for name in set(graph.nodes) - {"s0", "outside"}:
        around = [joined[name][u]["g"] * abs(potential[place[name]] - potential[place[u]]) for u in joined[name]]
        assert found[name] == pytest.approx(sum(around) / 2, abs=1e-6)
    assert found["s0"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("model", ["logistic", "gradient_boosting"])
def test_other_models_learn_and_survive_the_disk(model: str, tmp_path: Path) -> None:
    make = partial(build, "mimir_lasso", {"model": model, "trees": 20})
    contract.check_state(make, tmp_path)
    detector = contract.taught(make, contract.series(contract.FIT))
    assert contract.leaking(detector, 0.0, contract.CHAIN) < contract.leaking(detector, 1e6, contract.CHAIN)


def test_a_leak_on_a_path_it_was_not_shown_scores_higher() -> None:
    detector = contract.taught(MimirLasso, contract.series(contract.FIT))
    scores = [contract.leaking(detector, rate, contract.CHAIN) for rate in (0.0, 1e6)]
    assert scores[0] < scores[1]


def test_labels_of_one_kind_are_refused() -> None:
    windows, labels = contract.labelled()
    with pytest.raises(MimirError, match="no leaking window"):
        MimirLasso().fit(contract.series(contract.FIT)).learn(windows, np.zeros_like(labels))
