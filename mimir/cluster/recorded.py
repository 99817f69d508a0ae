"""`cluster=recorded`: captures and flow files that already exist, with whatever is known about their addresses and leaks."""

from __future__ import annotations

import glob
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mimir.capture import open_capture
from mimir.capture.sources import CAPTURE_NAME, captures_in, natural
from mimir.cluster.base import NothingStanding, Progress, Recording, RecordingOrder, Requirement
from mimir.errors import CaptureError, MimirError, Problem
from mimir.exfiltration.ledger import LedgerError, read_ledger
from mimir.files import read_jsonl, write_json, write_jsonl
from mimir.spec import Spec
from mimir.spec.cluster import RecordedSpec
from mimir.units import NS_PER_S

NAMES = ("fit", "calibrate", "test")
SUFFIXES = (".pcap", ".pcapng", ".cap", ".log", ".json", ".csv", ".txt", ".gz")


class RecordedCluster(NothingStanding):
    """Nothing is started: a recording is a set of links to the user's files and the time span it covers."""

    parallel = True

    def __init__(self, spec: Spec):
        if not isinstance(spec.cluster, RecordedSpec):
            raise TypeError(f"RecordedCluster needs cluster=recorded, got {spec.cluster.name}")
        self.spec, self.source = spec, spec.cluster
        #: (first s, last s, flows, packets) of files that hold flow records, None for packets; set by who may read flows
        self.flow_span: Callable[[Sequence[Path]], tuple[float, float, int, int] | None] = lambda files: None

    def problems(self) -> list[Problem]:
        """Files that are named but not there, and leaks asked of a capture that is already made."""
        named = {k: getattr(self.source, k) for k in ("entities", "addresses", "truth")}
        found = [
            Problem(f"cluster.{key}", f"names a file that does not exist: {value}", next="check the path")
            for key, value in named.items()
            if value and not Path(value).is_file()
        ]
        if self.source.truth and Path(self.source.truth).is_file():
            try:
                read_ledger(Path(self.source.truth))
            except LedgerError as error:
                found.append(Problem("cluster.truth", f"is no ledger: {error}", "see docs/concepts/run-directory.md"))
        for key in ("capture", *NAMES):
            value = getattr(self.source, key)
            if value and not _files(value):
                found.append(
                    Problem(f"cluster.{key}", f"names no file: {value}", "a file, a folder or a glob", "check the path")
                )
        if self.spec.exfiltration.channel != "none":
            found.append(
                Problem(
                    "exfiltration",
                    "cannot be added to a capture that already exists",
                    "none",
                    "choose exfiltration=none",
                )
            )
        return found

    def requirements(self) -> list[Requirement]:
        """None beyond the files."""
        return []

    def plan(self, spec: Spec) -> dict[str, Any]:
        """The files each recording reads."""
        return {"creates": [], "reads": {name: [str(f) for f in self._captures(name)] for name in NAMES}}

    def record(self, order: RecordingOrder, progress: Progress) -> Recording:
        """Link the captures of one recording and find the time it spans. Raises CaptureError for an unreadable file."""
        captures = self._captures(order.name)
        flows = self.flow_span(captures)
        first_s, last_s, *counts = flows or _span(captures, progress)
        nodes = [""] * len(captures) if flows else self._nodes(order.name, captures)
        suffix = _suffix if flows else _capture_suffix
        links = [
            _link(capture, order.folder / "capture" / node / f"{order.name}-{number:04d}{suffix(capture)}")
            for number, (capture, node) in enumerate(zip(captures, nodes, strict=True), 1)
        ]
        start_s, end_s = self._share(order.name, first_s, last_s)
        files = {n: order.folder / f"{n}.jsonl" for n in ("entities", "timeline", "truth")}
        known_names = self.source.entities or self.source.addresses
        if known_names:
            if not _is_json(Path(known_names)):  # a table, or the log of the research prototype
                files["entities"] = order.folder / "addresses.txt"
                write_json(order.folder / "start.json", {"first_s": first_s})  # such a log counts seconds from there
            shutil.copyfile(known_names, files["entities"])
        else:
            write_jsonl(files["entities"], [])
        base = {"recording": order.name}
        write_jsonl(files["timeline"], [{"ts": start_s, "event": "recording_started", **base},
                                        {"ts": end_s, "event": "recording_ended", **base}])  # fmt: skip
        write_jsonl(files["truth"], self._ledger(order, start_s, end_s))
        return Recording(
            tuple(links),
            files["entities"],
            files["timeline"],
            files["truth"],
            dict(zip(("flows", "packets") if flows else ("packets",), counts, strict=True)),
        )

    def _ledger(self, order: RecordingOrder, start_s: float, end_s: float) -> list[dict[str, Any]]:
        """Ledger rows that overlap a recording. Raises MimirError for a leak where the detector learns what is benign."""
        known = read_jsonl(Path(self.source.truth)) if self.source.truth else []
        rows = [row for row in known if row["start"] < end_s and row["end"] > start_s]
        leaks = [row["incident"] for row in rows if not str(row["path_class"]).startswith("benign:")]
        if leaks and not order.leaking:
            raise MimirError(
                f"{self.source.truth}: {', '.join(leaks)} happened during the {order.name} recording, which must be benign; "
                "cut the capture elsewhere (cluster.split=[0.2,0.2,0.6]) or name benign captures (cluster.fit, cluster.calibrate)"
            )
        return rows

    def _captures(self, name: str) -> list[Path]:
        return _files(self.source.capture or getattr(self.source, name) or "")

    def _nodes(self, name: str, captures: list[Path]) -> list[str]:
        """The node of each capture where a folder has one subfolder per node; empty texts otherwise."""
        root = Path(self.source.capture or getattr(self.source, name) or "").absolute()
        return [f.parent.name if root.is_dir() and f.parent != root else "" for f in captures]

    def _share(self, name: str, first_s: float, last_s: float) -> tuple[float, float]:
        if not self.source.capture:
            return math.floor(first_s), math.ceil(last_s)
        number = NAMES.index(name)
        ends = [sum(self.source.split[:i]) for i in range(4)]
        return tuple(round(first_s + (last_s - first_s) * ends[i], 6) for i in (number, number + 1))  # type: ignore[return-value]


