"""Shares of behaviours: named mixes of an application, and how far two are apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from mimir.apps.around import unknown
from mimir.apps.check import check_mix
from mimir.errors import Problem
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec


def mix_of(load: LoadSpec, app: AppSpec) -> dict[str, float]:
    """Shares of the behaviours: those of the load (by name or by value), else the application's usual ones."""
    if isinstance(load.mix, str):
        return app.users.mixes[load.mix]
    return load.mix if load.mix is not None else app.users.mix


def mix_distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Euclidean distance of two mixes; a behaviour that is not named has the share 0.

    >>> round(mix_distance({"browse": 0.5, "buy": 0.3, "register": 0.2}, {"register": 1.0}), 4)
    0.9899
    """
    return math.dist(*([mix.get(name, 0.0) for name in sorted({*one, *other})] for mix in (one, other)))


def check_mixes(load: LoadSpec, app: AppSpec) -> Iterator[Problem]:
    """Problems of `load.mix` and `load.test.mix`."""
    for where, mix in (("load.mix", load.mix), ("load.test.mix", load.test.mix)):
        if isinstance(mix, str):
            if mix not in app.users.mixes:
                yield unknown(where, mix, app.users.mixes, f"mix of app={app.name}")
        elif mix is not None:
            yield from check_mix(where, mix, app.users.behaviours)
