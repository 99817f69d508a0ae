#!/usr/bin/env python3
"""Render every application on the simulated cluster and write docs/results/applications.md: graph, traffic, real tables.

`python scripts/applications_page.py --help`. The real tables stand in the folder that MIMIR_CORPUS names (default ../shared/data); without it the page
says that they were not compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from scripts.real_conversations import wordpress  # noqa: E402
from scripts.real_tables import CORPUS, WINDOW_S, edges_of, sockshop, variation, windows  # noqa: E402

COMPARED = {"sockshop": sockshop, "wordpress": wordpress}
APPS = ("sockshop", "wordpress", "hipsterstore", "robotshop", "bookinfo", "trainticket")
PAGE = ROOT / "docs" / "results" / "applications.md"


def main() -> None:
    """Runs, then the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration-s", type=int, default=1200, help="length of each recording, s")
    parser.add_argument("--users", type=int, default=100, help="users, constant")
    parser.add_argument("--runs", default="runs", help="folder of run directories")
    parser.add_argument("--apps", nargs="*", default=list(APPS), help="conf/app names")
    options = parser.parse_args()
    parts = [_head(options)]
    for name in options.apps:
        folder = _run(_command(name, options), options.runs)
        parts.append(_section(name, folder))
        if name in COMPARED and CORPUS.is_dir():
            parts.append(COMPARED[name](lambda words: _run(words.split(), options.runs)))
        elif name in COMPARED:
            parts.append("*The real tables were not at hand.*")
    text = "\n\n".join(parts)
    PAGE.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    print(PAGE)


def _command(name: str, options: argparse.Namespace) -> list[str]:
    return [f"app={name}", "load=steady", f"load.users={options.users}", f"load.duration_s={options.duration_s}",
            "exfiltration=none", "detector=allowlist", "evaluation=quick", "tracking=none"]  # fmt: skip


def _run(words: list[str], runs: str) -> Path:
    command = [sys.executable, str(ROOT / "run.py"), *words, f"paths.runs={runs}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    output = (done.stdout + done.stderr).splitlines()
    named = [line.split()[1] for line in output if line.startswith(("run ", "reused: ")) and len(line.split()) > 1]
    folders = [Path(word) for word in named if Path(word).is_dir()]
    if not folders:
        sys.exit(f"the run's folder is not in its output:\n{done.stdout}\n{done.stderr}")
    return folders[-1]


def _head(options: argparse.Namespace) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return f"""# The simulated applications, and how close they come to real ones

Made by `python scripts/applications_page.py --duration-s {options.duration_s} --users {options.users}` at commit {commit.stdout.strip()}, seed 1. Each
application runs once as

```
python run.py {" ".join(_command("NAME", options))}
```

Traffic by edge is payload above TCP and UDP in the fit recording, both directions, every packet counted once. CV is the coefficient of variation (standard
deviation / mean) of an edge's bytes over {WINDOW_S} s windows."""


def _section(name: str, folder: Path) -> str:
    spec = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))["app"]
    edges = edges_of(folder)
    graph = _graph(name, folder, spec)
    title = f"## {name}\n\n{spec['description']}. Sensitive: {', '.join(spec['sensitive'])}."
    return "\n\n".join([title, graph, _mix(edges)])


def _graph(name: str, folder: Path, spec: dict[str, object]) -> str:
    import networkx as nx

    from mimir.report.graph import draw_graph
    from mimir.report.graph_content import graph_content

    services = spec["services"]
    assert isinstance(services, dict)
    stores = [service for service, values in services.items() if values["kind"] == "store"]
    graph = nx.read_graphml(folder / "graphs" / "service.graphml")
    sensitive = spec["sensitive"]
    assert isinstance(sensitive, list)
    drawing = draw_graph(graph_content(graph, [], sensitive, stores))
    path = PAGE.parent / "applications" / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drawing.svg, encoding="utf-8")
    told = f"; not drawn: {', '.join(drawing.content.left_out)}" if drawing.content.left_out else ""
    return f"![Service graph of {name}](applications/{name}.svg)\n\nThe service graph as found in the capture{told}."


def _mix(edges: pd.DataFrame) -> str:
    count = edges["window_start"].nunique()
    columns = ["request_payload_bytes", "response_payload_bytes", "exchanges", "connections"]
    total = edges.groupby(["client", "server", "server_port", "proto"])[columns].sum()
    both = total["request_payload_bytes"] + total["response_payload_bytes"]
    order = both.sort_values(ascending=False)
    lines = [
        "| client → server | port | share of bytes | request kB/min | response kB/min | exchanges/min | CV |",
        "|---|---|---|---|---|---|---|",
    ]
    minutes = count * WINDOW_S / 60
    for key in order.index[:15]:
        client, server, port, proto = key
        row = total.loc[key]
        values = windows(edges, client, server, "request_payload_bytes") + windows(
            edges, client, server, "response_payload_bytes"
        )
        lines.append(
            f"| {client} → {server} | {port}/{proto} | {100 * both[key] / both.sum():.1f} % | {row.iloc[0] / minutes / 1e3:,.1f} "
            f"| {row.iloc[1] / minutes / 1e3:,.1f} | {row.iloc[2] / minutes:,.0f} | {variation(values):.2f} |"
        )
    rest = order.iloc[15:]
    if len(rest):
        lines.append(f"| {len(rest)} more edges | | {100 * rest.sum() / both.sum():.1f} % | | | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
