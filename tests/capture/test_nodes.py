"""Captures of several nodes are merged by time, in bounded memory, the same for any size of batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture import open_capture
from mimir.capture.__main__ import main
from mimir.capture.batch import UDP
from mimir.capture.nodes import NodeCaptures, at_node, merged_rows
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

MS = 1_000_000
Placed = list[tuple[int, int, bool]]  # node, step back in time in ms, DNS or not


def frame(number: int, ts_ns: int, dns: bool) -> s.Frame:
    body = s.dns(f"host{number}.example")
    packet = s.ipv4("10.0.0.1", "10.0.0.53", UDP, s.udp(5000 + number, 53 if dns else 80, body))
    return s.Frame(ts_ns, s.sll2(packet, ifindex=number % 3))


def save(folder: Path, packets: Placed) -> list[list[s.Frame]]:
    """A folder of three nodes, two files each; returns the frames of each."""
    nodes: list[list[s.Frame]] = [[], [], []]
    for number, (node, back, dns) in enumerate(packets):
        nodes[node].append(frame(number, (number // 3 - back) * MS + 10**12, dns))  # many at the same time
    for name, frames in zip("abc", nodes, strict=True):
        (folder / name).mkdir(exist_ok=True)
        half = (len(frames) + 1) // 2
        s.save(folder / name / "x1.pcap", s.pcap(frames[:half], s.SLL2))
        s.save(folder / name / "x2.pcap", s.pcap(frames[half:], s.SLL2))
    return nodes


def rows(folder: Path, **options: int) -> list[tuple[int, int, int, bytes]]:
    """Time, source port, interface and DNS message of every row."""
    out = []
    for b in open_capture(folder, **options):  # type: ignore[arg-type]
        assert 0 < len(b) <= options.get("batch_rows", 1 << 15)
        starts = zip(b.dns_offset.tolist(), b.dns_bytes.tolist(), strict=True)
        names = [b.data[o : o + n].tobytes() if o >= 0 else b"" for o, n in starts]
        out += list(zip(b.ts_ns.tolist(), b.sport.tolist(), b.ifindex.tolist(), names, strict=True))
    return out


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 0, 2]), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_nodes_are_merged_by_time(tmp_path: Path, packets: Placed, batch_rows: int) -> None:
    nodes = save(tmp_path, packets)
    whole = rows(tmp_path)
    assert rows(tmp_path, batch_rows=batch_rows) == whole
    keyed = []
    for number, name in enumerate("abc"):
        alone = rows(tmp_path / name)
        assert len(alone) == len(nodes[number])
        newest = np.maximum.accumulate([row[0] for row in alone]).tolist() if alone else []
        keyed += [(key, number, at, row) for at, (key, row) in enumerate(zip(newest, alone, strict=True))]
    wanted = [(ts, port, at_node(np.array([i]), node)[0], m) for _, node, _, (ts, port, i, m) in sorted(keyed)]
    assert whole == wanted


def test_counts_are_told_for_all_and_for_each(tmp_path: Path) -> None:
    save(tmp_path, [(0, 0, False), (1, 0, False), (0, 2, True), (0, 0, False)])
    capture = open_capture(tmp_path)
    assert isinstance(capture, NodeCaptures)
    assert sum(len(b) for b in capture) == capture.counts.rows == capture.counts.packets == 4
    assert {name: counts.packets for name, counts in capture.by_node.items()} == {"a": 3, "b": 1, "c": 0}
    assert (capture.counts.files, capture.counts.out_of_order, capture.counts.protocols["udp"]) == (6, 1, 4)
    assert capture.counts.bytes == sum(c.bytes for c in capture.by_node.values()) > 0


def test_late_rows_of_a_node_are_put_in_order(tmp_path: Path) -> None:
    save(tmp_path, [(0, 0, True), (1, 0, True), (0, 2, True)] * 4)
    times = [row[0] for row in rows(tmp_path, reorder_ns=5 * MS, batch_rows=2)]
    assert times == sorted(times)
    assert [row[0] for row in rows(tmp_path)] != times


def test_interfaces_differ_by_node() -> None:
    known = np.array([0, 7, -1], np.int32)
    assert at_node(known, 0).tolist() == [0, 7, -1]
    assert len({*at_node(known, 0).tolist(), *at_node(known, 1).tolist(), *at_node(known, 2047).tolist()}) == 9


def test_memory_does_not_grow_with_the_number_of_nodes() -> None:
    assert merged_rows(1 << 15, 2) == 1 << 15
    assert merged_rows(1 << 15, 100) * 100 <= 1 << 18


def test_captures_beside_subfolders_are_one_recorder(tmp_path: Path) -> None:
    save(tmp_path, [(0, 0, False), (1, 0, False)])
    s.save(tmp_path / "own.pcap", s.pcap([frame(1, 10**12, dns=False)], s.SLL2))
    assert len(rows(tmp_path)) == 1


def test_growing_files_of_several_nodes_are_refused(tmp_path: Path) -> None:
    save(tmp_path, [(0, 0, False)])
    with pytest.raises(CaptureError, match="several nodes"):
        open_capture(tmp_path, follow=True, timeout_s=0.1)


def test_inspect_reads_a_folder_of_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, [(0, 0, False), (1, 0, False)])
    assert main(["inspect", str(tmp_path)]) == 0
    assert "packets       2" in capsys.readouterr().out
