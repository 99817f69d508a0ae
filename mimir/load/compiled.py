"""The `kernel` decorator: compiled loops, cached on disk, recompiled when any module they are built from changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


@cache
def _digest(folder: Path) -> str:
    """Digest of the Python files in `folder` and beside this one: loops inline functions of both."""
    total = hashlib.sha256()
    for file in sorted({*Path(__file__).parent.glob("*.py"), *folder.glob("*.py")}):
        total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def kernel(function: F) -> F:
    """Compile on the first call, release the interpreter lock, keep the machine code on disk.

    numba looks at the function's own file only to decide whether cached code is current; here its stamp is widened to
    all files the function may inline. Where no cache folder can be written, the function is compiled in every process.
    """
    try:
        compiled: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba: "no locator available"
        return cast(F, njit(nogil=True, error_model="numpy")(function))
    file: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = (file._source_stamp, _digest(Path(function.__code__.co_filename).parent))
    return cast(F, compiled)
