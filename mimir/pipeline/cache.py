"""Stages that are skipped when nothing they depend on has changed, and the folder where runs share their results."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from mimir.files import read_json, sha256, write_json
from mimir.spec.signature import digest

PACKAGE = Path(__file__).resolve().parent.parent


@cache
def code_version(rooms: tuple[str, ...] = ("",)) -> str:
    """Digest of the sources of some rooms (default: all of mimir). A changed line of code makes results stale."""
    state = hashlib.sha256()
    for room in rooms:
        base = PACKAGE / room
        for source in sorted([base] if base.is_file() else base.rglob("*.py")):
            state.update(str(source.relative_to(PACKAGE)).encode())
            state.update(source.read_bytes())
    return state.hexdigest()[:16]


def stage_key(name: str, rooms: Sequence[str], part: Any, inputs: Mapping[str, str]) -> str:
    """Key of a stage: its code, its part of the spec, and the digests of its input files."""
    return digest({"stage": name, "code": code_version(tuple(rooms)), "spec": part, "inputs": dict(inputs)})[:20]


@dataclass(frozen=True)
class Result:
    """Files a stage made: name relative to `folder` → SHA-256, plus JSON facts it wants to hand on."""

    folder: Path
    files: dict[str, str]
    facts: dict[str, Any]
    seconds: float
    reused: bool


def cached(
    root: Path, name: str, key: str, make: Callable[[Path], dict[str, Any]], keep: bool = True, fresh: bool = False
) -> Result:
    """Result of a stage in the shared folder `root`, made by `make(folder)` if it is not there.

    Safe for many processes: the first one makes it under a lock, the others wait. A killed process leaves only a
    temporary folder that the next one removes. With `keep` false the files may be gone while their record stays; with
    `fresh` true it is made again in any case.
    """
    folder = root / f"{name}-{key}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{folder.name}.lock"):
        record = folder / "stage.json"
        if record.exists() and not fresh:
            found = read_json(record)
            if not keep or all((folder / f).exists() for f in found["files"]):
                return Result(folder, found["files"], found["facts"], found["seconds"], True)
        for stale in root.glob(f".{folder.name}.tmp-*"):
            shutil.rmtree(stale)
        return _make(root, folder, make)


def _make(root: Path, folder: Path, make: Callable[[Path], dict[str, Any]]) -> Result:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=root))
    try:
        began = time.perf_counter()
        facts = make(temporary)
        known = facts.pop("sha256", {})
        names = sorted(str(p.relative_to(temporary)) for p in temporary.rglob("*") if p.is_file())
        files = {n: known.get(n) or sha256(temporary / n) for n in names}
        seconds = time.perf_counter() - began
        write_json(temporary / "stage.json", {"files": files, "facts": facts, "seconds": round(seconds, 3)})
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Result(folder, files, facts, seconds, False)


def link(source: Path, target: Path) -> None:
    """Give a shared file a second name in a run directory: a hard link, or a copy where links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.link")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), temporary)
    except OSError:
        shutil.copy2(source, temporary)
    temporary.replace(target)
