"""The table of allowed edges that a person can read, edit and feed back (`detector.pinned=FILE`)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey

COLUMNS = ("client", "server", "server_port", "proto", "allow")
WORDS = {"yes": True, "no": False}


def edge_rows(allowed: Iterable[EdgeKey]) -> list[dict[str, Any]]:
    """One row an edge, all of them allowed."""
    return [dict(zip(COLUMNS, (*key, "yes"), strict=True)) for key in allowed]


def read_pinned(path: Path) -> dict[EdgeKey, bool]:
    """Edge → allowed or not. MimirError names the file, the row and what is allowed in it."""
    if not path.is_file():
        raise MimirError(
            f"detector.pinned names no file ({path}); write one with python -m mimir.detectors export RUN_DIR --out {path}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise MimirError(f"{path} is neither CSV nor JSON: {error}") from error
    if not isinstance(rows, list):
        raise MimirError(f"{path} must hold a list of rows with {', '.join(COLUMNS)}")
    found: dict[EdgeKey, bool] = {}
    for number, row in enumerate(rows, 1):
        key, allow = _row(path, number, row)
        if found.get(key, allow) != allow:
            raise MimirError(f"{path}, row {number}: {key} is both allowed and not")
        found[key] = allow
    return found


def _row(path: Path, number: int, row: Any) -> tuple[EdgeKey, bool]:
    absent = [name for name in COLUMNS if not isinstance(row, Mapping) or row.get(name) in (None, "")]
    if absent:
        raise MimirError(f"{path}, row {number} lacks {', '.join(absent)} (needed: {', '.join(COLUMNS)})")
    allow, port = str(row["allow"]).strip().lower(), str(row["server_port"]).strip()
    if allow not in WORDS:
        raise MimirError(f"{path}, row {number}: allow must be yes or no (got {row['allow']!r})")
    if not port.isdigit() or int(port) > 65_535:
        raise MimirError(f"{path}, row {number}: server_port must lie in 0 … 65535 (got {row['server_port']!r})")
    client, server, proto = (str(row[name]).strip() for name in ("client", "server", "proto"))
    return EdgeKey(client, server, int(port), proto), WORDS[allow]
