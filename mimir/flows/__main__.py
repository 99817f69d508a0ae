"""Command line of the flows room."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimir.engine import ENGINES, create_engine
from mimir.errors import EXIT_DONE, EXIT_SPEC, MimirError


def main(arguments: list[str] | None = None) -> int:
    """`export CAPTURE… --out flows.parquet` or `edges CAPTURE… --out edges.parquet`.

    0 when written, 2 with one line on stderr when it cannot be.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.timeout_s <= 0 or (chosen.command == "export" and chosen.active_s < 0):
        parser.error("--timeout-s must be > 0 and --active-s ≥ 0")
    try:
        print(_export(chosen) if chosen.command == "export" else _edges(chosen))
    except MimirError as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mimir.flows", description="Turn captures into flows or edges.")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write one row per connection under Zeek's column names")
    edges = commands.add_parser("edges", help="write the edge table of captures that share no connection")
    export.add_argument("captures", nargs="+", type=Path, help="pcap or pcapng files (.gz too)")
    edges.add_argument(
        "captures", nargs="+", type=Path, help="each a file, or a folder: rotated files, or a subfolder per node"
    )
    for command, name in ((export, "flows"), (edges, "edges")):
        command.add_argument("--entities", type=Path, help="entities.jsonl or a table of addresses")
        command.add_argument(
            "--timeout-s", type=float, default=120.0, help="silence after which a connection is over, s (default 120)"
        )
        command.add_argument("--out", type=Path, required=True, help=f"the parquet file to write, say {name}.parquet")
    export.add_argument(
        "--active-s", type=int, default=0, help="cut connections at whole multiples of so many s (default 0: never)"
    )
    edges.add_argument("--windows-s", type=int, nargs="+", default=[60, 10], help="window lengths, s (default 60 10)")
    edges.add_argument("--engine", choices=ENGINES, default="joblib", help="where captures are read (default joblib)")
    edges.add_argument("--workers", type=int, default=1, help="captures read at the same time (default 1)")
    edges.add_argument("--scheduler", help="address of a Dask scheduler whose machines see the same files")
    return parser


def _export(chosen: argparse.Namespace) -> str:
    from mimir.flows.records import write_flows

    count = write_flows(chosen.captures, chosen.entities, chosen.timeout_s, chosen.out, chosen.active_s)
    return f"{count:,} flows in {chosen.out}"


def _edges(chosen: argparse.Namespace) -> str:
    from mimir.flows.shards import build_shards

    engine = create_engine(chosen.engine, chosen.workers, chosen.scheduler)
    reports = build_shards(chosen.captures, chosen.entities, chosen.windows_s, chosen.timeout_s, chosen.out, engine)
    packets = sum(report.capture.packets for report in reports)
    return f"{packets:,} packets of {len(reports)} captures in {chosen.out}"


if __name__ == "__main__":
    sys.exit(main())
