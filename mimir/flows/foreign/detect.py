"""Which reader a file needs, by its content. What none of them knows is left to the packet reader."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

from mimir.errors import MimirError
from mimir.flows.foreign import conversations, nfdump
from mimir.flows.foreign.lines import head
from mimir.flows.foreign.table import FlowTable

#: readers by name: a module with `read(path) -> FlowTable`
READERS = ("zeek", "hubble", "nfdump", "conversations")
#: a file may begin with damaged lines
LOOK_AT = 50
#: a record of `nfdump -o json` or `-o ndjson`
NFDUMP_JSON = re.compile(rb"[\s\[]*\{[^{}]*\"(src4_addr|src6_addr|in_packets|t_first)\"\s*:")


def flow_format(path: Path) -> str | None:
    """One of READERS, or None for a file that holds no flow records.

    Raises MimirError if it cannot be opened, or holds flow records in a form that no reader knows.
    """
    text = head(path)
    if b"\0" in text[:4096]:
        return None
    if NFDUMP_JSON.match(text[:4096]):
        raise MimirError(f"{path}: nfdump's JSON is not read; write CSV: TZ=UTC nfdump -r FILE -o csv -N > flows.csv")
    for line in text.decode("utf-8", "replace").splitlines()[:LOOK_AT]:
        if form := _format_of(line):
            return form
    return None


def read_flows(path: Path) -> FlowTable:
    """Flow records of one file. Raises MimirError for a file without any."""
    form = flow_format(path)
    if form is None:
        raise MimirError(f"{path}: holds no flow records (known: {', '.join(READERS)})")
    table: FlowTable = import_module(f"mimir.flows.foreign.{form}").read(path)
    return table


def _format_of(line: str) -> str | None:
    if line.startswith("#separator ") or (line.startswith("#fields") and "id.orig_h" in line):
        return "zeek"
    if line.startswith("{"):
        return _format_of_json(line)
    if nfdump.header_of(line) is not None:
        return "nfdump"
    return "conversations" if conversations.TITLE.match(line) else None


def _format_of_json(line: str) -> str | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if (
        "id.orig_h" in record
        or "id_orig_h" in record
        or (isinstance(record.get("id"), dict) and "orig_h" in record["id"])
    ):
        return "zeek"
    flow = record.get("flow")
    known = isinstance(flow, dict) or ("IP" in record and "verdict" in record)
    return "hubble" if known or "lost_events" in record or "node_status" in record else None
