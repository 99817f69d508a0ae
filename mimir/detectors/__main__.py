"""Command line of the detectors room: what a fitted detector learned, in forms that others can use."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mimir.errors import EXIT_DONE, EXIT_SPEC, MimirError

FORMATS = ("networkpolicy", "cilium", "table", "json")


def main(arguments: list[str] | None = None) -> int:
    """`export RUN_DIR --format …` and `coldstart RUN_DIR`: 0 when done, 2 with one line on stderr when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m mimir.detectors", description="What fitted detectors learned.")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="what the detector of a run learned, as policies or as a table")
    export.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="networkpolicy and cilium are YAML, table is CSV (JSON with --out FILE.json)",
    )
    cold = commands.add_parser(
        "coldstart", help="benign violations of an allow-list against the length of training (CSV)"
    )
    for command in (export, cold):
        command.add_argument("run", type=Path, metavar="RUN_DIR", help="a run directory")
        command.add_argument("--window", type=int, help="window length in s; default: the longest that was fitted")
        command.add_argument("--out", type=Path, help="file to write; default: standard output")
    chosen = parser.parse_args(arguments)
    makers: Mapping[str, Callable[[argparse.Namespace], str]] = {"export": _export, "coldstart": _cold_start}
    try:
        text = makers[chosen.command](chosen)
    except MimirError as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    if chosen.out:
        from mimir.files import write_text

        write_text(chosen.out, text)
    else:
        print(text, end="")
    return EXIT_DONE


def _state_folder(run: Path, window_s: int | None) -> Path:
    """detector/w<seconds> of a run; MimirError names what is there."""
    fitted = {int(p.parent.name.removeprefix("w")): p.parent for p in (run / "detector").glob("w*/state.json")}
    if not fitted:
        raise MimirError(f"{run} holds no fitted detector (detector/w*/state.json); is it a finished run directory?")
    if window_s is not None and window_s not in fitted:
        raise MimirError(
            f"no detector was fitted for windows of {window_s} s (fitted: {sorted(fitted)}); change --window"
        )
    return fitted[max(fitted) if window_s is None else window_s]


def _export(chosen: argparse.Namespace) -> str:
    from mimir.detectors.registry import load_detector

    folder = _state_folder(chosen.run, chosen.window)
    try:
        detector = load_detector(folder)
    except KeyError as error:
        raise MimirError(
            f"{folder} was written by another version of Mimir (it lacks {error}); repeat the run"
        ) from error
    if chosen.format == "json":
        return json.dumps({"detector": detector.name, "params": detector.get_params(), "state": _plain(detector.state())},
                          indent=1, sort_keys=True) + "\n"  # fmt: skip
    if chosen.format == "table":
        return _table(detector, int(folder.name.removeprefix("w")), chosen.out)
    return _policies(chosen, _allowed(detector))


def _table(detector: Any, window_s: int, out: Path | None) -> str:
    """The table that a person edits and feeds back; JSON where the file to write is called so."""
    from mimir.detectors.pinned import edge_rows

    rows = detector.table(window_s) if hasattr(detector, "table") else edge_rows(_allowed(detector))
    if out and out.suffix == ".json":
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    return _csv(rows)


def _policies(chosen: argparse.Namespace, allowed: Sequence[Any]) -> str:
    import yaml

    from mimir.detectors.inventory import Inventory
    from mimir.detectors.policies import cilium_policies, network_policies
    from mimir.files import read_jsonl

    log = chosen.run / "entities.jsonl"
    if not log.is_file():
        raise MimirError(f"{log} is missing, and with it the labels to select pods by")
    make = network_policies if chosen.format == "networkpolicy" else cilium_policies
    made = make(allowed, Inventory.of(read_jsonl(log)))
    for text in made.left_out:
        print(f"left out: {text}", file=sys.stderr)
    if not made.policies:
        raise MimirError(
            f"{log} names no pods outside the system namespaces, so there is nothing to write a policy for"
        )
    return str(yaml.safe_dump_all(made.policies, sort_keys=False, allow_unicode=True, explicit_start=True))


def _allowed(detector: Any) -> Sequence[Any]:
    """The closed set of edges a detector learned: the allow-list, or family I1 of the invariants."""
    from mimir.detectors.columns import keys_from_json

    state = detector.state()
    rows = state.get("allowed", (state.get("families", {}).get("I1") or {}).get("allowed"))
    if rows is None:
        raise MimirError(
            f"{detector.name} learns no closed set of edges to export (allowlist does, and invariants with family I1); "
            "--format json shows what it learned"
        )
    return keys_from_json(rows)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _plain(value: Any) -> Any:
    """Arrays as lists."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _cold_start(chosen: argparse.Namespace) -> str:
    from mimir.detectors.cold_start import cold_start
    from mimir.detectors.run_series import benign_series

    window_s = int(_state_folder(chosen.run, chosen.window).name.removeprefix("w"))
    training, benign = (benign_series(chosen.run, name, window_s) for name in ("fit", "calibrate"))
    return _csv([
        {"training_s": c.training_s, "allowed_edges": c.allowed, "benign_windows": c.windows, "violating_windows": c.violations,
         "violation_rate": f"{c.rate:.6g}", "violations_per_day": f"{c.per_day(window_s):.4g}", "new_edges": c.new_edges}
        for c in cold_start(training, benign)
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
