"""Specs composed from conf/ as `python run.py` does, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir

from mimir.spec import Spec
from mimir.spec.build import from_plain, to_plain
from mimir.spec.compose import config_folder


def plain(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The composed spec as nested dicts."""
    return deepcopy(_composed(tuple(overrides)))


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return to_plain(compose("config", list(overrides)))


def spec(overrides: Sequence[str] = ()) -> Spec:
    """The composed, validated spec."""
    return from_plain(plain(overrides))
