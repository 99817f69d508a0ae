#!/usr/bin/env python3
"""A sweep over applications and scenarios → docs/results/channels.md: what was detected, how soon, at what cost.

`python scripts/channels_page.py --runs runs`, after
`python run.py -m app=sockshop,wordpress,hipsterstore,robotshop 'exfiltration=glob(*,exclude=[tool_*,fan_in])' evaluation=quick`
and `fan_in` where an application has several stores to gather from; the page prints the commands its runs are of.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "results" / "channels.md"
APPS = ("sockshop", "wordpress", "hipsterstore", "robotshop")


def main() -> None:
    """Read the runs, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run directories")
    parser.add_argument("--detector", default="invariants", help="runs of this detector (default invariants)")
    parser.add_argument("--apps", nargs="*", default=list(APPS))
    options = parser.parse_args()
    found = read_runs(options.runs, options.detector)
    PAGE.write_text(page(found, options.apps), encoding="utf-8")
    print(PAGE)


def read_runs(folder: Path, detector: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(app, scenario) → spec, status, metrics of the last run of the detector."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob(f"*-{detector}-s*"), key=lambda p: p.stat().st_mtime):
        if not (path / "spec.yaml").exists() or not (path / "status.json").exists():
            continue
        spec = yaml.safe_load((path / "spec.yaml").read_text(encoding="utf-8"))
        files = {
            "status": path / "status.json",
            "metrics": path / "metrics.json",
            "environment": path / "environment.json",
        }
        read = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}
        found[spec["app"]["name"], spec["exfiltration"]["name"]] = {"spec": spec, **read}
    return found


def page(found: dict[tuple[str, str], dict[str, Any]], apps: list[str]) -> str:
    """The page."""
    scenarios = sorted(path.stem for path in (ROOT / "conf" / "exfiltration").glob("[!t]*.yaml"))
    asked = [found[key] for key in found if key[0] in apps and key[1] in scenarios]
    done = [run for run in asked if run["status"]["state"] == "done"]
    commits = sorted({str(run.get("environment", {}).get("git", {}).get("commit", ""))[:7] for run in done})
    parts = [
        "# Every scenario in four applications",
        "",
        f"Made by `python scripts/channels_page.py` from {len(done)} runs of {len(apps)} × {len(scenarios)} by these commands (commit {', '.join(commits)}):",
        "", "```", *_command(done, scenarios), "```", "",
        *_conditions(done),
    ]  # fmt: skip
    for app in apps:
        parts += ["", f"## {app}", "",
                  "| scenario | path class | stolen B/min | detected | delay, median | lost before the alert, median | path named right | false alerts |",
                  "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        parts += [_row(scenario, found.get((app, scenario))) for scenario in scenarios]
    return "\n".join([*parts, ""])


def _command(done: list[dict[str, Any]], scenarios: list[str]) -> list[str]:
    """The sweeps that the runs are jobs of: one for all scenarios that ran everywhere, one for each of the others."""
    if not done:
        return ["no run was found"]
    ran: dict[tuple[str, ...], dict[str, list[str]]] = {}  # other words of the command → scenario → applications
    for run in done:
        job = shlex.split(str(run["status"].get("command", "")))
        own = [
            word for word in job if not word.startswith(("app=", "exfiltration=", "paths.", "python", "run.py", "-m"))
        ]
        of = ran.setdefault(tuple(own), {})
        of.setdefault(run["spec"]["exfiltration"]["name"], []).append(run["spec"]["app"]["name"])
    lines = []
    for own, of in ran.items():
        groups: dict[tuple[str, ...], list[str]] = {}
        for scenario, apps in of.items():
            groups.setdefault(tuple(sorted(apps, key=lambda app: [*APPS, app].index(app))), []).append(scenario)
        for apps, names in sorted(groups.items(), key=lambda item: -len(item[1])):
            words = [f"app={','.join(apps)}", f"exfiltration={_named(names, scenarios)}", *own]
            sweep = "-m " if len(apps) * len(names) > 1 else ""
            lines.append(
                f"python run.py {sweep}" + " ".join(shlex.quote(w) if set(w) & set("(*[ ") else w for w in words)
            )
    return lines


def _named(names: list[str], scenarios: list[str]) -> str:
    """Some of all scenarios in the words of a sweep: those that are left out, where that is shorter."""
    absent = sorted({*scenarios} - {*names})
    if len(absent) >= len(names):
        return ",".join(sorted(names))
    return f"glob(*,exclude=[{','.join(['tool_*', *absent])}])"


def _conditions(done: list[dict[str, Any]]) -> list[str]:
    if not done:
        return []
    spec = done[0]["spec"]
    quick, users = spec["evaluation"], spec["load"]["users"]
    window = done[0]["metrics"]["primary_window_s"]
    return [
        f"Detector `{spec['detector']['name']}` in windows of {window} s; {quick['fit_s']} s of benign traffic to learn from, {quick['calibrate_s']} s to set the "
        f"threshold on (a budget of {quick['alerts_per_day']:g} alerts a day, extrapolated), {quick['test_s']} s with incidents; {users} users at the peak; seed "
        f"{spec['seed']}. One run each, three incidents of ten minutes: differences of one incident say nothing. False alerts are those in the benign windows "
        "of the test recording, which the incidents leave little of. "
        "So few users make little benign traffic to hide in. Where an incident is missed, medians count all its bytes and its whole length. "
        "`synthetic` adds the same bytes as `relay_chain` sends: where it is found and the other is not, the arithmetic was the easier question. "
        "A fan's ledger names every pod of all branches as its path, which no single path "
        "of an alert equals.",
    ]  # fmt: skip


def _row(scenario: str, run: dict[str, Any] | None) -> str:
    if run is None:
        return f"| `{scenario}` | | | not run | | | | |"
    leak = run["spec"]["exfiltration"]
    head = f"| `{scenario}` | {leak['path_class'].replace('_', ' ')} | {leak['rate_bytes_per_min']:,.0f} |"
    if run["status"]["state"] != "done":
        return f"{head} {run['status']['state']}: {str(run['status'].get('error', '')).splitlines()[:1]} | | | | |"
    metrics = run["metrics"]
    window = metrics["windows"][str(metrics["primary_window_s"])]
    overall = window["overall"]
    test = window["test"]
    benign = test["windows"] - test["positive_windows"] - test["excluded_windows"]
    hours = benign * metrics["primary_window_s"] / 3600
    rate = overall["false_alerts_per_day"]["value"]
    false = "–" if rate is None else f"{rate * hours / 24:.0f} in {60 * hours:.0f} min"
    if leak["channel"] == "none":
        return f"{head} – | – | – | – | {false} |"
    count = leak["incidents"]
    recall = overall["event_recall"]["value"]
    detected = "–" if recall is None else f"{round(recall * count)} of {count}"
    cells = [_value(overall["delay_median_s"], "{:,.0f} s"), _bytes(overall["bytes_before_alert_median"])]
    return f"{head} {detected} | {' | '.join(cells)} | {_value(overall['path_top1'], '{:.0%}')} | {false} |"


def _value(measure: dict[str, Any], text: str) -> str:
    return "–" if measure["value"] is None else text.format(measure["value"])


def _bytes(measure: dict[str, Any]) -> str:
    return "–" if measure["value"] is None else f"{measure['value'] / 1000:,.1f} kB"


if __name__ == "__main__":
    main()
