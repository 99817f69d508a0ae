"""Results → a Markdown page: tables, and what of the targets is met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.bench_targets import targets

Row = dict[str, Any]
NEAREST = """## What is compared

Mimir's command follows connections, finds the client, counts requests, drops the copies of a packet that the `any` interface sees, sums pods and
services at three window lengths, and writes the table. Each peer does the nearest that it offers, on the first packets of the same
capture; dissectors also look for much that Mimir does not. Imports of Python peers are not in their time; Mimir's start-up is in the time of its
whole command, to which the last column compares. NFStream and nfpcapd cannot read SLL2 and get the same packets behind Ethernet headers."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table; the first `texts` columns are text, the others numbers.

    >>> print(table(["a", "b"], [["x", "1"]]))
    | a | b |
    |---|--:|
    | x | 1 |
    """
    rule = "|" + "---|" * texts + "--:|" * (len(head) - texts)
    first, *others = (f"| {' | '.join(line)} |" for line in (head, *rows))
    return "\n".join([first, rule, *others])


def short(value: float) -> str:
    """Three significant digits with k and M.

    >>> short(1_234_567), short(45_678), short(7.891), short(512)
    ('1.23 M', '45.7 k', '7.89', '512')
    """
    for limit, unit in ((1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{_digits(value / limit)}{unit}"
    return _digits(value)


def _digits(value: float) -> str:
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def rate(row: Row, clock: str = "cpu_s") -> float:
    """Packets per second, median of the runs."""
    return float(row["packets"] / median(row[clock]))


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    parts = [_head(results), "## Targets", _targets(results)]
    if "comparison" in results:
        parts.append(NEAREST)
    for name, found in results.get("comparison", {}).items():
        parts += [f"## Mimir and its peers: {name} capture", results["captures"][name], comparison(found)]
    makers: dict[str, Callable[[Any], str]] = {
        "windows": _windows,
        "memory": _memory,
        "formats": _formats,
        "growth": _growth,
        "pods": _pods,
        "start_up": _start_up,
    }
    parts += [make(results[key]) for key, make in makers.items() if key in results]
    return "\n\n".join(parts) + "\n"


def _head(results: dict[str, Any]) -> str:
    facts = results["facts"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return f"""# How fast does a capture become edges?

Written by `{facts["command"]}`; the raw numbers stand beside this page as JSON. Absolute figures belong to the machine and the
hour, ratios within this run count (load of the machine {facts["load_before"]:.1f} before, {facts["load_after"]:.1f} after, on
{facts["cores"]} cores). Ratios are of processor seconds (user + system, child processes included), which waiting does not change.

* commit {facts["commit"]}, {facts["date"]}, {facts["seconds"]:.0f} s in all
* {facts["cores"]} cores, {facts["processor"]}, Linux {facts["kernel"]}; files in the page cache
* {versions}

Runs of which the median counts, unless stated: {results["runs"]}. *Peak* is the resident memory of the largest process. Peers come with
`.venv/bin/pip install -e '.[bench]'` and the system's packages (tshark, tcpdump, nfdump); absent ones are named and left out."""


def _targets(results: dict[str, Any]) -> str:
    rows = [[t.what, t.wanted, t.found, {True: "met", False: "**missed**", None: "not measured"}[t.met]] for t in targets(results)]  # fmt: skip
    found = targets(results)
    missed, unknown = ([t.what for t in found if t.met is verdict] for verdict in (False, None))
    text = (
        f"{sum(t.met is True for t in found)} of {len(found)} are met. Missed: {'; '.join(missed) or 'none'}. Not measured: {'; '.join(unknown) or 'none'}.\n"
        "The ratios to peers were wanted on packets with payload and are judged on those, the other targets on headers only: what Mimir captures by default."
    )
    return text + "\n\n" + table(["target", "wanted", "found", "verdict"], rows, 4)


