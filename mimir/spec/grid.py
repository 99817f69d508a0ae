"""The grid of an experiment: every job its sweep stands for, composed once each, with detectors and seeds kept apart."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mimir.errors import Problem, SpecError
from mimir.spec.build import to_plain
from mimir.spec.compose import config_folder, explain_failure


@dataclass(frozen=True)
class Grid:
    """Jobs × detectors of one experiment. Jobs are specs as JSON values, each with the first detector in it."""

    experiment: str
    jobs: tuple[dict[str, Any], ...]  #: in the order of the sweep, seeds innermost
    detectors: dict[str, dict[str, Any]]  #: name → its part of the spec


def expand(experiment: str, overrides: Sequence[str] = ()) -> Grid:
    """The grid of `conf/experiment/<experiment>.yaml`: its `hydra.sweeper.params`, changed by `overrides`.

    Overrides are those of `run.py -m`: `key=value`, `key=a,b`, `key=range(…)`, `group=glob(*)`. Raises SpecError for what
    cannot be composed.
    """
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            axes = _axes(experiment, overrides)
            detectors = axes.pop("detector", [None])
            seeds = [int(seed) for seed in axes.pop("seed", [])]
            chosen = [d for d in detectors if d]
            jobs = list(_jobs(experiment, axes, seeds, chosen[:1]))
            parts = {d: _detector(experiment, d, axes) for d in chosen}
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError([Problem(f"experiment={experiment}", explain_failure(str(error)))]) from error
    return Grid(experiment, tuple(jobs), parts or {jobs[0]["detector"]["name"]: jobs[0]["detector"]})


def _axes(experiment: str, overrides: Sequence[str]) -> dict[str, list[str]]:
    """Key → its values, from the experiment's sweep and then from the command line, which wins."""
    config = compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    params = OmegaConf.to_container(config.hydra.sweeper.params or OmegaConf.create({}), resolve=True)
    assert isinstance(params, dict)
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    axes: dict[str, list[str]] = {}
    swept = [f"{key!s}={value!s}" for key, value in params.items()]
    for text in [*swept, *overrides]:
        override = parser.parse_overrides([text])[0]
        key = text.split("=", 1)[0]
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [text.split("=", 1)[1]]
        axes[key] = [str(value) for value in values]
    return axes


def _jobs(
    experiment: str, axes: dict[str, list[str]], seeds: Sequence[int], detector: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Groups are composed once a combination; values are set on what was composed, which is much cheaper."""
    groups = {key: values for key, values in axes.items() if (config_folder() / key).is_dir()}
    others = {key: values for key, values in axes.items() if key not in groups}
    for chosen in product(*groups.values()):
        options = dict(zip([*groups, "detector"], [*chosen, *detector], strict=False))
        config = compose("config", _words(experiment, options))
        for values in product(*others.values()):
            job = copy.deepcopy(config)
            job.merge_with_dotlist([f"{key}={value}" for key, value in zip(others, values, strict=True)])
            plain = to_plain(job)
            for seed in seeds or [plain["seed"]]:
                yield copy.deepcopy(plain) | {"seed": seed}


def _detector(experiment: str, name: str, axes: dict[str, list[str]]) -> dict[str, Any]:
    """One option of conf/detector with what the experiment and the command line change in it; cheaper than a whole spec."""
    own: Any = OmegaConf.load(config_folder() / "experiment" / f"{experiment}.yaml")
    config = OmegaConf.merge(compose(f"detector/{name}").detector, own.get("detector") or {})
    for key, values in axes.items():
        if key.startswith("detector."):
            OmegaConf.update(config, key.removeprefix("detector."), yaml.safe_load(values[0]))
    part = OmegaConf.to_container(config, resolve=True)
    assert isinstance(part, dict)
    return {str(key): value for key, value in part.items()}


def _words(experiment: str, chosen: dict[str, str]) -> list[str]:
    return [f"experiment={experiment}", *(f"{key}={value}" for key, value in chosen.items())]
