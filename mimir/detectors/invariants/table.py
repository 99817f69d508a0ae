"""What the families learned as a table: one row an allowed edge, a coefficient or a limit, each with its place in the state.

A place is found in the state that a family gives (`state()`), so that writing a value there and loading the state again is
all that an edited table needs (`pinned.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from mimir.detectors.columns import keys_from_json
from mimir.detectors.invariants.outside_counts import NAMES
from mimir.flows.edges import EdgeKey

COLUMNS = (
    "window_s", "family", "kind", "client", "server", "server_port", "proto", "cause", "allow", "value", "unit",
)  # fmt: skip
EDGE, OUTSIDE, CONSTANT, NOISE = "edge", "name outside", "constant", "noise"
OPENED = "connections the pod opened"  #: what explains DNS names
PAST, SPREAD, LONGEST, NAME = "past the service address", "spread of replicas", "longest connection", "longest name"
#: families with sets of edges → the kind of their rows: these can be added and forbidden
SETS = {"I1": EDGE, "I6": OUTSIDE}
NOWHERE = EdgeKey("", "", 0, "")
States = Mapping[str, dict[str, Any]]


class Place(NamedTuple):
    """What a row is about."""

    family: str
    kind: str
    edge: EdgeKey
    cause: str = ""


@dataclass(frozen=True)
class Value:
    """A number in the state: what it is, in which unit, from where on it makes sense, and how another one is written there."""

    place: Place
    value: float
    unit: str
    least: float  #: smallest value allowed; -inf: any
    write: Callable[[float], None]


def rows(states: States, window_s: int | None) -> list[dict[str, Any]]:
    """Rows of the table, sets of edges first; `window_s` stands in those that hold for one window length only."""
    out = []
    for family, keys in edge_sets(states).items():
        out += [_row(Place(family, SETS[family], key), allow="yes") for key in sorted(keys)]
    for found in values(states):
        out.append(_row(found.place, window_s=window_s or "", value=repr(found.value), unit=found.unit))
    return out


def _row(place: Place, **cells: Any) -> dict[str, Any]:
    edge = place.edge
    named: dict[str, Any] = {
        "family": place.family,
        "kind": place.kind,
        "client": edge.client,
        "server": edge.server,
        "cause": place.cause,
    }
    if edge.proto:
        named |= {"server_port": edge.server_port, "proto": edge.proto}
    return dict.fromkeys(COLUMNS, "") | named | cells


def edge_sets(states: States) -> dict[str, set[EdgeKey]]:
    """Family → the edges it allows."""
    found = {}
    if "I1" in states:
        found["I1"] = set(keys_from_json(states["I1"]["allowed"]))
    if "I6" in states:
        found["I6"] = set(keys_from_json(states["I6"]["known"]))
    return found


def values(states: States) -> Iterator[Value]:
    """Every number that can be edited, in a fixed order."""
    for family, reader in {"I2": _mediation, "I3": _volume, "I4": _relay, "I5": _replicas, "I6": _outside}.items():
        if family in states:
            yield from reader(states[family])


def _put(holder: Any, key: Any, value: float) -> None:
    holder[key] = value


def _put_square(holder: Any, key: Any, value: float) -> None:
    holder[key] = value**2


def _mediation(state: dict[str, Any]) -> Iterator[Value]:
    for n, key in enumerate(keys_from_json(state["edges"])):
        amount = state["amount"]
        yield Value(Place("I2", PAST, key), float(amount[n]), "bytes a window", 0.0, partial(_put, amount, n))


def _volume(state: dict[str, Any]) -> Iterator[Value]:
    keys = keys_from_json(state["edges"])
    for row in state["invariants"]:
        edge, counter, kind = row["target"]
        unit = "requests" if counter == "requests" else "bytes"
        causes = [_cause(keys[int(e)], int(lag)) for e, lag in row["regressors"]]
        yield from _linear("I3", f"{counter}, {kind}", keys[int(edge)], row, causes, unit)


def _relay(state: dict[str, Any]) -> Iterator[Value]:
    keys = keys_from_json(state["edges"])
    for service, fit in zip(state["services"], state["model"]["fits"], strict=True):
        causes = [f"bytes: {_cause(key, 0)}" for key in keys if key.client == service]
        causes += [_cause(key, 0) for key in keys if key.server == service]
        yield from _linear("I4", "replies to callers", EdgeKey("", service, 0, ""), fit, causes, "bytes")


def _replicas(state: dict[str, Any]) -> Iterator[Value]:
    for service, model in sorted(state["model"].items()):
        place = Place("I5", SPREAD, EdgeKey("", service, 0, ""))
        yield Value(place, float(model[0]) ** 0.5, "σ of log(bytes a request)", 1e-6, partial(_put_square, model, 0))


def _outside(state: dict[str, Any]) -> Iterator[Value]:
    for key, run in zip(keys_from_json(state["known"]), state["runs"], strict=True):
        yield Value(Place("I6", LONGEST, key), float(run[0]), "windows", 0.0, partial(_put, run, 0))
    yield Value(Place("I6", NAME, NOWHERE), float(state["longest"]), "bytes", 0.0, partial(_put, state, "longest"))
    causes = [_cause(key, 0) for key in keys_from_json(state["entries"])]
    columns = keys_from_json(state["columns"])
    for kind, key, fit in zip(state["kinds"], columns, state["model"]["fits"], strict=True):
        yield from _linear("I6", str(kind), key, fit, [OPENED] if kind == NAMES else causes, "bytes")


def _linear(
    family: str, kind: str, edge: EdgeKey, fit: dict[str, Any], causes: list[str], unit: str
) -> Iterator[Value]:
    """What one cause adds to the expected value, what is there without any, and σ of a quiet window."""
    for n, (cause, _) in enumerate(zip(_distinct([CONSTANT, *causes]), fit["beta"], strict=True)):
        of = (
            "byte" if cause.startswith("bytes: ") else "connection" if cause == OPENED else "request" if n else "window"
        )
        per = f"{unit} a {of}"
        put = partial(_put, fit["beta"], n)
        yield Value(Place(family, kind, edge, cause), float(fit["beta"][n]), per, float("-inf"), put)
    place = Place(family, kind, edge, NOISE)
    yield Value(place, float(fit["s0_squared"]) ** 0.5, f"σ in {unit}", 1e-6, partial(_put_square, fit, "s0_squared"))


def _distinct(causes: list[str]) -> list[str]:
    """A cause may stand among the regressors twice: the second is marked, and both count.

    >>> _distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    return [
        cause if not causes[:n].count(cause) else f"{cause} ({causes[:n].count(cause) + 1})"
        for n, cause in enumerate(causes)
    ]


def _cause(key: EdgeKey, lag: int) -> str:
    before = f", {lag} window{'s' if lag > 1 else ''} before" if lag else ""
    return f"{key.client} → {key.server}:{key.server_port}/{key.proto}{before}"
