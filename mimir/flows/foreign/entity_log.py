"""The research prototype's log of addresses: a pickle, read without executing anything in it.

Format: `{second: {name: (ip, '+' or '-', namespace, 'pod' or 'svc', labels, status)}}`, or tuples of the first four; seconds
count from the start of the log. A pickle is a program, so only those that build plain values are admitted: no name of a class
or function is ever looked up (pickle documentation, "Restricting Globals"). Python 2's pickles hold byte texts (`latin1`).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from mimir.errors import MimirError
from mimir.files import to_json
from mimir.flows.listings import POD_SUFFIX

KINDS = {"pod": "pod", "svc": "service"}
LARGEST_BYTES = 1 << 26
#: what keys, names and addresses may be: tuples within tuples take for ever to hash or to print
SCALARS = str | bytes | int | float | None


class _PlainUnpickler(pickle._Unpickler):
    """Admits dict, list, tuple, str, bytes, int, float, bool, None, set: what needs no name.

    The unpickler in C allots as much memory as a memo number says. The one in Python keeps its memo in a dict, and reads no
    more than there is; what it would allot before reading is refused.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: lambda _: _refuse("it holds a bytearray"),
        pickle.FROZENSET[0]: lambda _: _refuse("it holds a frozenset"),
        pickle.SETITEM[0]: lambda self: self.checked(pickle.SETITEM, self.stack[-2:-1]),
        pickle.SETITEMS[0]: lambda self: self.checked(pickle.SETITEMS, self.stack[::2]),
        pickle.DICT[0]: lambda self: self.checked(pickle.DICT, self.stack[::2]),
        pickle.ADDITEMS[0]: lambda self: self.checked(pickle.ADDITEMS, self.stack),
        pickle.REDUCE[0]: lambda self: self.checked(pickle.REDUCE, [v for arg in self.stack[-1] for v in arg]),
    }

    def checked(self, code: bytes, keys: Iterable[Any]) -> None:
        """Carry out what hashes keys, if they are plain."""
        if not all(isinstance(key, SCALARS) for key in keys):
            _refuse("a key in it is no text or number")
        step: Callable[[Any], None] = pickle._Unpickler.dispatch[code[0]]
        step(self)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("builtins", "set"), ("__builtin__", "set")):  # protocol 2 has no code for sets
            return set
        _refuse(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        _refuse("it refers to an object outside")


def _refuse(why: str) -> NoReturn:
    raise MimirError(f"the pickle is not admitted: {why}, and only plain values are allowed; nothing was executed")


def looks_pickled(path: Path) -> bool:
    """Does a file begin like a pickle of a dict (protocols 0 to 5)? Raises OSError."""
    with path.open("rb") as data:
        start = data.read(2)
    return start[:1] == b"\x80" or start in (b"(d", b"}q", b"}.")


def read_entity_log(path: Path, start_s: float = 0.0) -> list[dict[str, Any]]:
    """Entity events (as in entities.jsonl) of a prototype's log, its seconds added to `start_s`.

    The first second of the log gets no time: those entities were there before. Raises MimirError for what is no such log or
    for a pickle that needs more than plain values.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise MimirError(f"{path}: larger than 64 MiB, which no log of addresses is")
        log = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except MimirError as error:
        raise MimirError(f"{path}: {error}") from None
    except Exception as error:
        raise MimirError(f"{path}: is no readable pickle ({type(error).__name__}: {error})"[:400]) from error
    if not isinstance(log, dict) or not log:
        raise MimirError(
            f"{path}: the log must be a dict by second (it is {type(log).__name__}, {len_of(log)} entries)"
        )
    return _events(path, log, start_s)


def len_of(value: Any) -> int:
    """Entries of a container, 0 for anything else."""
    return len(value) if isinstance(value, dict | list | tuple | set) else 0


def _events(path: Path, log: Mapping[Any, Any], start_s: float) -> list[dict[str, Any]]:
    events, where = [], ""
    try:
        seconds = sorted(log, key=float)
        for second in seconds:
            for name, entry in log[second].items():
                where = f"second {second}, entry {str(name)[:60]!r}"
                ts = None if second == seconds[0] else start_s + float(second)
                events.append(_event(str(name), entry, ts))
                to_json(events[-1]).encode()  # what cannot be written down is no entity
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise MimirError(f"{path}: {where or 'the log'} is not of the known form: {error}"[:400]) from error
    return events


def _event(name: str, entry: Any, ts: float | None) -> dict[str, Any]:
    if not isinstance(entry, tuple | list) or len(entry) not in (4, 6):
        raise ValueError("needs (ip, sign, namespace, kind) with or without (labels, status)")
    labels = entry[4] if len(entry) == 6 and isinstance(entry[4], dict) else {}
    if not all(isinstance(value, SCALARS | set) for value in (*entry[:4], *labels.values())):
        raise ValueError("the address, sign, namespace, kind and labels must be texts")
    ip, sign, namespace, kind = entry[:4]
    if sign not in ("+", "-") or kind not in KINDS:
        raise ValueError(f"sign {sign!r} must be + or -, kind {kind!r} pod or svc")
    event: dict[str, Any] = {
        "event": "added" if sign == "+" else "deleted", "kind": KINDS[kind], "name": name,
        "ip": "" if ip in (None, "None", "<none>", "") else str(ip), "namespace": str(namespace),
    }  # fmt: skip
    if ts is not None:
        event["ts"] = ts
    if kind == "pod":
        event["workload"] = POD_SUFFIX.sub("", name)
    if len(entry) == 6 and isinstance(entry[4], dict):
        event["labels"] = {str(key): str(value) for key, value in labels.items()}
    return event
