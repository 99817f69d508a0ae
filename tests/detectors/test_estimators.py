"""The adapter and the estimators behind it: against their libraries, and ECOD and COPOD against PyOD."""

from __future__ import annotations

import logging
from typing import get_args

import numpy as np
import pytest

from mimir.detectors import estimators, pyod
from mimir.detectors.copod import Copod
from mimir.detectors.ecod import Ecod
from mimir.detectors.isolation_forest import IsolationForest
from mimir.detectors.lof import Lof
from mimir.detectors.measures import Measures
from mimir.detectors.ocsvm import Ocsvm
from mimir.detectors.pyod import MODELS, Pyod
from mimir.errors import MimirError
from mimir.spec.detector import PyodName
from tests.support.detector_contract import DIRECT, FIT, LEAK, TEST, leaking, series
from tests.support.few_edges import few
from tests.support.toyshop import Toy

POINTS = np.random.default_rng(4).gamma(2.0, size=(200, 7))
NEW = np.random.default_rng(5).gamma(2.0, size=(50, 7)) * 1.5


def test_tails_are_those_of_pyod() -> None:
    reference = pytest.importorskip("pyod.models.ecod").ECOD().fit(POINTS)
    model = Ecod().make()
    left, right = model.fit(POINTS).tails(POINTS)
    assert left == pytest.approx(reference.U_l)
    assert right == pytest.approx(reference.U_r)
    auto = np.where(model.skew < 0, reference.U_l, reference.U_r)
    sums = [part.sum(axis=1) for part in (reference.U_l, reference.U_r, auto)]
    assert model.abnormality(POINTS) == pytest.approx(np.max(sums, axis=0))


def test_copod_gives_pyods_scores_on_training() -> None:
    reference = pytest.importorskip("pyod.models.copod").COPOD().fit(POINTS)
    assert Copod().make().fit(POINTS).abnormality(POINTS) == pytest.approx(reference.decision_scores_)


def test_one_new_row_scores_nearly_as_in_pyod_and_alone_as_in_company() -> None:
    reference = pytest.importorskip("pyod.models.copod").COPOD().fit(POINTS)
    model = Copod().make().fit(POINTS)
    alone = np.array([model.abnormality(row[None])[0] for row in NEW])
    assert (alone == model.abnormality(NEW)).all()
    theirs = np.array([reference.decision_function(row[None])[0] for row in NEW])
    assert alone == pytest.approx(theirs, rel=0.1)
    assert np.abs(theirs / reference.decision_function(NEW) - 1).max() > 0.05, "in PyOD company matters"


def test_tails_by_hand() -> None:
    """Training 1, 2, 3, 4: of 3, three are ≤ and two are ≥; of 9, all are ≤ and none is ≥, which counts as 1 of 5."""
    left, right = Ecod().make().fit(np.array([[1.0], [2.0], [3.0], [4.0]])).tails(np.array([[3.0], [9.0]]))
    assert np.exp(-left).ravel() == pytest.approx([3 / 4, 1])
    assert np.exp(-right).ravel() == pytest.approx([2 / 4, 1 / 5])


def test_contributions_of_ecod_add_up_where_every_measure_has_an_edge() -> None:
    detector = Ecod().fit(series(FIT))
    scores = detector.score(series(TEST, 1e6))
    busy = [i for i in range(len(scores.score)) if scores.contributions[i].sum() == pytest.approx(scores.score[i])]
    assert len(busy) > 0.5 * len(scores.score)
    assert (scores.contributions.sum(axis=1) <= scores.score + 1e-9).all()


def test_measures_by_hand() -> None:
    """a asks b (10, 20 B), b answers 5 B; the new edge b → c has no measure of its own but b sent 7 B more."""
    measures = Measures.of(few({("a", "b"): [1.0]}, {("a", "b"): [1.0]}))
    windows = few({("a", "b"): [10.0, 20.0], ("b", "c"): [7.0, 0.0]}, {("a", "b"): [5.0, 5.0]})
    assert measures.table(windows).tolist() == [[10, 5, 10, 12], [20, 5, 20, 5]]
    parts = measures.to_edges(windows, np.array([[0.0, 0.0, 0.0, 12.0], [1.0, 2.0, 3.0, 4.0]]))
    assert parts == pytest.approx(np.array([[5.0, 7.0], [10.0, 0.0]]))


