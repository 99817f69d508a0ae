"""`cluster=recorded` takes flow files: the real command, and the stage that makes edges."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from mimir.cluster.base import RecordingOrder
from mimir.errors import CaptureError, MimirError
from mimir.files import read_json, read_jsonl
from mimir.pipeline.analysis import edges_of
from mimir.pipeline.clusters import create_cluster
from mimir.spec.cluster import RecordedSpec
from tests.flows.foreign_samples import START_S, zeek_tsv, zeek_values
from tests.support.cli import mimir_here, run_directories

HOUR_S = 3600


def day_of_connections(path: Path) -> Path:
    """Ten hours of web → db, and near the end five uploads to somewhere outside; one broken line."""
    draw = random.Random(1)
    records = [
        zeek_values(ts=START_S + 10 * i, duration=draw.uniform(0, 3), resp_bytes=draw.randrange(10_000), uid=f"C{i}")
        for i in range(HOUR_S)
    ]
    records += [
        zeek_values(ts=START_S + 9 * HOUR_S + 600 * i, uid=f"X{i}", orig_bytes=10**6, orig_ip_bytes=1_040_000,
                    **{"id.resp_h": "203.0.113.9", "id.resp_p": 443})
        for i in range(5)
    ]  # fmt: skip
    return zeek_tsv(path, *records, extra=["broken line"])


@pytest.mark.slow
def test_a_leak_in_a_conn_log_is_found(tmp_path: Path) -> None:
    capture = day_of_connections(tmp_path / "conn.log")
    log = tmp_path / "entities.pickle"
    names = {"web-0": ("10.1.0.1", "+", "shop", "pod"), "db-0": ("10.1.0.2", "+", "shop", "pod")}
    log.write_bytes(pickle.dumps({0: names}, 2))
    done = mimir_here(
        tmp_path, "app=generic", "cluster=recorded", f"cluster.capture={capture}", f"cluster.entities={log}",
        "exfiltration=none", "detector=allowlist", "detector.windows_s=[60]", "tracking=none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (directory,) = run_directories(tmp_path)
    alerts = read_jsonl(directory / "alerts.jsonl")
    assert {tuple(a["path"]) for a in alerts} == {("web", "outside:203.0.113.9")}
    assert [a["ts"] for a in alerts] == [START_S + 9 * HOUR_S + 600 * i for i in range(5)]
    counts = read_json(directory / "capture.json")["test"]
    assert (counts["source"], counts["flows"]) == ("a Zeek conn.log", HOUR_S + 5)
    assert counts["skipped_lines"] == {"wrong number of columns": 1}
    assert counts["bad_lines"][0]["line"] == HOUR_S + 11
    assert "Zeek" in (directory / "report.html").read_text(encoding="utf-8")


def stage(tmp_path: Path, content: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What the edges stage makes of one recording."""
    (tmp_path / "recording" / "capture").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "recording" / "entities.jsonl").write_text("")
    (tmp_path / "recording" / "capture" / "test-0001.pcap").write_text(content)
    spec = SimpleNamespace(
        capture=SimpleNamespace(windows_s=[10], connection_timeout_s=60.0, reorder_ms=0.0, engine="none"),
        cluster=SimpleNamespace(addresses="names.txt", entities=None),
    )
    edges_of(cast(Any, spec), tmp_path / "recording", tmp_path / "out")
    return pd.read_parquet(tmp_path / "out" / "edges.parquet"), read_json(tmp_path / "out" / "capture.json")


def test_pods_that_hubble_names_become_the_entity_log(tmp_path: Path) -> None:
    flow = {
        "time": "2024-01-01T00:00:00Z", "verdict": "FORWARDED", "IP": {"source": "10.0.0.1", "destination": "10.0.0.2"},
        "l4": {"TCP": {"source_port": 40_000, "destination_port": 80, "flags": {"SYN": True}}},
        "source": {"pod_name": "web-0", "namespace": "shop"},
    }  # fmt: skip
    table, counts = stage(tmp_path, json.dumps({"flow": flow}) + "\n")
    assert set(table["client"]) == {"web-0", "web"}
    assert counts["source"] == "Hubble flows"
    assert [row["name"] for row in read_jsonl(tmp_path / "out" / "entities.jsonl")] == ["web-0"]


def test_other_content_goes_to_the_packet_reader(tmp_path: Path) -> None:
    with pytest.raises(CaptureError):
        stage(tmp_path, "plain text that is neither\n")


def recorded(tmp_path: Path, **named: str) -> Any:
    """The recorded cluster, as the pipeline makes it."""
    values: dict[str, Any] = dict.fromkeys(("capture", "fit", "calibrate", "test", "entities", "addresses", "truth"))
    source = RecordedSpec(name="recorded", split=[0.5, 0.25, 0.25], **(values | named))
    return create_cluster(cast(Any, SimpleNamespace(cluster=source)))


def order(tmp_path: Path, name: str) -> RecordingOrder:
    return RecordingOrder(name, 0, 60, (1, 0), False, tmp_path / "recording")


def test_a_conn_log_is_cut_in_three_by_time(tmp_path: Path) -> None:
    path = zeek_tsv(tmp_path / "conn.log", zeek_values(duration=1.0), zeek_values(ts=START_S + 390))
    made = recorded(tmp_path, capture=str(path)).record(order(tmp_path, "calibrate"), lambda seconds, packets: None)
    assert [capture.name for capture in made.captures] == ["calibrate-0001.log"]
    assert made.counts == {"flows": 2, "packets": 26}
    assert [row["ts"] for row in read_jsonl(made.timeline)] == [START_S + 200, START_S + 300]


def test_seconds_of_a_pickled_log_count_from_the_start_of_the_capture(tmp_path: Path) -> None:
    path = zeek_tsv(tmp_path / "conn.log", zeek_values(), zeek_values(ts=START_S + 390))
    log = tmp_path / "log.pickle"
    log.write_bytes(pickle.dumps({0: {"old-0": ("10.1.0.1", "+", "shop", "pod")},
                                  200: {"old-0": ("10.1.0.1", "-", "shop", "pod"),
                                        "new-0": ("10.1.0.1", "+", "shop", "pod")}}))  # fmt: skip
    recorded(tmp_path, capture=str(path), entities=str(log)).record(order(tmp_path, "test"), lambda *_: None)
    spec = SimpleNamespace(
        capture=SimpleNamespace(windows_s=[10], connection_timeout_s=60.0, reorder_ms=0.0, engine="none"),
        cluster=SimpleNamespace(addresses="names.txt", entities=None),
    )
    edges_of(cast(Any, spec), tmp_path / "recording", tmp_path)
    table = pd.read_parquet(tmp_path / "edges.parquet")
    pods = table[table["view"] == "pod"].sort_values("window_start")
    assert pods["client"].tolist() == ["old-0", "new-0"]


def test_a_table_that_is_none_is_an_error_for_the_user(tmp_path: Path) -> None:
    path = zeek_tsv(tmp_path / "conn.log", zeek_values())
    table = tmp_path / "a.csv"
    table.write_text("colour,shape\nred,round\n")
    recorded(tmp_path, capture=str(path), addresses=str(table)).record(order(tmp_path, "test"), lambda *_: None)
    spec = SimpleNamespace(
        capture=SimpleNamespace(windows_s=[10], connection_timeout_s=60.0, reorder_ms=0.0, engine="none"),
        cluster=SimpleNamespace(addresses="names.txt", entities=None),
    )
    with pytest.raises(MimirError, match=r"names\.txt, line 1: needs an address and a name column"):
        edges_of(cast(Any, spec), tmp_path / "recording", tmp_path)
