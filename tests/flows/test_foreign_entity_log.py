"""The research prototype's pickled log of addresses is read, and nothing in a pickle is ever executed."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.errors import MimirError
from mimir.flows.foreign import looks_pickled, read_entity_log
from mimir.flows.identity import from_events

LOG = {
    0: {
        "web-5d59d67564-xk2vp": ("10.1.0.1", "+", "shop", "pod", {"app": "web"}, "Running"),
        "db": ("10.96.0.1", "+", "shop", "svc", None, None),
        "headless": ("None", "+", "shop", "svc"),
    },
    120: {"web-5d59d67564-xk2vp": ("10.1.0.1", "-", "shop", "pod"), "api-0": ("10.1.0.1", "+", "shop", "pod")},
}


def write(path: Path, value: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_both_tuple_forms_become_entity_events(tmp_path: Path, protocol: int) -> None:
    path = write(tmp_path / "log", LOG, protocol)
    assert looks_pickled(path)
    events = read_entity_log(path, start_s=1000.0)
    assert events[0] == {
        "event": "added", "kind": "pod", "name": "web-5d59d67564-xk2vp", "ip": "10.1.0.1", "namespace": "shop",
        "workload": "web", "labels": {"app": "web"},
    }  # fmt: skip
    identity = from_events(events)
    assert identity.name("10.1.0.1", 1010).service == "web"
    assert identity.name("10.1.0.1", 1130).service == "api"
    assert identity.name("10.96.0.1", 1010).pod == "service:db"


def test_python_2_pickles_are_read(tmp_path: Path) -> None:
    """What `pickle.dumps({0: {'db-0': ('10.1.0.2', '+', 'shop', 'pod')}})` gave in Python 2.7."""
    old = b"(dp0\nI0\n(dp1\nS'db-0'\np2\n(S'10.1.0.2'\np3\nS'+'\np4\nS'shop'\np5\nS'pod'\np6\ntp7\nss."
    path = tmp_path / "log"
    path.write_bytes(old)
    assert looks_pickled(path)
    assert [(e["name"], e["ip"], e["workload"]) for e in read_entity_log(path)] == [("db-0", "10.1.0.2", "db")]


class Payload:
    """Would write a file when loaded."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "executed"
    path = write(tmp_path / "log", {0: {"a": Payload(mark)}}, protocol)
    with pytest.raises(MimirError, match=r"not admitted: it asks for (posix|nt)\.mkdir.*nothing was executed"):
        read_entity_log(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["eval", "exec", "getattr", "__import__", "open", "object", "frozenset"])
def test_builtins_beyond_plain_values_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(f"cbuiltins\n{name}\n.".encode())
    with pytest.raises(MimirError, match=f"builtins.{name}"):
        read_entity_log(path)


def test_sets_are_plain_and_references_outside_are_not(tmp_path: Path) -> None:
    path = write(tmp_path / "log", {0: {"a": ("10.0.0.1", "+", "n", "pod", {"x": {1}}, {2})}})
    assert len(read_entity_log(path)) == 1
    path.write_bytes(b"Psomething\n.")
    with pytest.raises(MimirError, match="an object outside"):
        read_entity_log(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "must be a dict by second"),
        ({}, "0 entries"),
        ({0: {"a": ("10.0.0.1", "+")}}, "entry 'a'.*needs"),
        ({0: {"a": ("10.0.0.1", "*", "n", "pod")}}, r"sign '\*'"),
        ({0: {"a": ("10.0.0.1", "+", "n", "job")}}, "kind 'job'"),
        ({"noon": {}}, "the known form"),
        ({0: 3}, "the known form"),
    ],
)
def test_another_shape_is_named(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(MimirError, match=message):
        read_entity_log(write(tmp_path / "log", value))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.binary(max_size=60), cut=st.integers(0, 200), at=st.integers(0, 200))
def test_damaged_pickles_raise_nothing_else(tmp_path: Path, data: bytes, cut: int, at: int) -> None:
    whole = pickle.dumps(LOG, 2)
    path = tmp_path / "log"
    for content in (data, whole[:cut], whole[:at] + data + whole[at:]):
        path.write_bytes(content)
        try:
            read_entity_log(path)
        except MimirError:
            continue


LONG = (2**28 - 1).to_bytes(4, "little")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04}Nr" + LONG + b"0.",  # a memo number
        b"\x80\x05}\x96" + LONG + b"\0\0\0\0.",  # a bytearray
        b"\x80\x04}\x8e" + LONG + b"\0\0\0\0.",  # bytes
        b"\x80\x04\x95" + LONG + b"\0\0\0\0}.",  # a frame
    ],
)
def test_no_number_in_a_pickle_decides_how_much_memory_is_taken(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "log").write_bytes(data)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20), limit[1]))
    try:
        with pytest.raises(MimirError) as refusal:
            read_entity_log(tmp_path / "log")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    assert "MemoryError" not in str(refusal.value)


@pytest.mark.parametrize("where", ["key", "set", "argument", "name"])
def test_tuples_within_tuples_are_neither_hashed_nor_printed(tmp_path: Path, where: str) -> None:
    """Twice the one before, a hundred times: 2 ** 100 steps."""
    nested: Any = ()
    code = b")" + b"2\x86" * 100  # DUP, TUPLE2
    ends = {
        "key": b"}" + code + b"Ns.",
        "set": b"\x80\x04\x8f(" + code + b"\x90.",
        "argument": b"c__builtin__\nset\n(]" + code + b"atR.",
    }
    path = tmp_path / "log"
    if where == "name":
        for _ in range(100):
            nested = (nested, nested)
        path.write_bytes(pickle.dumps({0: {"web": (nested, "+", "shop", "pod")}}))
    else:
        path.write_bytes(ends[where])
    with pytest.raises(MimirError, match=r"is no text or number|must be texts"):
        read_entity_log(path)
