"""What the first process of a pod's programs does, whoever they are: die with the testbed, resolve by its DNS, know only what they must."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from mimir.cluster.netns.kernel import MS_BIND, mount

#: environment of programs in pods: nothing of the user who started the run
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
_RESOLV, _SCRATCH = Path("/etc/resolv.conf"), "/tmp"  # noqa: S108 — a file system in memory lies over it for a moment
_MNT_DETACH = 2


def exit_code(status: int) -> int:
    """Exit code of a process that was waited for, as a shell says it: 128 and the number of the signal that ended it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def resolve_by(text: str, hidden: Sequence[str] = ()) -> None:
    """Put a file in memory over /etc/resolv.conf, for this mount namespace only; nothing is written to a disk.

    `hidden` are folders that lie in memory here: a link into one of them gets the file it points at. Where there is no file
    otherwise, none is made.
    """
    target = _RESOLV.resolve()
    if not target.exists():
        if not any(target.is_relative_to(folder) for folder in hidden):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("tmpfs", _SCRATCH, "tmpfs", 0)
    file = Path(_SCRATCH) / "resolv.conf"
    file.write_text(text, encoding="ascii")
    mount(str(file), str(target), "", MS_BIND)
    ctypes.CDLL(None).umount2(_SCRATCH.encode(), _MNT_DETACH)
