"""SpotLight: sketches are sums over random sets, the distance is Mahalanobis', and edges share it out exactly."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.spotlight import Spotlight, members
from mimir.errors import MimirError
from tests.detectors.rival_samples import series, tcp
from tests.support.toyshop import Leak, Toy, shop


def test_sets_have_the_share_asked_for_and_depend_on_name_role_and_seed_only() -> None:
    names = [f"s{i}" for i in range(400)]
    sets = members(names, 0.25, 64, 1, "source")
    assert sets.mean() == pytest.approx(0.25, abs=0.01)
    assert np.array_equal(sets[7], members(["s7"], 0.25, 64, 1, "source")[0])
    assert not np.array_equal(sets, members(names, 0.25, 64, 1, "target"))
    assert not np.array_equal(sets, members(names, 0.25, 64, 2, "source"))


def test_distance_of_a_single_sketch_by_hand() -> None:
    """Every node in the one set: bytes 900, 1100 (mean 1000, scale 100, variance of z 1), then 1300 is 3 away."""
    fit, test = (series({tcp("a", "b"): {"request_bytes": b}}) for b in ([900.0, 1100.0], [1300.0, 1000.0]))
    one = Spotlight().set_params(sketches=1, source_share=1.0, target_share=1.0, shrinkage=1e-9).fit(fit)
    assert one.score(test).score == pytest.approx([3.0, 0.0], abs=1e-6)


def test_contributions_add_up() -> None:
    detector = Spotlight().fit(shop(Toy(100, seed=1), with_pods=False))
    scores = detector.score(shop(Toy(40, seed=2), Leak(10, 20, 1e6, ("user-db", "outside:sink")), with_pods=False))
    assert scores.contributions.sum(axis=1) == pytest.approx(scores.score)
    leak = [e.server for e in scores.edges].index("outside:sink")
    assert (scores.contributions[10:20].argmax(axis=1) == leak).all()


def test_parameters_are_checked() -> None:
    with pytest.raises(MimirError, match=r"source_share must lie in \(0, 1\] \(got 0\)"):
        Spotlight().set_params(source_share=0).fit(series({tcp("a", "b"): {"request_bytes": [1.0, 2.0]}}))
