"""Namespaces of the Linux kernel: making them, entering them, and dying with the parent (namespaces(7), prctl(2))."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID = 0x10000000, 0x40000000, 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 1 << 18
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones. OSError when the kernel refuses."""
    _check(_libc.unshare(flags), "unshare")


def enter(fd: int, kind: int) -> None:
    """Enter the namespace that a file descriptor holds. OSError when the kernel refuses."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2), of a file system of `kind` or, where that is empty, of what is there. OSError when the kernel refuses."""
    what = f"mount {kind or source} on {target}"
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()), what)


def die_with_parent(parent: int) -> None:
    """End this process when `parent` ends, even by SIGKILL. To be called after any change of user namespace."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:  # it went before the call
        os._exit(1)


def become_root_of_own_world() -> None:
    """New user and network namespace, in which this user is root; works for an ordinary user and for root alike.

    Must run before any thread exists.
    """
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


class Namespace:
    """A network namespace held by a file descriptor. `with namespace:` is inside it; sockets made there stay there."""

    def __init__(self, name: str, fd: int):
        self.name, self.fd = name, fd
        self._before: list[int] = []

    @classmethod
    def current(cls, name: str) -> Self:
        """The namespace this thread is in."""
        return cls(name, os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def new(cls, name: str) -> Self:
        """A new, empty namespace; the thread stays where it was."""
        home = cls.current("home")
        try:
            unshare(CLONE_NEWNET)
            made = cls.current(name)
            home._set()
        finally:
            os.close(home.fd)
        return made

    @property
    def path(self) -> str:
        """A path other programs of this user namespace can open."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def close(self) -> None:
        """Let go of it. Entering it from now on is an OSError, whoever gets the descriptor's number next."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def _set(self) -> None:
        _check(_libc.setns(self.fd, CLONE_NEWNET), f"setns {self.name}")

    def __enter__(self) -> Self:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._set()
        except OSError:
            os.close(before)
            raise
        self._before.append(before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        before = self._before.pop()
        try:
            _check(_libc.setns(before, CLONE_NEWNET), "setns back")
        finally:
            os.close(before)
