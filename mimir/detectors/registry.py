"""Detectors by name. A new one is: a file here, its schema, its YAML, one line below, a paragraph in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from mimir import files
from mimir.detectors.base import Detector
from mimir.errors import MimirError
from mimir.spec.detector import DetectorSpec, PyodSpec

#: name → module:class, imported when asked for
DETECTORS: dict[str, str] = {
    "allowlist": "mimir.detectors.allowlist:Allowlist",
    "beacon": "mimir.detectors.beacon:BeaconDetector",
    "copod": "mimir.detectors.copod:Copod",
    "cusum": "mimir.detectors.cusum:Cusum",
    "ecod": "mimir.detectors.ecod:Ecod",
    "dns_information": "mimir.detectors.dns_information:DnsInformation",
    "edge_count": "mimir.detectors.edge_count:EdgeCount",
    "egress_volume": "mimir.detectors.egress_volume:EgressVolume",
    "eigenvector": "mimir.detectors.eigenvector:Eigenvector",
    "ewma": "mimir.detectors.ewma:Ewma",
    "invariant_network": "mimir.detectors.invariant_network:InvariantNetwork",
    "http_fingerprint": "mimir.detectors.http_fingerprint:HttpFingerprint",
    "invariants": "mimir.detectors.invariants:Invariants",
    "kitsune": "mimir.detectors.kitsune:Kitsune",
    "midas": "mimir.detectors.midas:Midas",
    "midas_f": "mimir.detectors.midas:MidasF",
    "midas_r": "mimir.detectors.midas:MidasR",
    "mimir_lasso": "mimir.detectors.mimir_lasso:MimirLasso",
    "oddball": "mimir.detectors.oddball:Oddball",
    "isolation_forest": "mimir.detectors.isolation_forest:IsolationForest",
    "lof": "mimir.detectors.lof:Lof",
    "ocsvm": "mimir.detectors.ocsvm:Ocsvm",
    "pca_spe": "mimir.detectors.pca_spe:PcaSpe",
    "pcr": "mimir.detectors.pcr:Pcr",
    "pyod": "mimir.detectors.pyod:Pyod",
    "random": "mimir.detectors.random_scores:RandomScores",
    "spotlight": "mimir.detectors.spotlight:Spotlight",
}
#: detectors that do not read bytes: they can judge flow records without any
WITHOUT_BYTES = frozenset({"beacon", "edge_count", "random"})
SATURATES = "it ranks: every value beyond all of training counts the same"
#: detectors that read application fields (EdgeSeries.messages) where a run has them
READS_MESSAGES = frozenset({"dns_information", "http_fingerprint"})
#: checks of the contract that a detector cannot keep, and why; the contract test demands that exactly these fail
EXCEPTIONS: dict[str, dict[str, str]] = {
    "dns_information": {
        name: "it reads DNS queries, and the contract leaks over TCP" for name in ("leak_shows", "rises")
    },
    "copod": {"rises": SATURATES},
    "ecod": {"rises": SATURATES},
    "edge_count": {"rises": "it counts edges: more bytes on an edge that is there already change nothing"},
    "invariant_network": {"rises": "it counts broken invariants, not bytes: what is broken cannot break again"},
    "isolation_forest": {"rises": SATURATES},
    "mimir_lasso": dict.fromkeys(
        ("leak_shows", "rises", "never_falls"),
        "it knows the kinds of leak it was shown: relays on allowed edges, and these checks leak over a new one",
    ),
    "random": {
        "learns": "its numbers never meet the data",
        "leak_shows": "its numbers never meet the data",
        "rises": "its numbers never meet the data",
        "reasons": "there are none",
    },
}
#: fields of a detector spec that are no parameters of the detector itself
NOT_PARAMETERS = frozenset({"name", "windows_s"})


def names() -> tuple[str, ...]:
    """Names of all detectors, sorted."""
    return tuple(sorted(DETECTORS))


def build(name: str, params: Mapping[str, Any]) -> Detector:
    """An unfitted detector from its name and parameters; MimirError for an unknown name or parameter."""
    if name not in DETECTORS:
        close = get_close_matches(name, DETECTORS, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise MimirError(f"no detector is called {name!r}; {hint}allowed: {', '.join(names())}")
    module, _, attribute = DETECTORS[name].partition(":")
    return cast(Detector, getattr(import_module(module), attribute)().set_params(**params))


def create(spec: DetectorSpec) -> Detector:
    """An unfitted detector from its part of the spec."""
    if isinstance(spec, PyodSpec):
        return build("pyod", {"estimator": spec.name, "params": spec.params})
    return build(spec.name, {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in NOT_PARAMETERS})


def save_state(detector: Detector, folder: Path) -> None:
    """Write `state.json` (name, parameters, JSON values) and `state.npz` (arrays); see `load_detector`."""
    arrays: dict[str, Any] = {}
    values = _take_arrays(detector.state(), "", arrays)
    with files.atomic(folder / "state.npz") as temporary, temporary.open("wb") as out:
        np.savez(out, allow_pickle=False, **arrays)
    head = {"detector": detector.name, "params": detector.get_params(), "state": values}
    files.write_json(folder / "state.json", head)


def load_detector(folder: Path) -> Detector:
    """The fitted detector that `save_state` wrote: same parameters, identical scores. No pickle is read."""
    path = folder / "state.json"
    if not path.is_file():
        raise MimirError(f"{path} is missing; fit a detector first (stage `detector` of a run writes it)")
    head = files.read_json(path)
    with np.load(folder / "state.npz", allow_pickle=False) as data:
        state = _put_arrays(head["state"], data)
    return build(head["detector"], head["params"]).load_state(state)


def _take_arrays(value: Any, where: str, arrays: dict[str, Any]) -> Any:
    """`value` with every array replaced by {"array": its name in `arrays`}."""
    if isinstance(value, np.ndarray):
        arrays[where] = value
        return {"array": where}
    if isinstance(value, Mapping):
        return {k: _take_arrays(v, f"{where}.{k}" if where else str(k), arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_take_arrays(v, f"{where}.{i}", arrays) for i, v in enumerate(value)]
    return value


def _put_arrays(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            return arrays[value["array"]]
        return {k: _put_arrays(v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        return [_put_arrays(v, arrays) for v in value]
    return value
