"""Walks every import of the package and fails on an arrow that the architecture does not allow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mimir"
EVERYONE = {"spec", "engine", "errors", "units", "files", "jit", "__init__"}
ALLOWED = {
    "pipeline": {"cluster", "capture", "flows", "graphs", "detectors", "evaluation", "report", "tracking"},
    "cluster": {"apps", "load", "exfiltration", "capture"},
    "flows": {"capture"},
    "graphs": {"flows"},
    "detectors": {"graphs", "flows"},
    "evaluation": {"detectors", "exfiltration"},
    "report": set(),
    "tracking": {"detectors", "flows"},  # only the model file, which is the fitted detector itself (ADR 0004)
    "apps": set(),
    "load": {"apps"},
    "exfiltration": set(),
    "capture": set(),
    "spec": set(),
    "files": set(),
    "engine": set(),
    "errors": set(),
    "units": set(),
    "jit": set(),
}
ONLY_IN = {
    "hydra": ("spec/", "pipeline/callbacks.py"),
    "omegaconf": ("spec/", "pipeline/callbacks.py"),
    "mlflow": ("tracking/",),
    "kubernetes": ("cluster/kubernetes/",),
    "pyshark": ("capture/",),
    "matplotlib": ("report/",),
}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path: Path) -> None:
    here = path.relative_to(PACKAGE)
    room = here.parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "mimir" and len(parts) > 1:
            target = parts[1]
            assert target == room or target in EVERYONE | ALLOWED[room] or target == "__version__", (
                f"{here} imports mimir.{target}"
            )
        allowed = ONLY_IN.get(parts[0])
        assert allowed is None or any(str(here).startswith(a) for a in allowed), f"{here} imports {parts[0]}"


def test_every_room_is_listed() -> None:
    rooms = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.name != "__pycache__"} - {"__init__"}
    assert rooms == set(ALLOWED)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_run_script_is_short() -> None:
    assert len((ROOT / "run.py").read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, runpy; sys.argv = ['run.py', *%r]\n"
        "try:\n    runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit as leaving:\n    assert not leaving.code, leaving.code\n"
        "heavy = {'mlflow', 'sklearn', 'numba', 'kubernetes', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code % arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
