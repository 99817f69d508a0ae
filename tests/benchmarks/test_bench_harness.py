"""The harness on tiny captures: whole tables, absent peers named, nothing about time."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from mimir.capture import open_capture
from tests.benchmarks import bench_sections as sections
from tests.benchmarks.__main__ import main, measure, parse
from tests.benchmarks.bench_head import head, repeat
from tests.benchmarks.bench_measure import ROOT, BenchError, Cost, exponent, run
from tests.benchmarks.bench_page import comparison, page, table
from tests.benchmarks.bench_peers import PEERS, PYTHON_WORK, Peer
from tests.benchmarks.bench_targets import targets
from tests.benchmarks.bench_traffic import write


def test_page_of_a_tiny_run(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    main(["--packets", "2000", "--runs", "1", "--sections", "comparison", "--simulated-s", "0", "--peers", "cat", "dpkt",
          "--page", str(out)])  # fmt: skip
    text = out.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {5, 8}  # targets, comparison
    for name in ("mimir, whole command", "mimir, kernels only", "dpkt", "cat"):
        assert sum(line.startswith(f"| {name} | ") and "failed" not in line for line in lines) >= 1, text
    assert "| whole command against NFStream, whole packets | ≥ 100 × | – | not measured |" in lines
    assert out.with_suffix(".json").stat().st_size > 1000


def test_committed_page_shows_the_committed_numbers() -> None:
    stored = ROOT / "docs/results/capture-benchmark.json"
    assert page(json.loads(stored.read_text(encoding="utf-8"))) == stored.with_suffix(".md").read_text(encoding="utf-8")


def test_mimir_sees_every_packet_of_either_format(tmp_path: Path) -> None:
    from tests.benchmarks.bench_steps import kernel, read

    for kind in ("any", "ethernet", "pcapng", "full"):
        write(tmp_path / kind, 3_000, kind)
        assert read(tmp_path / kind) == {"packets": 3_000}
    capture = open_capture(tmp_path / "full")
    assert sum(len(batch) for batch in capture) == 3_000
    assert capture.counts.truncated == 0
    written = (tmp_path / "full").read_bytes()
    assert 300 <= written.count(b"HTTP/1.1 200 OK") <= written.count(b"GET /catalogue")  # 10 packets a connection
    assert kernel(tmp_path / "any")["rows"] == kernel(tmp_path / "pcapng")["rows"] > 0


def test_head_of_a_capture_is_a_prefix_or_the_same_behind_ethernet(tmp_path: Path) -> None:
    whole, few, ethernet = tmp_path / "whole", tmp_path / "few", tmp_path / "ethernet"
    write(whole, 500, "any")
    assert head(whole, few, 100, ethernet=False) == head(whole, ethernet, 100, ethernet=True) == 100
    assert whole.read_bytes().startswith(few.read_bytes())
    assert struct.unpack_from("<I", ethernet.read_bytes(), 20) == (1,)
    (a,), (b,) = list(open_capture(few)), list(open_capture(ethernet))
    assert len(a) == len(b) == 100
    assert all((getattr(a, c) == getattr(b, c)).all() for c in ("ts_ns", "src", "dst", "sport", "ip_bytes", "tcp_seq"))
    assert head(whole, few, 900, ethernet=False) == 500


def test_a_repeated_capture_goes_on_later(tmp_path: Path) -> None:
    whole, often = tmp_path / "whole", tmp_path / "often"
    write(whole, 50, "ethernet", pods=20)
    assert repeat(whole, often, 120) == 150
    (one,), (three,) = list(open_capture(whole)), list(open_capture(often))
    assert three.sport.tolist() == one.sport.tolist() * 3
    assert (three.ts_ns[50:100] - one.ts_ns == 60 * 10**9).all()
    assert (three.ts_ns[1:] >= three.ts_ns[:-1]).all()


def test_absent_and_failing_peers_are_rows_that_say_why(tmp_path: Path) -> None:
    plan = sections.Plan(10, 1, (10,), 0, (), 1.0, 10, tmp_path)
    write(tmp_path / "c", 10, "any")
    absent = Peer("x", "work", 5, "no-such-program", "apt install x", ("no-such-program",))
    failing = Peer("y", "work", 5, "false", "", ("false",))
    rows = [sections.against(plan, peer, tmp_path / "c", 10) for peer in (absent, failing)]
    assert rows[0]["skipped"] == "not installed: apt install x"
    assert rows[1]["skipped"].startswith("failed: exit code 1 from false")
    own = {"name": "mimir", "work": "edges", "packets": 10, "wall_s": [1.0], "cpu_s": [2.0], "peak_mb": 3.0}
    faster = {**own, "name": "z", "cpu_s": [1.0, 4.0, 0.5]}
    lines = comparison([own, *rows, faster]).splitlines()
    assert "apt install x" in lines[3]
    assert lines[-1] == "| z | edges | 10.0 | 10.0 | 10.0 | 3 | 0.50 |"


def test_targets_are_judged_from_the_numbers() -> None:
    def row(name: str, packets: int, seconds: float) -> sections.Row:
        return {"name": name, "packets": packets, "cpu_s": [seconds], "wall_s": [1.2 * seconds]}

    rows = [row("mimir, whole command", 10_000_000, 2.0), row("mimir, kernels only", 10_000_000, 2.0)]
    rows += [
        row("mimir, reader only", 10_000_000, 0.5),
        row("mimir, two workers", 10_000_000, 2.1),
        row("mimir, plain edges", 10_000_000, 0.9),
        row("tshark -T fields", 10_000, 1.0),
        row("NFStream", 10**6, 1.0),
    ]
    found = targets({"comparison": {"synthetic": rows, "whole-packet": [rows[0], *rows[5:]]}})
    assert "3.97 M, 0.95 × one worker" in [t.found for t in found]
    verdicts = {t.what: t.met for t in found}
    assert verdicts == {
        "mimir, reader only": True, "mimir, kernels only": False, "mimir, whole command": True,
        "mimir, whole command, two workers, by the clock": False, "connections against plain edges": False,
        "whole command against tshark -T fields, whole packets": True, "whole command against NFStream, whole packets": False,
        "whole command against nfpcapd, whole packets": None,
    }  # fmt: skip


def test_every_python_peer_has_its_work() -> None:
    assert {p.name for p in PEERS if not p.command} == set(PYTHON_WORK)


def test_quadratic_growth_has_exponent_two() -> None:
    assert exponent([10, 20, 40], [1, 4, 16]) == pytest.approx(2)


def test_a_failing_program_is_an_error_with_its_last_line() -> None:
    with pytest.raises(BenchError, match=r"exit code 3 from sh .*: second"):
        run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"])


def test_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n|---|--:|\n| x | 1 |"


def test_unknown_peers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--peers", "wireshark"])
    assert "tshark -T fields" in capsys.readouterr().err


def test_growth_and_memory_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(name: str, *arguments: object, **options: object) -> Cost:
        if name == "write":
            write(Path(str(arguments[0])), int(str(arguments[1])), str(arguments[2]))
        seconds = Path(str(arguments[0])).stat().st_size / 1e6
        inner = {"packets": 7, "rows": 3, "wall_s": [seconds], "cpu_s": [seconds]}
        return Cost(seconds, seconds, 100.0, inner)

    monkeypatch.setattr(sections, "step", step)
    results = measure(parse(["--sections", "growth", "memory", "--growth", "1000", "4000", "--full", "100"]), tmp_path)
    assert results["growth"]["exponents"]["stage_s"] == pytest.approx(1, abs=0.01)
    verdicts = {t.what: (t.found, t.met) for t in targets(results)}
    assert verdicts["memory, 16 × the packets, as many at a time"] == ("1.00 ×", True)
    assert verdicts["memory, 16 × the packets at a time"] == ("0 bytes, 1.00 × the peak", True)
    assert verdicts["memory on a 5 GB capture"] == ("100 MB on 0.0 GB", None)
    assert [*tmp_path.glob("any-*"), *tmp_path.glob("full-*")] == [
        tmp_path / f"any-20000-{sections.GAP_NS}-{sections.PODS}.pcap"
    ]
