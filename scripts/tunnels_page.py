#!/usr/bin/env python3
"""Runs of real third-party tools on cluster=netns → docs/results/tunnels.md: what they sent, and which detectors saw it.

`python scripts/tunnels_page.py --runs runs`, after the command that stands on the page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "tunnels.md"
TOOLS = ("tool_socat", "tool_curl", "tool_ptunnel", "tool_iodine", "tool_dns2tcp")
DETECTORS = ("allowlist", "dns_information", "beacon", "invariants")
COMMAND = """python run.py -m app=sockshop cluster=netns 'exfiltration=tool_socat,tool_curl,tool_ptunnel,tool_iodine,tool_dns2tcp' \\
  detector=allowlist,dns_information,beacon,invariants load=steady load.users=20 load.duration_s=240 'capture.windows_s=[10]' \\
  'detector.windows_s=[10]' exfiltration.incidents=1 exfiltration.incident_duration_s=60 exfiltration.gap_s=0 \\
  exfiltration.tail_s=30 evaluation.recovery_s=30 tracking=none
python scripts/tunnels_page.py"""
AGAIN_TOOLS = ("tool_ptunnel", "tool_dns2tcp")
AGAIN = "## ptunnel and dns2tcp"
AGAIN_COMMAND = """python run.py -m app=sockshop cluster=netns 'exfiltration=tool_ptunnel,tool_dns2tcp' detector=allowlist,dns_information,beacon,invariants \\
  load=steady load.users=20 load.duration_s=110 'capture.windows_s=[5]' 'detector.windows_s=[5]' exfiltration.incidents=1 exfiltration.incident_duration_s=60 \\
  exfiltration.gap_s=0 exfiltration.tail_s=15 evaluation.recovery_s=15 tracking=none
python scripts/tunnels_page.py --again runs"""
WINDOW_S, AGAIN_WINDOW_S = 10, 5


def main() -> None:
    """Read the runs, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run directories")
    parser.add_argument(
        "--note", default="", help="a paragraph below the table: what is to be known of these very runs"
    )
    parser.add_argument(
        "--again", type=Path, help="folder of the runs of the second command: only the page's end is written"
    )
    options = parser.parse_args()
    if options.again:
        before = PAGE.read_text(encoding="utf-8").partition(AGAIN)[0].rstrip()
        PAGE.write_text(f"{before}\n\n{again(read_runs(options.again), options.note)}", encoding="utf-8")
        return
    found = read_runs(options.runs)
    PAGE.write_text(page(found, options.note), encoding="utf-8")
    print(PAGE)


def read_runs(folder: Path) -> dict[tuple[str, str], Path]:
    """(tool, detector) → its last run, whether done or failed."""
    found = {}
    for path in sorted(folder.glob("sockshop-tool_*"), key=lambda p: p.stat().st_mtime):
        if (path / "spec.yaml").exists() and (path / "status.json").exists():
            spec = yaml.safe_load((path / "spec.yaml").read_text(encoding="utf-8"))
            found[spec["exfiltration"]["name"], spec["detector"]["name"]] = path
    return found


def page(found: dict[tuple[str, str], Path], note: str) -> str:
    """The page."""
    parts = [
        "# Real tools against four detectors",
        "",
        "The program itself leaks from `user-db-0` of Sock Shop on `cluster=netns`, with its server end outside, one incident of 60 s each, made by",
        "", "```", COMMAND, "```", "",
        "Sent are IP packets and bytes of both directions on the store's own edge (to the collector, or to kube-dns) in the windows of the incident; without the leak that edge does not exist. A cell",
        "of a detector is how many of the incident's 10 s windows raised an alert. Thresholds come from 24 benign windows, so they are the largest score seen there. One run each: a row is an",
        "example, not a rate. Alerts before the incident would be named (false).",
        "",
        *_table(TOOLS, found, WINDOW_S),
        *([note, ""] if note else []),
    ]  # fmt: skip
    return "\n".join(parts)


def again(found: dict[tuple[str, str], Path], note: str) -> str:
    """The end of the page: the two tools that needed another try, in shorter recordings."""
    head = [AGAIN, "", f"The same in shorter recordings, in windows of {AGAIN_WINDOW_S} s (thresholds from 22 benign ones), made by", "", "```", AGAIN_COMMAND, "```", ""]  # fmt: skip
    return "\n".join([*head, *_table(AGAIN_TOOLS, found, AGAIN_WINDOW_S), *([note, ""] if note else [])])


def _table(tools: tuple[str, ...], found: dict[tuple[str, str], Path], window_s: int) -> list[str]:
    return [
        f"| tool | stolen B | sent packets | sent B | sent per stolen B | {' | '.join(DETECTORS)} |",
        f"|---|---|---|---|---|{'---|' * len(DETECTORS)}",
        *(_row(tool, found, window_s) for tool in tools),
        "",
    ]


def _row(tool: str, found: dict[tuple[str, str], Path], window_s: int) -> str:
    done = {name: path for name in DETECTORS if (path := found.get((tool, name))) and _status(path)["state"] == "done"}
    if not done:
        failed = [_status(path) for name in DETECTORS if (path := found.get((tool, name)))]
        why = (
            str(failed[-1].get("error", "")).partition("; it said")[0].splitlines()[-1].strip() if failed else "not run"
        )
        return f"| `{tool}` | {why} |" + " |" * (3 + len(DETECTORS))
    some = next(iter(done.values()))
    (truth,) = [json.loads(line) for line in (some / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    edges = pd.read_parquet(some / "edges.parquet")
    server = "kube-dns" if truth["path_class"] == "dns" else "outside:203.0.113.66"
    own = edges[
        (edges.view == "service")
        & (edges.window_s == window_s)
        & (edges.client == "user-db")
        & (edges.server == server)
    ]
    own = own[_during(own.window_start.to_numpy(), truth, window_s)]
    packets = int(own.request_packets.sum() + own.response_packets.sum())
    sent, stolen = int(own.request_bytes.sum() + own.response_bytes.sum()), truth["bytes_delivered"]
    cells = [_found(done[name], truth, window_s) if name in done else "not run" for name in DETECTORS]
    return f"| `{tool}` | {stolen:,} | {packets:,} | {sent:,} | {sent / stolen:.1f} | {' | '.join(cells)} |"


def _found(run: Path, truth: dict[str, Any], window_s: int) -> str:
    scores = pd.read_parquet(run / "scores.parquet")
    test = scores[(scores.recording == "test") & (scores.window_s == window_s)]
    during = _during(test.window_start.to_numpy(), truth, window_s)
    before = test.window_start.to_numpy() + window_s <= truth["start"]
    false = int(test.alert[before].sum())
    return f"{int(test.alert[during].sum())} of {int(during.sum())}" + (f" ({false} false)" if false else "")


def _during(starts: Any, truth: dict[str, Any], window_s: int) -> Any:
    return np.asarray((starts + window_s > truth["start"]) & (starts < truth["end"]))


def _status(run: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((run / "status.json").read_text(encoding="utf-8"))
    return status


if __name__ == "__main__":
    main()
