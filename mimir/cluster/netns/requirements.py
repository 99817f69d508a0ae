"""What this machine must have for `cluster=netns`, found out without creating anything that stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from mimir.cluster.base import Requirement
from mimir.exfiltration.channels.tools import TOOLS

_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin"])
_TRY = """
from mimir.cluster.netns.kernel import Namespace, become_root_of_own_world
import socket
become_root_of_own_world()
Namespace.new("try")
socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
"""
IN_TLS = ("https", "cloud_storage")  #: channels whose certificate openssl makes
_OPENSSL, _TUN = "apt-get install openssl", "/dev/net/tun"
_TUN_HOW = f"load the module: modprobe tun; an ordinary user must be allowed to open {_TUN}"
_RULES = """table ip try {
 chain c { type nat hook prerouting priority dstnat;
  ip daddr 192.0.2.1 tcp dport 80 dnat to numgen random mod 2 map { 0 : 192.0.2.2, 1 : 192.0.2.3 }:80
 }
 chain p { type nat hook postrouting priority srcnat;
  oifname "up" snat to 192.0.2.4
 }
}
"""


def tool(name: str) -> str | None:
    """Path of a program, also where system programs live outside an ordinary user's PATH."""
    return shutil.which(name, path=_SEARCH)


def package(name: str, extra: str) -> Requirement:
    """A Python package of one of Mimir's extras; asked for without importing it."""
    return Requirement(f"the package {name}", find_spec(name) is not None, f"install it: pip install 'mimir[{extra}]'")


def requirements() -> list[Requirement]:
    """Linux, user namespaces, ip and nft; each met or with how to meet it."""
    if not sys.platform.startswith("linux"):
        how = f"this is {sys.platform}; run on Linux, for example in a virtual machine, or choose cluster=simulated"
        return [Requirement("Linux", False, how)]
    return [_namespaces(), _tool("ip", "iproute2"), _nft()]


def tool_requirements() -> list[Requirement]:
    """The third-party programs of the channels `tool_*`, and openssl for the certificates of those in TLS."""
    found = [
        Requirement(
            f"the program {program} (exfiltration={name})",
            tool(program) is not None,
            f"apt-get install {known.package}",
        )
        for name, known in TOOLS.items()
        for program in known.programs
    ]
    openssl = Requirement("the program openssl (exfiltration in TLS)", tool("openssl") is not None, _OPENSSL)
    return [
        *found,
        openssl,
        Requirement(f"{_TUN} (exfiltration=tool_iodine)", os.access(_TUN, os.R_OK | os.W_OK), _TUN_HOW),
    ]


def lacking(channel: str) -> list[Requirement]:
    """What a leak's channel needs on this machine and does not find."""
    found = []
    if channel in TOOLS:
        known = TOOLS[channel]
        found = [Requirement(f"the program {p}", tool(p) is not None, f"install it: apt-get install {known.package}") for p in known.programs]  # fmt: skip
    if channel in IN_TLS:
        found.append(Requirement("the program openssl", tool("openssl") is not None, f"install it: {_OPENSSL}"))
    if channel == "tool_iodine":
        found.append(Requirement(f"the device {_TUN}", os.access(_TUN, os.R_OK | os.W_OK), _TUN_HOW))
    return [need for need in found if not need.met]


def child_environment() -> dict[str, str]:
    """Environment of a child process that finds this very package, and starts no threads before it has namespaces."""
    return {**os.environ, **package_environment()}


def package_environment() -> dict[str, str]:
    """The part of it that is this package's own."""
    root = str(Path(__file__).resolve().parents[3])
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([root, known] if known else [root])
    return {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _tool(name: str, package: str) -> Requirement:
    return Requirement(f"the program {name}", tool(name) is not None, f"install it: apt-get install {package}")


def _namespaces() -> Requirement:
    """Tried in a child process: limits, sysctl switches, seccomp and AppArmor all show this way."""
    done = _run([sys.executable, "-c", _TRY])
    reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    return Requirement(
        "user and network namespaces",
        done.returncode == 0,
        f"the kernel refuses them here ({reason}); allow them: sysctl user.max_user_namespaces=10000, "
        "kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); "
        "a container needs a seccomp profile that allows unshare; else choose cluster=simulated",
    )


def _nft() -> Requirement:
    """The program, and a kernel that takes a rule of the kind service addresses need."""
    path = tool("nft")
    if path is None:
        return _tool("nft", "nftables")
    code = (
        "import subprocess, sys\nfrom mimir.cluster.netns.kernel import become_root_of_own_world\n"
        "become_root_of_own_world()\n"
        f"sys.exit(subprocess.run([{path!r}, '-f', '-'], input={_RULES!r}, text=True).returncode)"
    )
    done = _run([sys.executable, "-c", code])
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    how = f"nft cannot set address translation ({reason}); load the modules: modprobe nf_tables nft_chain_nat nft_masq"
    return Requirement("nftables with address translation", done.returncode == 0, how)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=60, check=False, env=child_environment()
    )
