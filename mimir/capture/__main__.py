"""Command line of the capture room."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimir.capture.options import add_follow, idle_s, whole
from mimir.capture.places import check_places
from mimir.errors import EXIT_DONE, EXIT_SPEC, CaptureError


def main(arguments: list[str] | None = None) -> int:
    """`inspect FILE…` or `fields FILE…`: 0 when read, 2 with a line on stderr when a file or an option is wrong."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command == "fields":
            return _fields(chosen)
        from mimir.capture.inspect import inspect

        check_places(chosen.files)
        text = inspect(chosen.files, idle_s(chosen))
    except (CaptureError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    sys.stdout.write(text)
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mimir.capture", description="Look into packet captures.")
    commands = parser.add_subparsers(dest="command", required=True)
    what = "pcap or pcapng files (.gz and .zst too), folders, patterns, or - for standard input"
    inspecting = commands.add_parser("inspect", help="say what is in a capture and what was left out")
    inspecting.add_argument("files", nargs="+", type=Path, help=what)
    add_follow(inspecting)
    fields = commands.add_parser("fields", help="list DNS, TLS and HTTP/1 fields, or any that Wireshark knows")
    fields.add_argument("files", nargs="+", type=Path, help=what)
    fields.add_argument("--dissector", choices=("own", "tshark", "pyshark"), default="own", help="who reads them")
    fields.add_argument("--filter", default="", help="display filter (tshark and pyshark)")
    fields.add_argument("--fields", nargs="+", help="fields by Wireshark's names (default: all that own knows)")
    fields.add_argument(
        "--packets",
        type=whole(1, 10**9, "packets"),
        default=1000,
        help="packets after which pyshark stops (default 1000)",
    )
    fields.add_argument("-o", "--out", type=Path, help="write a parquet table instead of lines")
    return parser


def _fields(chosen: argparse.Namespace) -> int:
    from mimir.capture.application import OWN_FIELDS, Dissection
    from mimir.capture.dissection import dissection_problems
    from mimir.capture.field_table import field_lines, write_fields
    from mimir.capture.reader import open_capture

    how = Dissection(chosen.dissector, tuple(chosen.fields or OWN_FIELDS), chosen.filter, chosen.packets)
    problems = dissection_problems(how)
    for problem in problems:
        print(str(problem).replace("capture.dissector_", "--").replace("capture.dissector", "--dissector"),
              file=sys.stderr)  # fmt: skip
    if problems:
        return EXIT_SPEC
    check_places(chosen.files, chosen.out)
    paths, count = open_capture(chosen.files).paths, 0
    if chosen.out:
        count = write_fields(paths, how, chosen.out)
        print(f"{count:,} packets with fields: {chosen.out}")
    else:
        for line in field_lines(paths, how):
            count += 1
            print(line)
    if not count:
        print(f"no packet has one of the fields {', '.join(how.fields)}", file=sys.stderr)
    for note in how.notes:
        print(note, file=sys.stderr)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
