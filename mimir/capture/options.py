"""Options that commands on captures share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

#: silence after which a followed file is taken to be complete
IDLE_S = 30.0


def seconds(least: float, most: float) -> Callable[[str], float]:
    """A type for argparse: a finite number of seconds within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is no number of seconds from {least:g} to {most:,.0f}")
        return value

    return read


def whole(least: int, most: int, what: str = "seconds") -> Callable[[str], int]:
    """A type for argparse: a whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is no whole number of {what} from {least:,} to {most:,}")
        return value

    return read


def add_follow(parser: argparse.ArgumentParser) -> None:
    """The options about a file still being written; `idle_s` reads them."""
    parser.add_argument("--follow", action="store_true", help="read on while the (last) file is being written")
    parser.add_argument(
        "--idle-s",
        type=seconds(0.1, 86_400),
        default=IDLE_S,
        help=f"with --follow: silence after which the file is complete, s (default {IDLE_S:g})",
    )


def idle_s(chosen: argparse.Namespace) -> float | None:
    """Silence after which a followed file is complete, s; None when none is followed."""
    return float(chosen.idle_s) if chosen.follow else None
