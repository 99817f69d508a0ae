"""Starts a third-party program inside a namespace of the testbed, with the testbed's DNS in /etc/resolv.conf.

The program gets the network namespace asked for, a mount namespace and a process namespace of its own. A small init holds the latter:
when the testbed ends, however it does, the kernel ends everything the program started. Run as
`python -m mimir.cluster.netns.launch PARENT NAMESPACE_FD RESOLV_CONF -- PROGRAM ARGUMENT …`, where RESOLV_CONF is the contents of that
file; exits as the program does.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from collections.abc import Sequence

from mimir.cluster.netns.init import ENVIRONMENT, exit_code, resolve_by
from mimir.cluster.netns.kernel import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    MS_PRIVATE,
    MS_REC,
    Namespace,
    die_with_parent,
    enter,
    mount,
    unshare,
)
from mimir.cluster.netns.requirements import package_environment

_NOT_STARTED = 127


async def start(
    namespace: Namespace, resolv: str, command: Sequence[str], *, stdin: int | None = asyncio.subprocess.DEVNULL,
    stdout: int | None = asyncio.subprocess.PIPE, stderr: int | None = asyncio.subprocess.STDOUT,
) -> asyncio.subprocess.Process:  # fmt: skip
    """A program inside a namespace; ending the process returned (`kill`) ends whatever it started.

    OSError when the launcher cannot be started; a program that is not there ends with code 127.
    """
    launcher = [sys.executable, "-m", __name__, str(os.getpid()), str(namespace.fd), resolv, "--", *command]
    return await asyncio.create_subprocess_exec(
        *launcher, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(namespace.fd,), start_new_session=True,
        env=ENVIRONMENT | package_environment(),
    )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Enter, become init of a process namespace, start the program, wait."""
    parent, fd, resolv, _, *command = arguments
    die_with_parent(int(parent))
    enter(int(fd), CLONE_NEWNET)
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    resolve_by(resolv)
    watched, kept = os.pipe()  # closed at the other end when the launcher is gone
    init = os.fork()
    if init:
        return exit_code(os.waitpid(init, 0)[1])
    os.close(kept)
    die_with_parent(0)  # the parent is in another process namespace, where it has no number
    if select.select([watched], [], [], 0)[0]:
        os._exit(1)  # it went before the call
    program = os.fork()
    if program == 0:
        _become(command)
    while True:  # an init reaps whatever is left to it
        pid, status = os.wait()
        if pid == program:
            os._exit(exit_code(status))


def _become(command: list[str]) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, ENVIRONMENT)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(_NOT_STARTED)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a program and whatever it started, and wait until it is gone."""
    if process.returncode is None:
        process.kill()
    await process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
