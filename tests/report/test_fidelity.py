"""The comparison of a simulated cluster with a real one, on small tables made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimir.files import write_json
from mimir.report.fidelity import write_pages
from mimir.report.fidelity_compare import ABSENT, CHANCE, EDGE, OFF, WITHIN, compare
from mimir.report.fidelity_detectors import false_alerts, incidents, outcome, per_day, real_table
from mimir.report.fidelity_reasons import UNKNOWN, Seen, reason_of
from mimir.report.fidelity_shapes import lengths_apart, sizes_apart

USERS, CALLS, ODD, GONE = (
    ("outside:clients", "shop", 80, "tcp"),
    ("shop", "db", 3306, "tcp"),
    ("shop", "queue", 5672, "tcp"),
    ("kube-dns", "kubernetes", 443, "tcp"),
)


def blocks(bytes_by: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Ten blocks of two recordings; `bytes_by` (cluster, server): request bytes an exchange, 100 unless given."""
    rows, random = [], np.random.default_rng(3)
    for cluster in ("netns", "simulated"):
        for recording in ("fit", "quiet"):
            for block in range(10):
                for edge in (USERS, CALLS, ODD, GONE):
                    if edge is GONE and cluster == "netns":
                        continue
                    count = int(random.integers(45, 55))
                    size = bytes_by.get((cluster, edge[1]), 100.0)
                    if edge is ODD and cluster == "simulated":  # rare large messages: off, but who knows
                        size = 3000.0 if (recording, block) == ("fit", 3) else 10.0
                    rows.append({
                        **dict(zip(EDGE, edge, strict=True)), "app": "shop", "cluster": cluster, "recording": recording,
                        "block": block, "windows": 5, "request_bytes": count * size, "response_bytes": count * 500.0,
                        "exchanges": count, "connections": count, "packets": 10 * count, "bytes": count * (size + 500),
                        "bytes_squared": (count * (size + 500)) ** 2 / 5 * random.uniform(1.05, 1.15),
                    })  # fmt: skip
    return pd.DataFrame(rows)


