"""The kernel decorator: machine code is kept, noticed when stale, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from mimir.jit import inlined, kernel

ROOT = Path(__file__).resolve().parents[1]
HELPER = "from mimir.jit import inlined\n\n@inlined\ndef step(x):\n    return x + {}\n"
ENTRY = "from helper import step\nfrom mimir.jit import kernel\n\n@kernel\ndef entry(x):\n    return step(x)\n"
RUN = (
    "import sys; from entry import entry; value = entry(1); "
    "print(value, sum(entry.stats.cache_hits.values()), int('numba.np.arraymath' in sys.modules))"
)


def run(folder: Path) -> list[int]:
    """What the entry kernel gives in a fresh process, whether its code came from the cache, whether the compiler was loaded."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
        "NUMBA_CACHE_DIR": str(folder / "cache"),
    }
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.slow
def test_an_edited_helper_makes_the_code_stale(tmp_path: Path) -> None:
    (tmp_path / "entry.py").write_text(ENTRY, encoding="utf-8")
    (tmp_path / "helper.py").write_text(HELPER.format(10), encoding="utf-8")
    assert run(tmp_path) == [11, 0, 1]
    assert run(tmp_path) == [11, 1, 0]
    (tmp_path / "helper.py").write_text(HELPER.format(20), encoding="utf-8")
    assert run(tmp_path) == [21, 0, 1]


def test_without_a_cache_folder_kernels_are_compiled_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def no_locator(*functions: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*functions, **options)

    monkeypatch.setattr(numba, "njit", no_locator)

    @kernel
    def double(x: int) -> int:
        return 2 * x

    assert double(21) == 42


def test_inlined_parts_work_in_kernels() -> None:
    @inlined
    def triple(x: int) -> int:
        return 3 * x

    @kernel
    def more(x: int) -> int:
        return triple(x) + 1

    assert more(5) == 16


def test_kernels_stay_python_where_compiling_is_off() -> None:
    code = "from mimir.flows.settle import settle_rows; print(type(settle_rows).__name__)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "function"
