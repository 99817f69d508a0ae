"""Flow readers against anything: only a MimirError may come out, and what is counted adds up."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.errors import MimirError
from mimir.files import to_json
from mimir.flows.foreign import build_flow_edges
from mimir.flows.foreign.detect import READERS, read_flows
from tests.flows.foreign_samples import ZEEK_FIELDS, zeek_values

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
HEADS = {
    "zeek": "#separator \\x09\n#fields\t" + "\t".join(ZEEK_FIELDS) + "\n",
    "hubble": '{"lost_events": {}}\n',
    "nfdump": "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt\n",
    "conversations": "IPv4 Conversations\n",
}
NUMBERS = [
    "0",
    "-1",
    "1e9",
    "nan",
    "inf",
    "9" * 25,
    "1.5",
    "-",
    "",
    "2024-01-01 00:00:00",
    "10.0.0.1",
    "::1",
    "\x00",
    "é",
]
CELLS = st.sampled_from([*NUMBERS, "tcp", "C1", "80", "1704067200"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
HUBBLE_KEYS = st.sampled_from(["time", "IP", "l4", "l7", "source", "destination", "verdict", "is_reply", "node_name"])


def read(path: Path, text: str, form: str) -> None:
    path.write_bytes((HEADS[form] + text).encode("utf-8", "replace"))
    try:
        flows = len(read_flows(path).data)
        report = build_flow_edges([path], None, [86_400], "r", path.with_name("e.parquet"))
    except MimirError:
        return
    assert flows > 0
    assert report.to_json()["flows"] <= flows
    assert to_json(report.to_json() | {"entities": report.entities}).encode()


@pytest.mark.parametrize("form", READERS)
@FUZZ
@given(text=st.text(max_size=300))
def test_random_text(tmp_path: Path, form: str, text: str) -> None:
    read(tmp_path / "f", text, form)


@FUZZ
@given(rows=st.lists(st.lists(CELLS, min_size=15, max_size=15), min_size=1, max_size=4))
def test_rows_of_the_right_shape(tmp_path: Path, rows: list[list[str]]) -> None:
    for form, separator in (("zeek", "\t"), ("nfdump", ",")):
        read(tmp_path / "f", "".join(separator.join(row) + "\n" for row in rows), form)


@FUZZ
@given(changes=st.dictionaries(st.sampled_from(ZEEK_FIELDS), JSON, max_size=3))
def test_zeek_json_with_strange_values(tmp_path: Path, changes: dict[str, object]) -> None:
    read(tmp_path / "f", json.dumps(zeek_values(**changes)) + "\n", "zeek")


@FUZZ
@given(changes=st.dictionaries(HUBBLE_KEYS, JSON, max_size=3))
def test_hubble_with_strange_values(tmp_path: Path, changes: dict[str, object]) -> None:
    flow = {
        "time": "2024-01-01T00:00:00Z", "IP": {"source": "10.0.0.1", "destination": "10.0.0.2"},
        "l4": {"UDP": {"source_port": 1, "destination_port": 53}},
        "source": {"pod_name": "a-0", "namespace": "n", "labels": ["k8s:app=a"]},
    }  # fmt: skip
    read(tmp_path / "f", json.dumps({"flow": flow | changes}) + "\n", "hubble")


@FUZZ
@given(
    flows=st.lists(
        st.tuples(
            st.floats(0, 500), st.floats(0, 300), st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 3)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_bytes_in_are_bytes_out_in_every_window_length(
    tmp_path: Path, flows: list[tuple[float, float, int, int, int]]
) -> None:
    records = [
        zeek_values(ts=ts, duration=duration, orig_ip_bytes=up, resp_ip_bytes=down, **{"id.resp_h": f"10.0.0.{host}"})
        for ts, duration, up, down, host in flows
    ]
    path = tmp_path / "f"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    report = build_flow_edges([path], None, [10, 60, 300], "r", tmp_path / "e.parquet")
    table = pd.read_parquet(tmp_path / "e.parquet")
    for _, part in table.groupby(["window_s", "view"]):
        assert part["request_bytes"].sum() == sum(up for _, _, up, _, _ in flows)
        assert part["response_bytes"].sum() == sum(down for _, _, _, down, _ in flows)
        assert part["connections"].sum() == len(flows)
        assert (part[["request_bytes", "response_bytes"]] >= 0).all(axis=None)
    assert report.to_json()["bytes"] == sum(up + down for _, _, up, down, _ in flows)
