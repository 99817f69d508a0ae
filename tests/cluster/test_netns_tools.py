"""Third-party tools as channels: what is asked of them, and that what they carry arrives and nothing of them stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mimir.cluster.check import workload_problems
from mimir.cluster.netns import requirements
from mimir.cluster.netns.check import check_netns
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.requirements import tool, tool_requirements
from mimir.cluster.netns.tools import ends_of
from mimir.exfiltration.channels.tools import TOOLS
from mimir.exfiltration.ledger import read_ledger
from mimir.spec import Spec
from mimir.spec.build import from_plain
from mimir.spec.cluster import NetnsSpec
from tests.support.netns import SHORT, inside, lines, need_namespaces, record
from tests.support.specs import plain


def spec_of(option: str, cluster: str = "netns") -> Spec:
    return from_plain(plain([*(SHORT if cluster == "netns" else []), f"exfiltration={option}"]), check=False)


def test_tools_are_told_the_addresses_of_the_testbed() -> None:
    spec = spec_of("tool_iodine")
    assert isinstance(spec.cluster, NetnsSpec)
    layout = Layout(spec.app, spec.cluster)
    ends = ends_of(spec.exfiltration, layout)
    assert ends.client[-2:] == ["10.96.0.10", "cdn-telemetry.example"]
    assert ends.server[-1] == "cdn-telemetry.example"
    assert layout.resolv_conf("sock-shop") == (
        "nameserver 10.96.0.10\nsearch sock-shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    )
    assert {name: ends_of(spec_of(name).exfiltration, layout).client[0] for name in TOOLS} == {
        name: known.programs[0] for name, known in TOOLS.items()
    }


def test_a_tool_that_is_not_there_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "tool", lambda name: None)
    spec = spec_of("tool_dns2tcp")
    assert isinstance(spec.cluster, NetnsSpec)
    found = [p for p in check_netns(spec.cluster, spec) if p.where == "exfiltration.channel"]
    assert [p.what.rsplit(" ", 1)[1] for p in found] == ["dns2tcpc", "dns2tcpd"]
    assert all("apt-get install dns2tcp" in p.next for p in found)


def test_dns2tcp_asks_for_text_alone() -> None:
    spec = from_plain(plain([*SHORT, "exfiltration=tool_dns2tcp", "exfiltration.dns.record_type=A"]), check=False)
    assert isinstance(spec.cluster, NetnsSpec)
    assert "exfiltration.dns.record_type" in {problem.where for problem in check_netns(spec.cluster, spec)}


def test_programs_are_refused_where_nothing_runs_and_listed_by_the_doctor() -> None:
    spec = spec_of("tool_curl", "simulated")
    assert spec.cluster.name == "simulated"
    assert "exfiltration.channel" in {problem.where for problem in workload_problems(spec)}
    assert len(tool_requirements()) == 2 + sum(len(known.programs) for known in TOOLS.values())


def test_where_there_is_no_resolv_conf_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mimir.cluster.netns import init

    link = tmp_path / "resolv.conf"
    link.symlink_to(tmp_path / "elsewhere" / "resolv.conf")
    monkeypatch.setattr(init, "_RESOLV", link)
    monkeypatch.setattr(init, "mount", lambda *arguments: pytest.fail("something was mounted"))
    init.resolve_by("nameserver 192.0.2.1\n", ["/run"])
    assert list(tmp_path.iterdir()) == [link]


_LAUNCH = """
import asyncio
from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.launch import end, start

async def main():
    there = Namespace.new("there")
    code = "import os, socket, sys; print(open('/etc/resolv.conf').read(), [n for _, n in socket.if_nameindex()], sorted(os.environ)); sys.exit(3)"
    first = await start(there, "nameserver 192.0.2.1\\n", [sys.executable, "-c", code])
    said, _ = await first.communicate()
    absent = await start(there, "", ["no-such-program"])
    await absent.wait()
    family = await start(there, "", ["sh", "-c", f"sleep {sys.argv[1]} & sleep {sys.argv[1]}"])
    def command(process):
        try:
            return open(f"/proc/{process}/cmdline", "rb").read()
        except OSError:  # it ended
            return b""
    def sleepers():
        return sum(command(p).startswith(b"sleep\\0" + sys.argv[1].encode()) for p in os.listdir("/proc") if p.isdigit())
    for _ in range(200):
        if sleepers() == 2:
            break
        await asyncio.sleep(0.05)
    before = sleepers()
    await end(family)
    for _ in range(200):
        if not sleepers():
            break
        await asyncio.sleep(0.05)
    print(json.dumps([said.decode(), first.returncode, absent.returncode, before, sleepers()]))

asyncio.run(main())
"""


@pytest.mark.netns
def test_programs_see_the_testbeds_dns_and_end_with_all_they_started() -> None:
    need_namespaces()
    before = Path("/etc/resolv.conf").read_bytes()
    said, code, absent, running, left = inside(_LAUNCH, f"{4000 + os.getpid() % 1000}.{os.getpid()}")
    assert said.startswith("nameserver 192.0.2.1\n")
    assert said.strip().endswith("['lo'] ['HOME', 'LANG', 'PATH']")  # nothing of this user's
    assert (code, absent, running, left) == (3, 127, 2, 0)
    assert Path("/etc/resolv.conf").read_bytes() == before


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.parametrize("option", sorted(TOOLS))
def test_what_a_tool_carries_arrives_whole(tmp_path: Path, option: str) -> None:
    need_namespaces()
    missing = [program for program in TOOLS[option].programs if tool(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    recording, _ = record(tmp_path, 40, f"exfiltration={option}")
    (entry,) = read_ledger(recording.truth)
    assert entry.bytes_delivered == entry.bytes_intended > 0
    assert entry.sha256_sent == entry.sha256_received
    assert len(entry.delivered) > 3
    assert {"incident_started", "incident_ended"} <= {line["event"] for line in lines(recording.timeline)}
    shutil.rmtree(tmp_path)
