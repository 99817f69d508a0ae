"""Command line of the flows room."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from mimir.capture.counts import CaptureCounts
from mimir.capture.losses import losses
from mimir.capture.options import add_follow, idle_s, seconds, whole
from mimir.capture.places import check_places
from mimir.engine import ENGINES, create_engine
from mimir.errors import EXIT_DONE, EXIT_SPEC, MimirError
from mimir.units import format_bytes

#: longest silence, cut and window that can be asked for, s: ten years; and the shortest silence
MOST_S, LEAST_TIMEOUT_S = 10 * 366 * 86_400, 1e-6


def main(arguments: list[str] | None = None) -> int:
    """`export CAPTURE… --out flows.parquet` or `edges CAPTURE… --out edges.parquet`.

    0 when written, 2 with a line on stderr when it cannot be. What the captures did not give stands on stderr too.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command == "edges":
        if chosen.scheduler and chosen.engine != "dask":
            parser.error("--scheduler is the address of a Dask scheduler: it needs --engine dask")
        if chosen.follow and len(chosen.captures) > 1:
            parser.error("--follow reads one capture that is being written; name that one alone")
    try:
        check_places(chosen.captures, chosen.out, [chosen.entities])
        print(_export(chosen) if chosen.command == "export" else _edges(chosen))
    except (MimirError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mimir.flows", description="Turn captures into flows or edges.")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write one row per connection under Zeek's column names")
    edges = commands.add_parser("edges", help="write the edge table of captures that share no connection")
    export.add_argument(
        "captures", nargs="+", type=Path, help="pcap or pcapng files (.gz and .zst too), folders, patterns, or -"
    )
    edges.add_argument(
        "captures", nargs="+", type=Path, help="each a file, or a folder: rotated files, or a subfolder per node"
    )
    timeout = seconds(LEAST_TIMEOUT_S, MOST_S)
    for command, name in ((export, "flows"), (edges, "edges")):
        command.add_argument("--entities", type=Path, help="entities.jsonl or a table of addresses")
        command.add_argument(
            "--timeout-s", type=timeout, default=120.0, help="silence after which a connection is over, s (default 120)"
        )
        command.add_argument("--out", type=Path, required=True, help=f"the parquet file to write, say {name}.parquet")
    export.add_argument(
        "--active-s",
        type=whole(0, MOST_S),
        default=0,
        help="cut connections at whole multiples of so many s (default 0: never)",
    )
    _add_edges_only(edges)
    return parser


def _add_edges_only(edges: argparse.ArgumentParser) -> None:
    edges.add_argument(
        "--windows-s", type=whole(1, MOST_S), nargs="+", default=[60, 10], help="window lengths, s (default 60 10)"
    )
    edges.add_argument("--engine", choices=ENGINES, default="joblib", help="where captures are read (default joblib)")
    edges.add_argument(
        "--workers", type=whole(1, 1024, "workers"), default=1, help="captures read at the same time (default 1)"
    )
    edges.add_argument("--scheduler", help="address of a Dask scheduler whose machines see the same files")
    add_follow(edges)


def _export(chosen: argparse.Namespace) -> str:
    from mimir.flows.records import export_flows

    report = export_flows(chosen.captures, chosen.entities, chosen.timeout_s, chosen.out, chosen.active_s)
    _say_what_is_missing(report.capture, report.copies)
    return f"{report.flows:,} flows of {report.capture.packets:,} packets in {chosen.out}"


def _edges(chosen: argparse.Namespace) -> str:
    from mimir.flows.shards import build_shards

    engine = create_engine(chosen.engine, chosen.workers, chosen.scheduler)
    reports = build_shards(
        chosen.captures, chosen.entities, chosen.windows_s, chosen.timeout_s, chosen.out, engine, idle_s=idle_s(chosen)
    )
    counts = CaptureCounts.total(report.capture for report in reports)
    copies: dict[str, dict[str, int]] = {}
    for report in reports:
        for rule, removed in report.copies.items():
            so_far = copies.get(rule, {})
            copies[rule] = {unit: count + so_far.get(unit, 0) for unit, count in removed.items()}
    _say_what_is_missing(counts, copies)
    return f"{counts.packets:,} packets of {len(reports)} captures in {chosen.out}"


def _say_what_is_missing(counts: CaptureCounts, copies: Mapping[str, Mapping[str, int]]) -> None:
    """Damage, packets left out and copies removed, a line each."""
    lines = [f"left out: {line}" if not line.startswith("damaged") else line for line in losses(counts)]
    lines += [
        f"copies removed: {removed['packets']:,} packets, {format_bytes(removed['bytes'])}, by the rule {rule}"
        for rule, removed in copies.items()
        if removed["packets"]
    ]
    for line in lines:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
