"""Wireshark's dissectors for a filtered subset: `tshark -T fields` as a stream, pyshark where a layer object is handy.

Both are far too slow for whole captures (1e4 and 1e3 packets/s); the reader in `mimir.capture.reader` is for those.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mimir.capture.sources import STANDARD_INPUT
from mimir.errors import CaptureError, RequirementError

HOW_TO_INSTALL = (
    "install Wireshark's command line (Debian and Ubuntu: sudo apt-get install tshark; macOS: brew install wireshark)"
)
SEPARATOR = "\x1f"
EMPTY_PCAP = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


def find_tshark() -> Path:
    """Path of the tshark program. Raises RequirementError saying how to get it."""
    found = shutil.which("tshark")
    if found is None:
        raise RequirementError(f"tshark is needed to dissect application protocols and was not found; {HOW_TO_INSTALL}")
    return Path(found)


def tshark_version() -> str:
    """`4.0.17` of the tshark that is found. Raises RequirementError without one."""
    run = subprocess.run([str(find_tshark()), "--version"], capture_output=True, encoding="utf-8", check=False)  # noqa: S603
    found = re.search(r"\d+\.\d+\S*", run.stdout)
    return found[0].rstrip(".") if found else "unknown"


def tshark_complaint(fields: Sequence[str], display_filter: str = "") -> str:
    """What tshark says of these fields and this filter, tried on a capture without packets; "" when it takes them."""
    command = [str(find_tshark()), "-n", "-r", "-", "-T", "fields", *(x for f in fields for x in ("-e", f))]
    command += ["-Y", display_filter] if display_filter else []
    run = subprocess.run(command, input=EMPTY_PCAP, capture_output=True, check=False)  # noqa: S603
    return _complaint(run.stderr.decode(errors="replace"), 8) if run.returncode else ""


def tshark_fields(
    path: Path, fields: Sequence[str], display_filter: str = "", every_occurrence: bool = False
) -> Iterator[tuple[str, ...]]:
    """Values of `fields` (Wireshark names, `tcp.stream`) for each packet that passes the filter, as text; "" if absent.

    Of a field that occurs several times, the first value is given, or all of them joined by commas. Rows come while
    tshark works; leaving the loop early stops it. Raises RequirementError without tshark, CaptureError when tshark
    rejects the file, a field or the filter.
    """
    command = [str(find_tshark()), "-n", "-r", str(path), "-T", "fields", "-E", f"separator={SEPARATOR}"]
    command += ["-E", f"occurrence={'a' if every_occurrence else 'f'}", *(x for f in fields for x in ("-e", f))]
    if display_filter:
        command += ["-Y", display_filter]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace") as run:  # noqa: S603
        finished = False
        try:
            for line in run.stdout or ():
                yield tuple(line.rstrip("\n").split(SEPARATOR))
            finished = True
        finally:
            if not finished:
                run.kill()
        complaint = run.stderr.read() if run.stderr else ""
    if run.returncode:
        raise CaptureError(path, f"tshark: {_complaint(complaint)}")


def _complaint(text: str, most: int = 2) -> str:
    """The first lines of what tshark said, without its warning about root."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and "could be dangerous" not in line]
    return " ".join(lines[:most]).removeprefix("tshark: ") or "it failed without a message"


def dissect(path: Path, display_filter: str, fields: Sequence[str], limit: int = 1000) -> list[dict[str, str | None]]:
    """Fields (`layer.field`, as pyshark names them) of at most `limit` packets that pass the filter; None if absent.

    Runs pyshark in a process of its own: it needs a main thread without an event loop. Raises as `tshark_fields`.
    """
    find_tshark()
    if path == STANDARD_INPUT:
        raise CaptureError(path, "pyshark reads files, not standard input; use tshark, or save the capture first")
    order = json.dumps([str(path), display_filter, list(fields), limit])
    command = [sys.executable, "-P", str(Path(__file__).with_name("pyshark_worker.py"))]
    run = subprocess.run(command, input=order, capture_output=True, encoding="utf-8", check=False)  # noqa: S603
    if run.returncode:
        list(tshark_fields(path, ["frame.number"], display_filter))  # says what is wrong better than pyshark does
        raise CaptureError(path, f"pyshark: {_complaint(run.stderr)}")
    rows: list[dict[str, str | None]] = json.loads(run.stdout)
    return rows
