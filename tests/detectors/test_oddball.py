"""OddBall: egonets counted by hand, laws recovered from stars and cliques, the distance of equation 1."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.oddball import Oddball, _line, egonet_features, out_of_line
from tests.detectors.rival_samples import series, tcp
from tests.support.toyshop import Leak, Toy, shop

TRIANGLE_AND_TAIL = np.array([[0, 2, 3, 0], [2, 0, 4, 0], [3, 4, 0, 5], [0, 0, 5, 0.0]])


def test_egonets_of_a_triangle_with_a_tail() -> None:
    features = egonet_features(TRIANGLE_AND_TAIL[None])[0]
    assert features[:, :3].tolist() == [[2, 3, 9], [2, 3, 9], [3, 4, 14], [1, 1, 5]]
    assert features[3, 3] == pytest.approx(5)  # one edge: eigenvalues ± its weight
    assert features[2, 3] == pytest.approx(np.linalg.eigvalsh(TRIANGLE_AND_TAIL)[-1])


def test_a_neighbour_that_is_silent_takes_its_edges_along() -> None:
    quiet = TRIANGLE_AND_TAIL.copy()
    quiet[0, 1] = quiet[1, 0] = 0
    both = egonet_features(np.stack([TRIANGLE_AND_TAIL, quiet]))
    assert both[1, 0, :3].tolist() == [1, 1, 3]  # node 0 has only node 2 left; 1 – 2 is none of its egonet any more
    assert both[0, 0, :3].tolist() == [2, 3, 9]


@pytest.mark.parametrize("kind", ["star", "clique"])
def test_extremes_of_the_density_law(kind: str) -> None:
    """Hubs of stars have E = N, nodes of cliques E = N (N + 1) / 2: exponents 1 and nearly 2."""
    x, y = [], []
    for n in range(3, 30):
        matrix = np.ones((n, n)) - np.eye(n)
        if kind == "star":
            matrix[1:, 1:] = 0
        nodes, edges = egonet_features(matrix[None])[0, 0, :2]
        x.append(nodes)
        y.append(edges)
    c, theta = _line(np.array(x), np.array(y))
    assert theta == pytest.approx(1.0 if kind == "star" else 1.85, abs=1e-9 if kind == "star" else 0.05)
    assert c == pytest.approx(1.0 if kind == "star" else 0.8, abs=0.15)


def test_distance_is_symmetric_in_ratio() -> None:
    over, under = (out_of_line(np.array([10.0]), np.array([y]), 2.0, 1.0)[0] for y in (40.0, 10.0))
    assert over == pytest.approx(2 * np.log(21))
    assert under == pytest.approx(2 * np.log(11))


def test_a_leak_is_found_at_the_store() -> None:
    detector = Oddball().fit(shop(Toy(150, seed=1), with_pods=False))
    windows = shop(Toy(60, seed=2), Leak(30, 40, 1e7, ("user-db", "outside:sink")), with_pods=False)
    assert detector.score(windows).score[30:40].min() > detector.score(windows).score[:30].max()
    assert any("user-db" in (r.client, r.server) for r in detector.explain(windows.at(35)))


def test_the_papers_own_distance_is_kept_as_an_option() -> None:
    plain = Oddball().set_params(per_node=False)
    edges = {tcp("a", "b"): {"request_bytes": [10.0, 20]}, tcp("a", "c"): {"request_bytes": [30.0, 40]}}
    scores = plain.fit(series(edges)).score(series(edges))
    laws = plain.state()["laws"]
    law = out_of_line(np.array([2.0]), np.array([40.0]), *laws[1])[0]  # node a, first window: E 2, W 40
    assert scores.contributions[0].max() >= law > 0
