"""A pod's processes: a launcher in the pod's network namespace, and below it an init in new mount and process namespaces.

Run as `python -m mimir.cluster.netns.real.pod PARENT` with a job (`mimir.cluster.netns.real.processes.Job`) as JSON on standard input.
When the testbed ends, even by SIGKILL, the kernel ends the launcher, with it init, and with init everything in its process
namespace: daemons, their workers, scripts that left their parents. Files lie in memory (tmpfs) and go with the mount namespace.

Programs run as one ordinary user: a user namespace below the testbed's maps the testbed's only user to the one the job names.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from mimir.cluster.netns.init import ENVIRONMENT, exit_code, resolve_by
from mimir.cluster.netns.kernel import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    die_with_parent,
    mount,
    unshare,
)

_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def main(arguments: list[str]) -> int:
    """Start init and wait for it; its exit code."""
    die_with_parent(int(arguments[0]))
    job = json.loads(sys.stdin.read())
    _PORTS.write_text("0", encoding="ascii")  # of this network namespace: the programs are no root
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    watched, kept = os.pipe()  # closed at the other end when the launcher is gone
    child = os.fork()
    if child == 0:
        os.close(kept)
        code = 1
        try:
            code = _init(job, watched)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    return exit_code(os.waitpid(child, 0)[1])


def _init(job: dict[str, Any], watched: int) -> int:
    """Process 1 of the pod."""
    _private_files(job)
    _become(job["uid"], job["gid"])
    die_with_parent(0)  # the parent is in another process namespace, where it has no number
    if select.select([watched], [], [], 0)[0]:
        return 1  # it went before the call
    how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": ENVIRONMENT | job["env"], "cwd": "/tmp"}  # noqa: S108
    for command in job["before"]:
        subprocess.run(command, check=True, **how)  # noqa: S603
    commands = {subprocess.Popen(command, **how).pid: name for name, command in job["commands"].items()}  # noqa: S603
    while True:
        pid, status = os.wait()
        if pid in commands:
            code = exit_code(status)
            if job["ends"]:
                return code
            print(f"{commands[pid]} ended with exit code {code}", file=sys.stderr, flush=True)
            return 1


def _private_files(job: dict[str, Any]) -> None:
    """This pod's own view of the file system: folders of its own in memory, resolver, processes."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    for folder in job["hide"]:
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,size={job['tmpfs_mb']}m")
    os.chmod("/tmp", 0o1777)  # noqa: S103, S108
    for folder in job["folders"]:
        Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in job["files"].items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    for name, target in job["links"].items():
        Path(name).symlink_to(target)
    resolve_by(job["resolv"], job["hide"])
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _become(uid: int, gid: int) -> None:
    """Be an ordinary user in a user namespace of its own; the capabilities go with the next execve."""
    before_uid, before_gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/uid_map").write_text(f"{uid} {before_uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {before_gid} 1", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
