"""Decorators for kernels: numba with a cache that notices edits in any kernel module and never gets in the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import numba
from llvmlite import ir
from llvmlite.binding import add_symbol
from numba.core import cgutils, types
from numba.extending import intrinsic

try:  # not part of numba's interface: without it, kernels start as numba starts them
    from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]

    HELPERS: dict[str, int] | None = _nrt_python.c_helpers
except (ImportError, AttributeError):
    HELPERS = None

#: no reference counts (`_nrt`): see numba, "extending", register_jitable
ALLOCATING: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
OPTIONS = ALLOCATING | {"_nrt": False, "no_cfunc_wrapper": True}
F = TypeVar("F", bound=Callable[..., object])
#: what kernels compute with; numba infers the machine types, Python's own cannot tell them apart
Int: TypeAlias = Any  #: int64
U64: TypeAlias = Any  #: uint64
Flag: TypeAlias = Any  #: bool
Record: TypeAlias = Any  #: one element of a structured array, by reference
Records: TypeAlias = Any  #: a structured array


#: kernels of a folder inline those of another one
UPSTREAM = {"flows": "capture", "simulated": "load"}


@cache
def _sources_digest(folder: Path) -> str:
    """Digest of the Python files that kernels of `folder` may be built from, this one included."""
    digest, upstream = hashlib.sha256(), UPSTREAM.get(folder.name)
    further = (Path(__file__).parent / upstream).glob("*.py") if upstream else ()
    for file in sorted({Path(__file__), *folder.glob("*.py"), *further}):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@overload
def kernel(function: F) -> F: ...
@overload
def kernel(*, allocates: bool) -> Callable[[F], F]: ...
def kernel(function: Any = None, *, allocates: bool = False) -> Any:
    """Compile on first call, release the interpreter lock, keep the machine code on disk.

    Most kernels do not allocate: without numba's reference counts, passing arrays around is free (and ten times
    faster). Those that make arrays or lists say so: `@kernel(allocates=True)`.
    numba's cache looks at the file of the function only, so an edit in a helper of another module would leave stale
    machine code behind: the stamp of the cache file is widened to all sources that it may be built from. Where no
    cache folder can be written, the function is compiled in every process.
    """
    if function is None:
        return lambda given: _compiled(given, ALLOCATING if allocates else OPTIONS)
    return _compiled(function, OPTIONS)


def _compiled(function: F, options: dict[str, Any]) -> F:
    try:
        compiled: Any = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "no locator available"
        return cast(F, numba.njit(**options)(function))
    kept = getattr(compiled, "_cache", None)  # a plain function where compiling is switched off
    file: Any = getattr(kept, "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = (file._source_stamp, _sources_digest(Path(function.__code__.co_filename).parent))
    private = all(hasattr(kept, name) for name in ("_load_overload", "_guard_against_spurious_io_errors"))
    if not options.get("_nrt", True) and private and HELPERS is not None:
        compiled._cache.load_overload = partial(_load, kept, HELPERS)
    return cast(F, compiled)


def _load(cache: Any, helpers: dict[str, int], signature: Any, context: Any) -> Any:
    """Machine code from the disk, or None, without what only compiling needs.

    numba first loads everything that it can compile, and with that SciPy's linear algebra: half a second of a fresh process.
    Code that is there needs the addresses of a few functions; what is not gets compiled, and the compiler loads its own.
    """
    for name, address in helpers.items():
        add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
    with cache._guard_against_spurious_io_errors():
        return cache._load_overload(signature, context)


def inlined(function: F) -> F:
    """A part of kernels that is compiled into each place where it is called; Python itself cannot call it."""
    options = OPTIONS | {"forceinline": True, "no_cpython_wrapper": True}
    return cast(F, numba.njit(**options)(function))


def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Typing and code of `prefetch`: https://llvm.org/docs/LangRef.html#llvm-prefetch-intrinsic."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        held = context.make_array(kind)(context, builder, arguments[0])
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        start = builder.bitcast(held.data, cgutils.voidptr_t)
        place = builder.gep(start, [builder.mul(arguments[1], size)])
        word = ir.IntType(32)
        call = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word])
        name = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], call)
        builder.call(name, [place, word(0), word(3), word(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


#: `prefetch(array, index)` in a kernel: ask for element `index` of a one-dimensional array and do not wait
prefetch: Any = (lambda array, index: None) if numba.config.DISABLE_JIT else intrinsic(_prefetch)  # type: ignore[attr-defined]
