"""Commands that read captures and write a file: never into what they read, and nothing counted twice."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from mimir.capture.nodes import node_folders
from mimir.capture.sources import CAPTURE_NAME, STANDARD_INPUT, expand
from mimir.errors import CaptureError


def files_of(source: Path) -> list[Path]:
    """Capture files that a file, folder (of nodes too), pattern or `-` stands for. Raises CaptureError if there is none."""
    nodes = node_folders(source)
    return [path for folder in nodes.values() for path in expand(folder)] if nodes else expand(source)


def check_places(sources: Sequence[Path], out: Path | None = None, others: Sequence[Path | None] = ()) -> None:
    """Raises CaptureError when a capture is named twice, or when writing `out` would lose or join one of the inputs.

    `others` are further files that are read. The same file is recognised through links and other spellings.
    """
    found = [(source, path) for source in sources for path in files_of(source)]
    seen: dict[object, Path] = {}
    for _, path in found:
        first = seen.setdefault(_identity(path), path)
        if first is not path:
            also = "" if first == path else f" (also as {first})"
            raise CaptureError(path, f"is given twice{also}: its packets would count twice; name it once")
    if out is None:
        return
    if out.is_dir():
        raise CaptureError(out, "is a folder; give the name of the file to write")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise CaptureError(out, f"cannot be written: {above} is a file, not a folder")
    inputs = [path for _, path in found] + [path for path in others if path and path.exists()]
    if out.exists() and _identity(out) in map(_identity, inputs):
        raise CaptureError(out, "is one of the files that are read: it would be overwritten; write to another file")
    for source in sources:
        if _joins(source, out):
            raise CaptureError(out, f"would be read as a capture of {source} the next time; write to another file")


def _identity(path: Path) -> object:
    """Device and number of a file; what is named `-` is whatever standard input comes from."""
    try:
        state = os.fstat(0) if path == STANDARD_INPUT else path.stat()
    except OSError:
        return path
    return state.st_dev, state.st_ino


def _joins(source: Path, out: Path) -> bool:
    """Would `out` belong to a folder or pattern of captures?"""
    if source.is_dir():
        return bool(CAPTURE_NAME.search(out.name)) and source.resolve() in (
            out.resolve().parent,
            out.resolve().parent.parent,
        )
    return not source.exists() and fnmatch.fnmatch(os.path.abspath(out), os.path.abspath(source))
