"""The folder a run leaves behind (docs/concepts/run-directory.md): status, environment, manifest, and its own stages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mimir import __version__
from mimir.files import read_json, sha256, write_json
from mimir.pipeline.cache import PACKAGE, code_version, stage_key

REPORTED_PACKAGES = ("hydra-core", "mlflow", "numba", "numpy", "pandas", "pyarrow", "scipy", "networkx", "pydantic")
NOT_IN_MANIFEST = ("manifest.json", "status.json", "run.log")


class RunDirectory:
    """One run's folder. All writes are atomic; `status.json` always tells the truth about the last thing tried."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.seconds: dict[str, float] = {}  # of files made in this attempt
        self.status: dict[str, Any] = {"state": "new", "stage": None, "stages": {}, "error": None, "exit_code": None}
        with suppress(FileNotFoundError, ValueError):
            self.status = read_json(path / "status.json")

    def update(self, **changes: Any) -> None:
        """Change fields of status.json."""
        self.status.update(changes)
        write_json(self.path / "status.json", self.status)

    def finished(self, code: str) -> bool:
        """True when the last attempt succeeded with this version of the code and every file is still there."""
        if self.status["state"] != "done" or self.status.get("code") != code:
            return False
        with suppress(FileNotFoundError, ValueError):
            manifest = read_json(self.path / "manifest.json")["files"]
            return all((self.path / name).exists() for name in manifest)
        return False

    def note(self, stage: str, seconds: float, reused: bool) -> None:
        """Record how long a stage took and whether its result was reused."""
        self.status["stages"][stage] = {"seconds": round(seconds, 3), "reused": reused}
        self.update(stage=stage)

    def stage(
        self,
        name: str,
        rooms: Sequence[str],
        part: Any,
        inputs: Sequence[str],
        make: Callable[[], Sequence[str]],
    ) -> None:
        """Run a stage whose files live in this folder, or skip it when key and outputs are unchanged.

        `inputs` are file names in this folder; `make()` returns the names it wrote.
        """
        began = time.perf_counter()
        self.update(stage=name)
        key = stage_key(name, rooms, part, {i: self.digest_of(i) for i in inputs})
        record = self.path / ".stages" / f"{name}.json"
        with suppress(FileNotFoundError, ValueError):
            found = read_json(record)
            if found["key"] == key and all(self._same(f, d) for f, d in found["files"].items()):
                self.note(name, time.perf_counter() - began, True)
                return
        record.unlink(missing_ok=True)
        files = {f: sha256(self.path / f) for f in make()}
        self.seconds.update(dict.fromkeys(files, round(time.perf_counter() - began, 3)))
        write_json(record, {"key": key, "files": files})
        self.note(name, time.perf_counter() - began, False)

    def forget_stages(self) -> None:
        """Make every stage run again."""
        for record in (self.path / ".stages").glob("*.json"):
            record.unlink()

    def digest_of(self, name: str) -> str:
        """SHA-256 of a file here; the stage that made it has recorded it already, so large files are not read again."""
        for record in sorted((self.path / ".stages").glob("*.json")):
            files = read_json(record)["files"]
            if name in files:
                return str(files[name])
        return sha256(self.path / name)

    def _same(self, name: str, digest: str) -> bool:
        path = self.path / name
        return path.exists() and (path.suffix == ".pcap" or sha256(path) == digest)

    def write_manifest(self, known: Mapping[str, str]) -> None:
        """Digest, size and making time of every file; `known` digests (large captures) are not computed again."""
        names = sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*") if p.is_file())
        names = [n for n in names if n not in NOT_IN_MANIFEST and not n.startswith(".")]
        files = {
            n: {
                "sha256": known.get(n) or sha256(self.path / n),
                "bytes": (self.path / n).stat().st_size,
                "seconds": self.seconds.get(n),
            }
            for n in names
        }
        write_json(self.path / "manifest.json", {"files": files})


def environment() -> dict[str, Any]:
    """Versions, source revision and machine: what a reader needs to judge or repeat the run."""
    return {
        "mimir": __version__,
        "code": code_version(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in REPORTED_PACKAGES},
        "git": git_revision(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "executable": Path(sys.executable).name,
    }


def git_revision() -> dict[str, Any]:
    """Commit and whether tracked files differ from it; nulls outside a checkout."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit or None, "dirty": bool(changed) if commit else None}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, fixed arguments
            ["git", "-C", str(PACKAGE.parent), *arguments],  # noqa: S607
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
