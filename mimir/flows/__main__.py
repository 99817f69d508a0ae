"""Command line of the flows room."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimir.errors import EXIT_DONE, EXIT_SPEC, MimirError


def main(arguments: list[str] | None = None) -> int:
    """`export CAPTURE… --out flows.parquet`: 0 when written, 2 with one line on stderr when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m mimir.flows", description="Turn captures into flow records.")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write one row per connection under Zeek's column names")
    export.add_argument("captures", nargs="+", type=Path, help="pcap or pcapng files (.gz too)")
    export.add_argument("--entities", type=Path, help="entities.jsonl or a table of addresses")
    export.add_argument(
        "--timeout-s", type=float, default=120.0, help="silence after which a connection is over, s (default 120)"
    )
    export.add_argument(
        "--active-s", type=int, default=0, help="cut connections at whole multiples of so many s (default 0: never)"
    )
    export.add_argument("--out", type=Path, required=True, help="the parquet file to write")
    chosen = parser.parse_args(arguments)
    if chosen.timeout_s <= 0 or chosen.active_s < 0:
        parser.error("--timeout-s must be > 0 and --active-s ≥ 0")
    from mimir.flows.records import write_flows

    try:
        count = write_flows(chosen.captures, chosen.entities, chosen.timeout_s, chosen.out, chosen.active_s)
    except MimirError as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    print(f"{count:,} flows in {chosen.out}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
