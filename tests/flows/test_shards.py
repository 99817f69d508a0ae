"""Captures that share no connection add up, whoever works on them and in any order."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mimir.engine import JoblibEngine
from mimir.flows import build_edges
from mimir.flows.__main__ import main
from mimir.flows.shards import build_shards
from tests.capture import capture_samples as s
from tests.flows.flow_samples import POD, START_NS, Leg, conversation, http

CLIENTS = [("10.0.0.1", 40_000 + i) for i in range(9)]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    talks = [conversation([Leg(c, POD, 3)], http(), START_NS + i * 10**9) for i, c in enumerate(CLIENTS)]
    return [s.save(tmp_path / f"{n}.pcap", s.pcap([f for talk in talks[n::3] for f in talk], s.SLL2)) for n in range(3)]


def test_any_workers_and_any_order_give_the_same_file(shards: list[Path], tmp_path: Path) -> None:
    outs = []
    for number, (workers, captures) in enumerate([(1, shards), (2, shards), (3, shards[::-1])]):
        outs.append(tmp_path / f"{number}.parquet")
        reports = build_shards(captures, None, [1, 10], 60, outs[-1], JoblibEngine(workers))
        assert [r.capture.packets for r in reports] == [3 * len(http())] * 3
    assert len({out.read_bytes() for out in outs}) == 1
    build_edges(shards, None, [1, 10], "", 60, tmp_path / "whole.parquet")
    assert pd.read_parquet(outs[0]).equals(pd.read_parquet(tmp_path / "whole.parquet"))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_the_command_adds_captures_up(shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "edges.parquet"
    assert main(["edges", *map(str, shards), "--out", str(out), "--windows-s", "10"]) == 0
    assert f"{9 * len(http()):,} packets of 3 captures" in capsys.readouterr().out
    assert pd.read_parquet(out)["connections"].sum() == 2 * 9


def test_the_command_names_a_missing_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edges", str(tmp_path / "none.pcap"), "--out", str(tmp_path / "edges.parquet")]) == 2
    assert "none.pcap" in capsys.readouterr().err
