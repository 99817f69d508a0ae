"""Command line of the capture room."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimir.errors import EXIT_DONE, EXIT_SPEC, CaptureError


def main(arguments: list[str] | None = None) -> int:
    """`inspect FILE…`: 0 when read, 2 with one line on stderr when a file is no capture."""
    parser = argparse.ArgumentParser(prog="python -m mimir.capture", description="Look into packet captures.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspecting = commands.add_parser("inspect", help="say what is in a capture and what was left out")
    inspecting.add_argument(
        "files",
        nargs="+",
        type=Path,
        help="pcap or pcapng files (.gz and .zst too), folders, patterns, or - for standard input",
    )
    chosen = parser.parse_args(arguments)
    from mimir.capture.inspect import inspect

    try:
        text = inspect(chosen.files)
    except CaptureError as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    sys.stdout.write(text)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
