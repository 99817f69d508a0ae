"""An edited table of invariants coming back (`detector.pinned=FILE`): checked line by line, then written over what was learned."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from mimir.detectors.columns import keys_from_json, keys_to_json
from mimir.detectors.invariants.table import COLUMNS, NOWHERE, SETS, Place, edge_sets, values
from mimir.errors import Problem, SpecError
from mimir.flows.edges import EdgeKey

FAMILIES = ("I1", "I2", "I3", "I4", "I5", "I6")
WORDS = {"yes": True, "no": False}
NEW_RUN = (0, 0.5)  #: of a server outside that was allowed by hand: no run seen, and none more likely to go on than not


class Row(NamedTuple):
    """One line: what it is about, and either whether that is allowed or the value it has."""

    where: str
    place: Place
    window_s: int | None  #: None: any
    allow: bool | None
    value: float | None


def read_rows(path: Path) -> list[Row]:
    """All rows of a CSV or JSON table; SpecError lists each line that is wrong, with what is allowed."""
    export = f"write one: python -m mimir.detectors export RUN_DIR --format table --out {path}"
    if not path.is_file():
        raise SpecError([Problem("detector.pinned", f"names no file ({path})", next=export)])
    found: list[Row] = []
    problems: list[Problem] = []
    try:
        for number, cells in _lines(path):
            try:
                found.append(_row(f"{path}, line {number}", cells))
            except SpecError as error:
                problems += error.problems
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error, AttributeError) as error:
        raise SpecError([Problem("detector.pinned", f"{path} is no table: {error}", "CSV or JSON", export)]) from error
    seen: dict[tuple[Place, int | None], Row] = {}
    for row in found:
        before = seen.setdefault((row.place, row.window_s), row)
        if before[3:] != row[3:]:
            problems.append(_problem(row.where, f"says otherwise than {before.where}", "one line for each invariant"))
    if problems:
        raise SpecError(problems)
    return found


def _lines(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        rows = json.loads(text)
        if not isinstance(rows, list):
            raise csv.Error("it holds no list of rows")
        return list(enumerate(rows, 1))
    reader = csv.DictReader(text.splitlines())
    return [(reader.line_num, row) for row in reader]


def _row(where: str, cells: Mapping[str, Any]) -> Row:
    if not isinstance(cells, Mapping):
        raise _error(where, "is no row of named cells", ", ".join(COLUMNS))
    unknown = [str(name) for name in cells if name not in COLUMNS]
    if unknown:
        raise _error(where, f"has a cell too many or an unknown column ({', '.join(unknown)})", ", ".join(COLUMNS))
    text = {name: str(cells.get(name) if cells.get(name) is not None else "").strip() for name in COLUMNS}
    family = text["family"] or "I1"  # an allow-list's table is one of edges
    if family not in FAMILIES:
        raise _error(where, f"family is unknown (got {family!r})", ", ".join(FAMILIES))
    kind = text["kind"] or SETS.get(family, "")
    edge = _edge(where, text)
    window_s = _number(where, "window_s", text["window_s"], 1.0) if text["window_s"] else None
    place, window = Place(family, kind, edge, text["cause"]), None if window_s is None else int(window_s)
    if kind == SETS.get(family):
        if text["allow"].lower() not in WORDS:
            raise _error(where, f"allow must be yes or no (got {text['allow']!r})", "yes, no")
        if not (edge.client and edge.server and edge.proto):
            raise _error(where, "lacks client, server, server_port or proto", "all four")
        return Row(where, place, window, WORDS[text["allow"].lower()], None)
    if text["allow"]:
        raise _error(where, f"allow has no meaning for {family}, {kind}", "an empty cell; edit value")
    return Row(where, place, window, None, _number(where, "value", text["value"], -math.inf))


def _edge(where: str, text: Mapping[str, str]) -> EdgeKey:
    port = text["server_port"] or "0"
    if not port.isdigit() or int(port) > 65_535:
        raise _error(where, f"server_port is no port (got {port!r})", "0 … 65535")
    return EdgeKey(text["client"], text["server"], int(port), text["proto"])


def _number(where: str, name: str, text: str, least: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < least:
        allowed = f"a number ≥ {least:g}" if least > -math.inf else "a number"
        raise _error(where, f"{name} is no such number (got {text!r})", allowed)
    return number


def _error(where: str, what: str, allowed: str) -> SpecError:
    return SpecError([_problem(where, what, allowed)])


def _problem(where: str, what: str, allowed: str) -> Problem:
    return Problem("detector.pinned", f"{where}: {what}", allowed, "edit that line, or export the table again")


def pin(states: Mapping[str, Mapping[str, Any]], table: Iterable[Row], window_s: int) -> dict[str, dict[str, Any]]:
    """The states of the families with the rows for windows of `window_s` written over them.

    SpecError for a row about something that these families did not learn, and for a value out of range.
    """
    out = {name: deepcopy(dict(state)) for name, state in states.items()}
    chosen = [row for row in table if row.window_s in (None, window_s) and row.place.family in out]
    chosen.sort(key=lambda row: row.window_s is not None)  # what is said of this window length counts
    _pin_sets(out, [row for row in chosen if row.allow is not None])
    forbidden = {(row.place.family, row.place.edge) for row in chosen if row.allow is False}
    places, problems = {found.place: found for found in values(out)}, []
    for row in chosen:
        found = places.get(row.place)
        if row.value is None or (row.place.family, row.place.edge) in forbidden:
            continue
        if found is None:
            problems.append(_problem(row.where, f"training showed no {_named(row.place)}", _nearest(row.place, places)))
        elif row.value < found.least:
            problems.append(_problem(row.where, f"value is too small (got {row.value:g})", f"≥ {found.least:g}"))
        elif row.value != found.value:
            found.write(row.value)
    if problems:
        raise SpecError(problems)
    return out


def _pin_sets(states: Mapping[str, dict[str, Any]], rows: Iterable[Row]) -> None:
    sets = edge_sets(states)
    for row in rows:
        (sets[row.place.family].add if row.allow else sets[row.place.family].discard)(row.place.edge)
    if "I1" in sets:
        states["I1"]["allowed"] = keys_to_json(sorted(sets["I1"]))
    if "I6" in sets:
        state = states["I6"]
        runs = dict(zip(keys_from_json(state["known"]), state["runs"], strict=True))
        state["known"] = keys_to_json(sorted(sets["I6"]))
        state["runs"] = [runs.get(key, list(NEW_RUN)) for key in sorted(sets["I6"])]


def _named(place: Place) -> str:
    edge = place.edge
    at = "" if edge == NOWHERE else f" of {edge.client} → {edge.server}:{edge.server_port}/{edge.proto}"
    return f"{place.family} {place.kind}{at}{f', cause {place.cause}' if place.cause else ''}"


def _nearest(place: Place, places: Mapping[Place, Any]) -> str:
    close = get_close_matches(_named(place), [_named(known) for known in places], n=1, cutoff=0.0)
    return f"what the export lists, such as {close[0]}" if close else "nothing: these families learned no numbers"
