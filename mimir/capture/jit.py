"""Decorators for kernels: numba with a cache that notices edits in any kernel module and never gets in the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numba

#: no reference counts (`_nrt`): see numba, "extending", register_jitable
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
F = TypeVar("F", bound=Callable[..., object])
#: what kernels compute with; numba infers the machine types, Python's own cannot tell them apart
Int: TypeAlias = Any  #: int64
U64: TypeAlias = Any  #: uint64
Flag: TypeAlias = Any  #: bool
Record: TypeAlias = Any  #: one element of a structured array, by reference
Records: TypeAlias = Any  #: a structured array


@cache
def _sources_digest(folder: Path) -> str:
    """Digest of the Python files in `folder` and in this one: kernels inline each other across modules."""
    digest = hashlib.sha256()
    for file in sorted({*Path(__file__).parent.glob("*.py"), *folder.glob("*.py")}):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def kernel(function: F) -> F:
    """Compile on first call, release the interpreter lock, keep the machine code on disk.

    Kernels do not allocate: without numba's reference counts, passing arrays around is free (and ten times faster).
    numba's cache looks at the file of the function only, so an edit in a helper of another module would leave stale
    machine code behind: the stamp of the cache file is widened to all sources of the package. Where no cache folder
    can be written, the function is compiled in every process.
    """
    try:
        compiled: Any = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # numba: "no locator available"
        return cast(F, numba.njit(**OPTIONS)(function))
    file: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = (file._source_stamp, _sources_digest(Path(function.__code__.co_filename).parent))
    return cast(F, compiled)


def inlined(function: F) -> F:
    """A part of kernels that is compiled into each place where it is called; Python itself cannot call it."""
    options = OPTIONS | {"forceinline": True, "no_cpython_wrapper": True}
    return cast(F, numba.njit(**options)(function))
