"""Ranking measures against scikit-learn, with and without ties, weighted and not."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from mimir.evaluation.ranking import (
    Ranking,
    auroc,
    average_precision,
    oracle_f1,
    partial_auroc,
    precision_recall_points,
    roc_points,
)


def sample(seed: int, ties: bool, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.2
    score = rng.normal(size=n) + 1.2 * positive
    return (np.round(score) if ties else score), positive


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn(seed: int, ties: bool) -> None:
    score, positive = sample(seed, ties)
    curve = Ranking.of(score, positive).curve()
    assert average_precision(*curve) == pytest.approx(average_precision_score(positive, score), abs=1e-12)
    assert auroc(*curve) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)
    for limit in (1e-2, 0.1, 0.5):
        assert partial_auroc(*curve, limit) == pytest.approx(roc_auc_score(positive, score, max_fpr=limit), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_repetitions(seed: int) -> None:
    score, positive = sample(seed, ties=True)
    weight = np.random.default_rng(seed).integers(0, 4, size=(3, len(score)))
    tp, fp = Ranking.of(score, positive).curve(weight.astype(float))
    for row in range(3):
        repeated, labels = np.repeat(score, weight[row]), np.repeat(positive, weight[row])
        assert average_precision(tp, fp)[row] == pytest.approx(average_precision_score(labels, repeated), abs=1e-12)
        assert auroc(tp, fp)[row] == pytest.approx(roc_auc_score(labels, repeated), abs=1e-12)
        assert partial_auroc(tp, fp, 1e-2)[row] == pytest.approx(
            roc_auc_score(labels, repeated, max_fpr=1e-2), abs=1e-12
        )


def test_oracle_f1_is_the_best_over_thresholds() -> None:
    score, positive = sample(1, ties=True)
    precision, recall, _ = precision_recall_curve(positive, score)
    with np.errstate(invalid="ignore"):
        best = np.nanmax(2 * precision * recall / (precision + recall))
    assert oracle_f1(*Ranking.of(score, positive).curve()) == pytest.approx(best, abs=1e-12)


def test_perfect_and_reversed_ranking() -> None:
    positive = np.array([True, True, False, False])
    perfect = Ranking.of(np.array([4.0, 3.0, 2.0, 1.0]), positive).curve()
    assert (auroc(*perfect), average_precision(*perfect), oracle_f1(*perfect)) == (1.0, 1.0, 1.0)
    assert partial_auroc(*perfect, 1e-2) == pytest.approx(1.0)
    assert auroc(*Ranking.of(np.array([1.0, 2.0, 3.0, 4.0]), positive).curve()) == 0.0


def test_roc_points_are_those_of_scikit_learn_when_few() -> None:
    score, positive = sample(2, ties=True)
    fpr, tpr, _ = roc_curve(positive, score, drop_intermediate=False)
    curve = Ranking.of(score, positive).curve()
    assert np.allclose(roc_points(*curve, 200), np.c_[fpr, tpr])
    recall_precision = precision_recall_points(*curve, 200)
    precision, recall, _ = precision_recall_curve(positive, score)
    assert np.allclose(recall_precision, np.c_[recall, precision][:-1][::-1])


def test_thinned_curves_keep_their_ends_and_the_low_false_positive_end() -> None:
    score, positive = sample(3, ties=False, n=5000)
    curve = Ranking.of(score, positive).curve()
    points = roc_points(*curve, 200)
    assert len(points) <= 200
    assert points[0] == [0.0, 0.0]
    assert points[-1] == [1.0, 1.0]
    assert sum(fpr <= 0.01 for fpr, _ in points) > 50
    assert len(precision_recall_points(*curve, 200)) <= 200