def comparison(rows: Sequence[Row]) -> str:
    """Mimir and its peers; the last column says how many times faster Mimir's whole command is."""
    own = rate(rows[0])
    lines = []
    for row in rows:
        if "skipped" in row:
            lines.append([row["name"], f"{row['work']}: {row['skipped']}", *["–"] * 5])
            continue
        speed = rate(row)
        lines.append([row["name"], row["work"], short(row["packets"]), short(rate(row, "wall_s")), short(speed),
                      f"{row['peak_mb']:,.0f}", short(own / speed)])  # fmt: skip
    head = ["", "work", "packets", "packets/s", "packets/processor s", "peak MB", "Mimir is × as fast"]
    return table(head, lines, 2)


def _windows(rows: Sequence[Row]) -> str:
    lines = [[r["name"], f"{median(r['cpu_s']):.2f}", short(r["rows"]), f"{r['peak_mb']:,.0f}"] for r in rows]
    text = "Whole stage, warm process. The base window is the greatest common divisor, so 60 s alone works on fewer rows than 1 s alone."  # fmt: skip
    head = ["windows (s)", "processor s", "edge rows", "peak MB"]
    return f"## One window length against three in one pass\n\n{text}\n\n{table(head, lines)}"


def _memory(rows: Sequence[Row]) -> str:
    lines = [[r["name"], short(r["packets"]), f"{r['file_mb']:,.0f}", short(r["at_once"]), short(r["rows"]), f"{r['peak_mb']:,.0f}"]
             for r in rows]  # fmt: skip
    text = (
        "Windows of 600 s, so that edge rows hardly grow; fresh process, one run. *Connections at once* are those that are remembered, both legs\n"
        "counted: a connection stays until 7 s after its end, because late packets belong to it. The last capture holds whole packets at the usual rate."
    )
    head = ["", "packets", "file MB", "connections at once", "edge rows", "peak MB"]
    return f"## Memory against the size of the capture\n\n{text}\n\n{table(head, lines)}"


def _formats(rows: Sequence[Row]) -> str:
    plain = median(rows[0]["cpu_s"])
    lines = [[r["name"], short(r["packets"]), short(rate(r)), f"{median(r['cpu_s']) / plain:.2f}"] for r in rows]
    head = ["format", "packets", "packets/processor s", "time, pcap = 1"]
    return f"## Formats\n\nWhole stage, warm process, the same packets.\n\n{table(head, lines)}"


def _growth(found: dict[str, Any]) -> str:
    lines = [[short(r["packets"]), f"{r['file_mb']:,.0f}", f"{r['kernel_s']:.2f}", f"{r['stage_s']:.2f}",
              short(r["packets"] / r["stage_s"]), short(r["rows"]), f"{r['peak_mb']:,.0f}"] for r in found["rows"]]  # fmt: skip
    head = ["packets", "file MB", "kernels, s", "stage, s", "packets/s, stage", "edge rows", "peak MB"]
    exponents = found["exponents"]
    text = (
        f"Longer recordings at the same packet rate; processor seconds in a warm process, better of two. Time grows as packets to the power of\n"
        f"**{exponents['stage_s']:.2f}** (whole stage) and **{exponents['kernel_s']:.2f}** (kernels)."
    )
    return f"## Growth\n\n{text}\n\n{table(head, lines)}"


def _pods(found: dict[str, Any]) -> str:
    lines = [[short(r["pods"]), short(r["packets"]), f"{r['stage_s']:.2f}", short(r["rows"]), f"{r['peak_mb']:,.0f}"] for r in found["rows"]]  # fmt: skip
    text = f"As many packets between more pods; whole stage, processor seconds in a warm process, better of two. Time grows as pods to the power of\n**{found['exponent']:.2f}**: what grows are the rows."  # fmt: skip
    head = ["pods", "packets", "stage, s", "edge rows", "peak MB"]
    return f"## More pods\n\n{text}\n\n{table(head, lines)}"


def _start_up(found: dict[str, float]) -> str:
    text = (
        f"A fresh process on 20,000 packets takes {found['cached_s']:.2f} processor seconds with compiled kernels in the cache, of which\n"
        f"importing numba and pyarrow is the most; the first one on a machine, which compiles them, {found['compiling_s']:.1f} s."
    )
    return f"## Start-up\n\n{text}"
