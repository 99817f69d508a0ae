"""Command line of the spec room."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimir.errors import EXIT_DONE, EXIT_SPEC, MimirError


def main(arguments: list[str] | None = None) -> int:
    """`import-prototype FILE.json`: 0 when translated, 2 with one line on stderr when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m mimir.spec", description="Specs from elsewhere.")
    commands = parser.add_subparsers(dest="command", required=True)
    importing = commands.add_parser(
        "import-prototype", help="turn an experiment file of the research prototype into YAML"
    )
    importing.add_argument("file", type=Path, help="its experiment or …_analysis.json file")
    importing.add_argument(
        "--out", type=Path, help="folder for one YAML file a leak, e.g. conf/experiment; else printed"
    )
    chosen = parser.parse_args(arguments)
    from mimir.files import write_text
    from mimir.spec.prototype import read_prototype

    try:
        experiments = read_prototype(chosen.file)
    except MimirError as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    for one in experiments:
        if chosen.out is None:
            print(f"# experiment/{one.name}.yaml\n{one.text()}")
            continue
        chosen.out.mkdir(parents=True, exist_ok=True)
        write_text(chosen.out / f"{one.name}.yaml", one.text())
        print(f"{chosen.out / one.name}.yaml: python run.py experiment={one.name}; not translated: {len(one.lost)}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
