"""Write docs/reference/*.md from conf/ and the docstrings: `make docs`. A test fails when the pages are out of date."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("app", "cluster", "load", "exfiltration", "capture", "detector", "evaluation", "tracking", "experiment")
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<value>[^#\"]*(?:\"[^\"]*\")?[^#]*)(?:#\s*(?P<comment>.*))?$")
FACTS = ("Source", "Family", "Supervised", "Needs", "Complexity", "Limits")
MADE = "<!-- made by `make docs`; do not edit -->\n"


def keys(text: str) -> list[tuple[str, str, str]]:
    """(dotted key, value, comment) of every `key: value` line, in order; values of nested keys are empty, bars escaped."""
    found: list[tuple[str, str, str]] = []
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if not match or line.lstrip().startswith(("#", "-")):
            continue
        indent = len(match["indent"])
        stack = [(i, k) for i, k in stack if i < indent]
        name = ".".join([*(k for _, k in stack), match["key"]])
        stack.append((indent, match["key"]))
        found.append((name, match["value"].strip(), (match["comment"] or "").strip().replace("|", "\\|")))
    return found


def option(group: str, path: Path) -> str:
    """One option file as a table."""
    text = path.read_text(encoding="utf-8")
    head = " ".join(line.lstrip("# ") for line in _head(text) if not line.startswith("# @package"))
    rows = [f"| `{k}` | {_code(v)} | {c} |" for k, v, c in keys(text) if group != "app" or k.count(".") == 0]
    table = ["| key | value | meaning |", "|---|---|---|", *rows]
    return "\n".join([f"### `{group}={path.stem}`", "", head, "", *table, ""])


def _head(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#") or line.strip() == "#":
            break
        lines.append(line)
    return lines


def _code(value: str) -> str:
    return f"`{value[:60]}{'…' if len(value) > 60 else ''}`".replace("|", "\\|") if value else ""


def configuration() -> str:
    """docs/reference/configuration.md."""
    primary = (ROOT / "conf/config.yaml").read_text(encoding="utf-8").split("\nhydra:")[0]
    rows = [f"| `{k}` | {_code(v)} | {c} |" for k, v, c in keys(primary) if k != "defaults"]
    parts = [MADE, "# Configuration", "", "Values and comments as they stand in `conf/`. Change them as `group.key=value`.", "",
             "## Top level", "", "| key | value | meaning |", "|---|---|---|", *rows, ""]  # fmt: skip
    for group in GROUPS:
        parts += [f"## {group}", ""]
        parts += [option(group, path) for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
    return "\n".join(parts)


def detectors() -> str:
    """docs/reference/detectors.md."""
    sys.path.insert(0, str(ROOT))
    from inspect import cleandoc

    from mimir.detectors.registry import DETECTORS, EXCEPTIONS

    rows, parts = [], []
    for name, target in sorted(DETECTORS.items()):
        module_name, _, class_name = target.partition(":")
        detector = getattr(import_module(module_name), class_name)
        module = import_module(detector.__module__)
        text, said = facts(cleandoc(detector.__doc__ or ""))
        rows.append(
            "| " + " | ".join([f"[`{name}`](#{name})", *(said.get(f, "").replace("|", "\\|") for f in FACTS)]) + " |"
        )
        parts += [f"## `{name}`", "", cleandoc(module.__doc__ or ""), "", text, ""]
        broken = EXCEPTIONS.get(name, {})
        parts += (
            [*(f"Breaks the contract at `{check}`: {why}.  " for check, why in broken.items()), ""] if broken else []
        )
    head = [MADE, "# Detectors", "", "From the docstrings in `mimir/detectors/`. T windows, E edges.", "",
            "| `detector=` | " + " | ".join(f.lower() for f in FACTS) + " |", "|---" * (len(FACTS) + 1) + "|"]  # fmt: skip
    return "\n".join([*head, *rows, "", *parts])


def facts(docstring: str) -> tuple[str, dict[str, str]]:
    """A class docstring without its facts, and the facts: `Source: …` lines, continued on indented ones."""
    text: list[str] = []
    said: dict[str, str] = {}
    last = ""
    for line in docstring.splitlines():
        word, _, rest = line.partition(": ")
        if word in FACTS:
            last, said[word] = word, rest.strip()
        elif last and line.startswith("  "):
            said[last] += " " + line.strip()
        else:
            last = ""
            text.append(line)
    return "\n".join(text).strip(), said


def channels() -> str:
    """docs/reference/channels.md."""
    sys.path.insert(0, str(ROOT))
    from mimir.exfiltration import techniques

    measured = json.loads((ROOT / "docs/results/channels-on-the-wire.json").read_text(encoding="utf-8"))
    parts = [MADE, "# Channels, paths and pacings of exfiltration", "",
             "From `mimir/exfiltration/techniques.py` and the docstrings in `mimir/exfiltration/channels/`. Overheads are IP bytes that cross to the outside,",
             "both directions, per stolen byte, as measured with the scenarios below at their own message sizes by `python scripts/channel_wire.py`",
             "([table](../results/channels-on-the-wire.md)). Ids are MITRE ATT&CK's; the first is the one that ledgers hold.", "",
             "## Channels", "", "| `exfiltration.channel` | wire shape | scenarios: overhead at bytes a message | ATT&CK | why |", "|---|---|---|---|---|"]  # fmt: skip
    for name, facts in techniques.CHANNELS.items():
        seen = [f"`{option}`: {m['overhead']:.2f} at {m['bytes_per_message']:,}"
                for option, m in sorted(measured.items()) if m["channel"] == name]  # fmt: skip
        parts.append(
            f"| `{name}` | {_wire(name)} | {', '.join(seen) or '–'} | {', '.join(facts.techniques)} | {facts.why} |"
        )
    for title, table in (("Paths", techniques.PATHS), ("Pacings", techniques.PACINGS)):
        parts += ["", f"## {title}", "", "| | ATT&CK | why |", "|---|---|---|"]
        parts += [f"| `{name}` | {', '.join(facts.techniques)} | {facts.why} |" for name, facts in table.items()]
    parts += ["", "## Techniques", "", "| id | name | tactic |", "|---|---|---|"]
    parts += [f"| {number} | {name} | {tactic} |" for number, (name, tactic) in sorted(techniques.TECHNIQUES.items())]
    return "\n".join([*parts, ""])


def _wire(channel: str) -> str:
    """First sentence of a channel's docstring, without its name."""
    if channel == "synthetic":
        return "none: bytes added to the edges of a benign recording"
    if channel.startswith("tool_"):
        return f"cluster=netns only, the program itself: {import_module('mimir.exfiltration.channels.tools').TOOLS[channel].wire}"
    text = (import_module(f"mimir.exfiltration.channels.{channel}").__doc__ or "").partition("\n\n")[0]
    return " ".join(text.partition(": ")[2].split()).replace("|", "\\|")


PAGES = {"configuration.md": configuration, "detectors.md": detectors, "channels.md": channels}


def main() -> None:
    """Write every page."""
    (ROOT / "docs/reference").mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (ROOT / "docs/reference" / name).write_text(make(), encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