@pytest.mark.parametrize(
    ("detector", "reference"),
    [
        (IsolationForest(50, 64, 3), lambda x, y: -_forest().fit(x).score_samples(y)),
        (Lof(15), lambda x, y: -_lof().fit(x).score_samples(y)),
        (Ocsvm(0.1), lambda x, y: -_svm().fit(x).decision_function(y)),
    ],
    ids=["isolation_forest", "lof", "ocsvm"],
)
def test_the_adapter_adds_nothing_to_scikit_learn(detector, reference) -> None:
    fit, test = series(FIT), series(TEST, 1e6)
    measures = Measures.of(fit)
    logs = np.log1p(measures.table(fit))
    scale = np.maximum(logs.std(axis=0), 0.01)
    x, y = (logs - logs.mean(axis=0)) / scale, (np.log1p(measures.table(test)) - logs.mean(axis=0)) / scale
    assert detector.fit(fit).score(test).score == pytest.approx(reference(x, y))


def _forest():
    from sklearn.ensemble import IsolationForest as Forest

    return Forest(n_estimators=50, max_samples=64, random_state=3)


def _lof():
    from sklearn.neighbors import LocalOutlierFactor

    return LocalOutlierFactor(n_neighbors=15, novelty=True)


def _svm():
    from sklearn.svm import OneClassSVM

    return OneClassSVM(nu=0.1)


def test_explain_finds_the_edge_that_leaks() -> None:
    for detector in (Lof(), Ocsvm()):  # ranks cannot: many measures are at their most extreme at any time
        reason = detector.fit(series(FIT)).explain(series(TEST, 3e7).at(LEAK.start + 5))[0]
        assert (reason.client, reason.server) == DIRECT, detector.name


def test_spec_and_adapter_name_the_same_estimators() -> None:
    assert get_args(PyodName) == tuple(MODELS)


@pytest.mark.parametrize("name", [m if m != "ABOD" else pytest.param(m, marks=pytest.mark.slow) for m in MODELS])
def test_every_estimator_of_pyod_that_we_offer(name: str) -> None:
    pytest.importorskip("pyod")
    fit, rates = series(Toy(60, seed=1)), (0.0, 1e6, 1e8)
    one, two = (Pyod(name).fit(fit) for _ in range(2))
    off, few_bytes, many = (leaking(one, rate) for rate in rates)
    assert off < few_bytes <= many
    assert np.array_equal(one.score(series(TEST)).score, two.score(series(TEST)).score)


def test_arguments_that_pyod_does_not_have_are_refused() -> None:
    pytest.importorskip("pyod")
    with pytest.raises(MimirError, match=r"no parameter 'neighbours' \(allowed: .*n_neighbors"):
        Pyod("KNN", {"neighbours": 3}).make()
    with pytest.raises(MimirError, match="allowed: ABOD"):
        Pyod("Nonsense").make()


def test_arguments_reach_pyod() -> None:
    pytest.importorskip("pyod")
    one, two = (Pyod("KNN", {"n_neighbors": n}).fit(series(FIT)).score(series(TEST)).score for n in (1, 30))
    assert (one < two).all()


def test_without_pyod_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyod, "find_spec", lambda name: None)
    with pytest.raises(MimirError, match=r"pip install 'mimir\[pyod\]'"):
        Pyod("KNN").make()


def test_another_version_of_the_library_is_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    state = Lof().fit(series(FIT)).state()
    monkeypatch.setattr(estimators, "version", lambda name: "9.9")
    with caplog.at_level(logging.WARNING):
        Lof().load_state(state)
    assert "fitted again with scikit-learn 9.9" in caplog.text


@pytest.mark.parametrize("bad", [IsolationForest(0), IsolationForest(10, 1), Lof(0), Ocsvm(0.0), Ocsvm(0.1, -1.0)])
def test_parameters_out_of_range_are_refused(bad) -> None:
    with pytest.raises(MimirError, match=f"conf/detector/{bad.name}.yaml"):
        bad.fit(series(FIT))


def test_too_few_windows_are_refused() -> None:
    with pytest.raises(MimirError, match=r"at least 10 benign windows"):
        Lof().fit(few({("a", "b"): [1.0] * 5}))
