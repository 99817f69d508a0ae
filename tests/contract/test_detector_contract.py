"""Every detector in the registry keeps the contract; one that learns nothing does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from mimir.detectors.base import Detector, Scores, Supervised
from mimir.detectors.egress_volume import EgressVolume
from mimir.detectors.registry import DETECTORS, EXCEPTIONS, NOT_PARAMETERS, build, create, names
from mimir.errors import MimirError, NotFittedError
from mimir.spec.detector import DetectorSpec
from tests.support import detector_contract as contract
from tests.support.toymessages import with_messages
from tests.support.toyshop import wide

CONF = Path(__file__).resolve().parents[2] / "conf" / "detector"
CHECKS = (
    contract.check_shape, contract.check_unfitted, contract.check_deterministic, contract.check_learns, contract.check_varies,
    contract.check_leak_shows, contract.check_rises, contract.check_never_falls, contract.check_thin_windows, contract.check_thin_training, contract.check_parameters, contract.check_reasons,
    contract.check_new_pods, contract.check_sees_no_future,
)  # fmt: skip


Check = Callable[[contract.Make], None]


def word(check: Check) -> str:
    """`leak_shows` of `check_leak_shows`."""
    return check.__name__.removeprefix("check_")


def from_yaml(name: str) -> Detector:
    """The detector with the parameters of its YAML."""
    return create(schema_of(name)(**yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))))


def schema_of(name: str) -> type:
    """The schema of a detector."""
    wanted = "".join(p.title() for p in name.split("_")) + "Spec"
    return next(s for s in get_args(get_args(DetectorSpec)[0]) if s.__name__ == wanted)


@pytest.mark.parametrize("check", CHECKS, ids=word)
@pytest.mark.parametrize("name", names())
def test_contract(name: str, check: Check) -> None:
    """A declared exception must really be one: the check has to fail."""
    if word(check) in EXCEPTIONS.get(name, {}):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check(partial(from_yaml, name))
    else:
        check(partial(from_yaml, name))


def test_exceptions_name_detectors_and_checks() -> None:
    assert set(EXCEPTIONS) <= set(names())
    for name, declared in EXCEPTIONS.items():
        assert set(declared) <= {word(c) for c in CHECKS}, name
        assert all(declared.values()), name


@pytest.mark.parametrize("name", names())
def test_state_survives_the_disk(name: str, tmp_path: Path) -> None:
    contract.check_state(partial(from_yaml, name), tmp_path)


@pytest.mark.parametrize("name", names())
def test_schema_yaml_and_registry_agree(name: str) -> None:
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    detector = from_yaml(name)
    assert detector.name == name
    assert values["name"] == (detector.get_params()["estimator"] if name == "pyod" else name)
    own = {k: v for k, v in detector.get_params().items() if k != "estimator"}
    assert own == {k: v for k, v in values.items() if k not in NOT_PARAMETERS}


def test_every_schema_is_registered() -> None:
    assert len(get_args(get_args(DetectorSpec)[0])) == len(DETECTORS)
    assert sorted(p.stem for p in CONF.glob("*.yaml")) == list(names())


def test_unknown_detector_names_the_closest() -> None:
    with pytest.raises(MimirError, match="did you mean 'pca_spe'"):
        build("pca_sp", {})


class NoFit(EgressVolume):
    """Fits nothing and never says so."""

    def fit(self, benign):
        return self

    def require(self, fitted):
        return None


class RandomProjection(EgressVolume):
    """Says it is fitted, but its numbers have never met the data."""

    def fit(self, benign):
        self._usual = {}
        return self

    def score(self, windows):
        self.require(self._usual is not None)
        weights = np.random.default_rng(7).normal(size=len(windows))
        return Scores(
            windows.window_s, windows.window_start, weights, windows.edges, np.zeros((len(windows), len(windows.edges)))
        )


@pytest.mark.parametrize("fake", [NoFit, RandomProjection])
def test_a_detector_that_learns_nothing_fails(fake: type[Detector]) -> None:
    failed = []
    for check in CHECKS:
        try:
            check(fake)
        except (AssertionError, pytest.fail.Exception):
            failed.append(check.__name__)
    assert "check_learns" in failed
    assert len(failed) >= 2


@pytest.mark.parametrize("name", [n for n in names() if "learns" not in EXCEPTIONS.get(n, {})])
@pytest.mark.parametrize("off", ["does nothing", "learns the same whatever it is shown"])
def test_every_detector_with_its_fit_turned_off_fails(name: str, off: str) -> None:
    def make() -> Detector:
        detector = from_yaml(name)
        fit, always = detector.fit, contract.series(contract.FIT)
        detector.fit = (lambda benign: detector) if off == "does nothing" else (lambda benign: fit(always))  # type: ignore[method-assign]
        return detector

    with pytest.raises((AssertionError, NotFittedError)):
        contract.check_learns(make)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_large_application_is_learned_and_scored(name: str) -> None:
    """1,000 windows × 200 edges; what it costs stands in docs/results/detector-cost.md (tests/benchmarks/bench_detectors.py)."""
    fit, test = (with_messages(wide(1000, 200, seed)) for seed in (1, 2))
    detector = from_yaml(name).fit(fit)
    if isinstance(detector, Supervised):
        detector.learn(fit, (np.arange(1000) < 100).astype(np.int8))
    scores = detector.score(test)
    assert scores.contributions.shape == (1000, 200)
    assert np.isfinite(scores.score).all()