def residuals(scale: float) -> pd.DataFrame:
    """What I3 leaves of calls to the database; the simulated cluster's scatter is `scale` times the real one's."""
    random, parts = np.random.default_rng(5), []
    for cluster, sigma in (("netns", 50.0), ("simulated", 50.0 * scale)):
        expected = random.uniform(900, 1100, 240)
        parts.append(pd.DataFrame({
            "app": "shop", "cluster": cluster, **dict(zip(EDGE, CALLS, strict=True)), "counter": "response_payload_bytes",
            "window": np.arange(240), "expected": expected, "observed": expected + random.normal(0, sigma, 240),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def verdicts_of(compared: pd.DataFrame, server: str) -> dict[str, str]:
    part = compared[compared["server"] == server]
    return dict(zip(part["measure"], part["verdict"], strict=True))


def test_verdicts_tell_right_from_chance_from_wrong() -> None:
    compared = compare(blocks({("simulated", "db"): 160.0}), residuals(3.0))
    assert set(verdicts_of(compared, "shop").values()) == {WITHIN}
    db = verdicts_of(compared, "db")
    assert (db["request_bytes"], db["response_bytes"], db["residual"]) == (OFF, WITHIN, OFF)
    assert verdicts_of(compared, "queue")["request_bytes"] == CHANCE
    assert verdicts_of(compared, "kubernetes") == {"exchanges": ABSENT}
    row = compared[(compared["server"] == "db") & (compared["measure"] == "request_bytes")].iloc[0]
    assert (row["real"], row["simulated"], row["ratio"]) == (100, 160, pytest.approx(1.6))
    assert row["low"] == pytest.approx(1.6)  # the same in every block
    assert row["high"] == pytest.approx(1.6)


def test_equal_clusters_have_no_edge_that_is_off() -> None:
    table = blocks({})
    table = table[~table["server"].isin(["kubernetes", "queue"])]
    compared = compare(table, residuals(1.0))
    assert OFF not in set(compared["verdict"])
    assert (compared["low"] <= compared["ratio"] + 1e-9).all()
    assert (compared["high"] >= compared["ratio"] - 1e-9).all()


def sizes(shift: int) -> pd.DataFrame:
    rows = []
    for cluster in ("netns", "simulated"):
        for recording in ("fit", "calibrate"):
            for size, count in ((48, 600), (1504, 400 + (recording == "fit"))):
                moved = size + (shift if cluster == "simulated" and size > 1000 else 0)
                rows.append({"app": "shop", "cluster": cluster, "recording": recording, **dict(zip(EDGE, CALLS, strict=True)),
                             "way": "response", "size": moved, "count": count})  # fmt: skip
    return pd.DataFrame(rows)


def test_distances_of_packet_sizes_are_those_of_the_distributions() -> None:
    same, moved = sizes_apart(sizes(0)).iloc[0], sizes_apart(sizes(1600)).iloc[0]
    assert (same["wasserstein"], same["jensen_shannon"], same["verdict"]) == (0, 0, WITHIN)
    assert moved["wasserstein"] == pytest.approx(1600 * 801 / 2001)
    assert moved["jensen_shannon"] == pytest.approx(801 / 2001)
    assert moved["between_recordings"] > 0
    assert moved["verdict"] == OFF


def test_lengths_of_connections_have_medians_and_a_distance() -> None:
    rows = [("netns", 30, 90), ("netns", 60, 10), ("simulated", 40, 90), ("simulated", 60, 10)]
    table = pd.DataFrame([{"app": "shop", "cluster": c, "recording": "fit", **dict(zip(EDGE, CALLS, strict=True)), "step": s, "count": n}
                          for c, s, n in rows])  # fmt: skip
    found = lengths_apart(table).iloc[0]
    assert found["kolmogorov"] == pytest.approx(0.9)
    assert found["median_real_s"] == pytest.approx(1e-6 * 10**3.05)
    assert found["connections_simulated"] == 100


def verdict_rows() -> pd.DataFrame:
    """Two detectors; invariants finds the two larger leaks."""
    rows: list[dict[str, Any]] = []
    for cluster in ("netns", "simulated"):
        for detector, least in (("invariants", 20_000), ("random", 1e9)):
            head = {"app": "shop", "cluster": cluster, "detector": detector, "window_s": 60, "budget": 1.0}
            for recording, alerts in (("test", 0), ("quiet", 2)):
                both = {"recording": recording, "incident": "", "rate_bytes_per_min": np.nan}
                rows.append(head | both | {"measure": "false_alerts", "value": alerts})
                rows.append(head | both | {"measure": "benign_days", "value": 1 / 48})
            for number, rate in enumerate((100_000.0, 20_000.0, 5000.0)):
                of = {"recording": "test", "incident": f"leak-{number}", "rate_bytes_per_min": rate}
                found = {"detected": float(rate >= least)}
                if rate >= least:
                    found |= {"delay_s": 61.0, "bytes_before_alert": rate, "path_top1": 1.0, "size_relative_error": 0.1}
                rows += [head | of | {"measure": name, "value": value} for name, value in found.items()]
    return pd.DataFrame(rows)


def test_detections_are_told_by_rate_with_their_cost() -> None:
    part = verdict_rows().query("cluster == 'netns' and detector == 'invariants'")
    of = incidents(part)
    assert [rate for rate, _ in of] == [100_000, 20_000, 5000]
    assert [outcome(m) for _, m in of] == ["61 s, 100 kB", "61 s, 20 kB", "no"]
    count, hours = false_alerts(part)
    assert (count, hours) == (2, pytest.approx(1.0))
    assert per_day(count, hours) == "48.0 [5.81 to 173]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tables of a run."""
    folder = tmp_path / "fidelity"
    folder.mkdir()
    tables = {
        "blocks": blocks({("simulated", "db"): 160.0}), "sizes": sizes(1600), "residuals": residuals(3.0), "verdicts": verdict_rows(),
        "lengths": pd.DataFrame([{"app": "shop", "cluster": c, "recording": "fit", **dict(zip(EDGE, CALLS, strict=True)), "step": 30, "count": 5}
                                 for c in ("netns", "simulated")]),
    }  # fmt: skip
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    requests = {"due": 1000, "failed": 0, "late": 3, "p50_ms": 4.2, "p99_ms": 60.0}
    recording = {
        "app": "shop",
        "recording": "fit",
        "start_s": 1_795_543_200,
        "duration_s": 600,
        "packets": 12345,
        "dropped": 0,
    }
    leak = {"name": "relay_chain", "incidents": 3, "incident_duration_s": 480, "rates_bytes_per_min": [100000, 5000], "rate_bytes_per_min": 1}  # fmt: skip
    write_json(folder / "facts.json", {
        "command": "make fidelity", "environment": {"git": {"commit": "0123456789abcdef", "dirty": False}, "python": "3.12", "platform": "Linux", "cpus": 2},
        "recordings": [recording | {"cluster": "netns", "requests": requests}, recording | {"cluster": "simulated", "requests": None}],
        "spec": {"load": {"name": "steady", "users": 20}, "seed": 1, "exfiltration": leak, "paths": {"shop": ["db", "shop", "outside"]}},
    })  # fmt: skip
    return folder


def test_pages_say_what_was_measured_and_where_it_is_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimir.report.fidelity._draw", lambda *_: None)
    fidelity, real = (page.read_text(encoding="utf-8") for page in write_pages(folder))
    assert "make fidelity" in fidelity
    assert "Commit 0123456789" in real
    assert (
        "| shop → db:3306 | request, B an exchange | 100 · 160 | 1.60 [1.60 to 1.60] | not explained yet |" in fidelity
    )
    assert "| kube-dns → kubernetes:443 | exchanges a user request |" in fidelity
    assert "response sizes, B" in fidelity
    assert (
        "| invariants | 2 of 3 | 61 s, 100 kB | 61 s, 20 kB | no | 2 of 2 | 10 % | 2 in 1.0 h | 48.0 [5.81 to 173] |"
        in real
    )
    assert "| shop fit | 10 min | 12,345 | 0 | 1,000 | 0 | 3 | 4.2 · 60.0 |" in real
    assert pd.read_csv(folder / "edges.csv")["verdict"].isin([WITHIN, CHANCE, OFF, ABSENT]).all()


@pytest.mark.slow
def test_every_figure_of_the_pages_is_drawn(folder: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in write_pages(folder)]
    images = [line.split("](")[1].rstrip(")") for page in pages for line in page.splitlines() if line.startswith("![")]
    assert len(images) == 4
    for image in images:
        assert (folder.parent / image).stat().st_size > 5000, image


def test_incidents_of_the_same_rate_are_told_one_by_one() -> None:
    both = verdict_rows()
    again = both[both["incident"] == "leak-1"].assign(incident="leak-3")
    again.loc[again["measure"] == "delay_s", "value"] = 301.0
    table = real_table(pd.concat([both, again]), "shop", 60, ["invariants", "random"])
    assert "| invariants | 3 of 4 | 61 s, 100 kB | 61 s, 20 kB; 301 s, 20 kB | no | 3 of 3 |" in table
    assert "| random | 0 of 4 | no | no; no | no |" in table
    assert "detector.windows_s" in real_table(both, "shop", 10, ["invariants"])


def test_few_exchanges_on_one_side_are_judged_by_their_interval() -> None:
    table = blocks({})
    odd = (table["server"] == "db") & (table["cluster"] == "simulated")
    table.loc[odd, "exchanges"] = 4  # 80 in all, where about a thousand really are
    compared = compare(table, residuals(1.0))
    (row,) = (row for _, row in compared[compared["server"] == "db"].iterrows() if row["measure"] == "exchanges")
    assert row["exchanges_simulated"] == 80
    assert row["high"] < 0.1
    assert row["verdict"] == OFF


def test_causes_explain_only_what_they_can() -> None:
    fewer, more = (Seen("shop", "orders", "user", "residual", real, 0.05, 1000) for real in (0.1, 0.02))
    assert reason_of(fewer) == UNKNOWN
    assert "content_share" in reason_of(more)
    assert reason_of(Seen("no-such-app", "a", "b", "packets", 1, 2)) == UNKNOWN
    ports = Seen("shop", "a", "kube-dns", "connections", 3.0, 1.0)
    assert "resolver" in reason_of(ports)
    assert "pools" in reason_of(ports._replace(real=0.5))
    assert reason_of(Seen("shop", "a", "kube-dns", "exchanges", 1, 2, 9000)) == UNKNOWN  # many: no chance
