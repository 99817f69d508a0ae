"""Starts a third-party program inside a namespace of the testbed, with the testbed's DNS in /etc/resolv.conf.

The program gets the network namespace asked for, a mount namespace and a process namespace of its own. A small init holds the latter:
when the testbed ends, however it does, the kernel ends everything the program started. Run as
`python -m mimir.cluster.netns.launch PARENT NAMESPACE_FD RESOLV_CONF -- PROGRAM ARGUMENT …`, where RESOLV_CONF is the contents of that
file; exits as the program does.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mimir.cluster.netns.kernel import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    MS_BIND,
    MS_PRIVATE,
    MS_REC,
    Namespace,
    die_with_parent,
    enter,
    mount,
    unshare,
)

_MNT_DETACH = 2
_RESOLV, _SCRATCH = "/etc/resolv.conf", "/tmp"  # noqa: S108 — a file system in memory lies over it for a moment
_NOT_STARTED = 127


def resolv_conf(server: str, search: Sequence[str], ndots: int) -> str:
    """Contents of /etc/resolv.conf as the kubelet writes it into pods (resolv.conf(5))."""
    lines = [f"nameserver {server}", *([f"search {' '.join(search)}"] if search else []), f"options ndots:{ndots}"]
    return "\n".join(lines) + "\n"


async def start(
    namespace: Namespace, resolv: str, command: Sequence[str], *, stdin: int | None = asyncio.subprocess.DEVNULL,
    stdout: int | None = asyncio.subprocess.PIPE, stderr: int | None = asyncio.subprocess.STDOUT,
) -> asyncio.subprocess.Process:  # fmt: skip
    """A program inside a namespace; ending the process returned (`kill`) ends whatever it started.

    OSError when the launcher cannot be started; a program that is not there ends with code 127.
    """
    launcher = [sys.executable, "-m", __name__, str(os.getpid()), str(namespace.fd), resolv, "--", *command]
    return await asyncio.create_subprocess_exec(
        *launcher, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(namespace.fd,), start_new_session=True
    )


def main(arguments: Sequence[str]) -> int:
    """Enter, become init of a process namespace, start the program, wait."""
    parent, fd, resolv, _, *command = arguments
    die_with_parent(int(parent))
    enter(int(fd), CLONE_NEWNET)
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    _resolve_by(resolv)
    outer = os.getpid()
    init = os.fork()
    if init:
        return _code(os.waitpid(init, 0)[1])
    _die_with(outer)
    program = os.fork()
    if program == 0:
        _become(command)
    while True:  # an init reaps whatever is left to it
        pid, status = os.wait()
        if pid == program:
            os._exit(_code(status))


def _die_with(outer: int) -> None:
    """As `die_with_parent`, for the first process of a process namespace, to which its parent has no number."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() not in (0, outer):
        os._exit(1)


def _become(command: list[str]) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(_NOT_STARTED)


def _resolve_by(resolv: str) -> None:
    """Put a file in memory over /etc/resolv.conf, for this mount namespace only; nothing is left on a disk."""
    if not Path(_RESOLV).exists():
        return
    mount("tmpfs", _SCRATCH, "tmpfs", 0)
    file = Path(_SCRATCH) / "resolv.conf"
    file.write_text(resolv, encoding="ascii")
    mount(str(file), _RESOLV, "", MS_BIND)
    ctypes.CDLL(None).umount2(_SCRATCH.encode(), _MNT_DETACH)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


async def end(process: asyncio.subprocess.Process) -> None:
    """End a program and whatever it started, and wait until it is gone."""
    if process.returncode is None:
        process.kill()
    await process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