def _files(pattern: str) -> list[Path]:
    """Files a user named: one file, those of a folder (or of its subfolders, one per node), or a glob; sorted by name.

    Of a folder the captures by name count; where there are none, all files (flow records have any name).
    """
    if not pattern:
        return []
    path = Path(pattern)
    if path.is_dir():
        return _in_folder(path.absolute())
    return sorted(Path(f).absolute() for f in glob.glob(pattern) if Path(f).is_file()) or (
        [path.absolute()] if path.is_file() else []
    )


def _in_folder(folder: Path) -> list[Path]:
    shown = sorted((f for f in folder.iterdir() if not f.name.startswith(".")), key=natural)
    nodes = [f for f in shown if f.is_dir()]
    if found := captures_in(folder) or [file for node in nodes for file in captures_in(node)]:
        return found
    return [f for f in shown if f.is_file()] or [
        file for node in nodes for file in sorted(node.iterdir(), key=natural) if file.is_file() and file.name[0] != "."
    ]


def _is_json(path: Path) -> bool:
    with path.open("rb") as data:
        return data.read(64).lstrip()[:1] in (b"{", b"")


def _suffix(path: Path) -> str:
    return "".join(s for s in path.suffixes[-2:] if s in SUFFIXES) or ".pcap"


def _capture_suffix(path: Path) -> str:
    """A name by which readers of folders know a capture, whatever the user calls it."""
    named = CAPTURE_NAME.search(path.name)
    packed = path.suffix if path.suffix in (".gz", ".zst") else ""
    return f".{named[1].lower() if named else 'pcap'}{packed}"


def _link(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)
    return target


def _span(captures: list[Path], progress: Progress) -> tuple[float, float, int]:
    """First and last packet time (s) and how many packets. Raises CaptureError when there is none."""
    first, last, packets = math.inf, -math.inf, 0
    for batch in open_capture(captures):
        first, last = min(first, float(batch.ts_ns.min()) / NS_PER_S), max(last, float(batch.ts_ns.max()) / NS_PER_S)
        packets += len(batch)
        progress(0.0, packets)
    if not packets:
        raise CaptureError(captures[0], "holds no IP packet")
    return first, last, packets
