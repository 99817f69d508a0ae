"""Command line of the cluster room."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from mimir.cluster.base import Requirement
from mimir.errors import EXIT_DONE

#: cluster → function that lists what it needs whatever the spec, "" where it needs nothing
NEEDS = {"simulated": "", "recorded": "", "netns": "mimir.cluster.netns.requirements:requirements"}

#: the same for what it can do without
OPTIONAL = {"netns": "mimir.cluster.netns.real.base:optional"}


def doctor() -> str:
    """Every cluster with what it needs on this machine, met or how to meet it."""
    lines = []
    for name, where in NEEDS.items():
        needs = _named(where)
        ready = all(need.met for need in needs)
        lines.append(f"cluster={name:<10} {'ready' if ready else 'not ready'}{'' if needs else ', needs nothing'}")
        lines += [_line(need) for need in needs]
        lines += [_line(need, "absent ") for need in _named(OPTIONAL.get(name, ""))]
    return "\n".join(lines) + "\n"


def _named(where: str) -> list[Requirement]:
    if not where:
        return []
    module, function = where.split(":")
    needs: list[Requirement] = getattr(import_module(module), function)()
    return needs


def _line(need: Requirement, otherwise: str = "missing") -> str:
    return f"  met      {need.name}" if need.met else f"  {otherwise}  {need.name}: {need.how_to_meet}"


def main(arguments: list[str] | None = None) -> int:
    """`doctor`: always 0; what is missing stands in the list."""
    parser = argparse.ArgumentParser(prog="python -m mimir.cluster", description="Where an application can run.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="what each kind of cluster needs on this machine, and how to meet it")
    parser.parse_args(arguments)
    sys.stdout.write(doctor())
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
