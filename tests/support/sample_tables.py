"""Tables of the sample run: edges, graphs, scores and alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mimir.flows.edges import COUNTERS
from mimir.units import HOUR_S
from tests.support.sample_story import CALLS, DROP, LEAK_CALL, LEAK_PATH, Sample


def sample_edges(sample: Sample, truth: list[dict[str, Any]], rng: np.random.Generator) -> pd.DataFrame:
    frames = []
    for recording, (start, end) in sample.recordings.items():
        for window_s in sample.windows_s:
            starts = np.arange(start, end, window_s)
            load = 1.0 + 0.3 * np.sin(2 * np.pi * (starts - start) / (4 * HOUR_S))
            leak = _leaked(truth, starts, window_s) if recording == "test" else np.zeros(len(starts))
            for call in CALLS:
                frames.append(_edge(call, starts, window_s, load, leak, rng).assign(recording=recording))
            if leak.any():
                frames.append(
                    _edge((*LEAK_CALL, 0.0, 0, 0), starts, window_s, load, leak, rng).assign(recording=recording)
                )
    service = pd.concat(frames, ignore_index=True)
    pod = service.copy()
    for side in ("client", "server"):
        inside = ~pod[side].str.startswith("outside:")
        pod.loc[inside, side] = pod.loc[inside, side] + "-0"
    table = pd.concat([service.assign(view="service"), pod.assign(view="pod")], ignore_index=True)
    keys = ["recording", "window_s", "window_start", "client", "server", "server_port", "proto", "view"]
    return table[keys + list(COUNTERS)].sort_values(keys, ignore_index=True)


def _edge(
    call: tuple[Any, ...], starts: Any, window_s: int, load: Any, leak: Any, rng: np.random.Generator
) -> pd.DataFrame:
    client, server, port, proto, rate, request, response = call
    count = rng.poisson(rate * window_s * load)
    hops = {(LEAK_PATH[i + 1], LEAK_PATH[i]) for i in range(len(LEAK_PATH) - 2)}
    down = np.where((client, server) in hops, leak, 0).astype(np.int64)
    up = np.where(server == DROP, leak, 0).astype(np.int64)
    request_bytes, response_bytes = count * (request + 92) + up, count * (response + 184) + down
    columns = {
        "request_bytes": request_bytes,
        "response_bytes": response_bytes,
        "request_payload_bytes": count * request + up,
        "response_payload_bytes": count * response + down,
        "request_packets": count * 2 + up // 1448,
        "response_packets": count * 3 + down // 1448,
        "connections": count // 8 + (up > 0),
        "exchanges": count + (up > 0),
        "mediated_bytes": request_bytes + response_bytes,
        "dns_queries": count if port == 53 else 0 * count,
        "dns_name_bytes": count * 32 if port == 53 else 0 * count,
    }
    frame = pd.DataFrame(
        {
            "window_s": window_s,
            "window_start": starts,
            "client": client,
            "server": server,
            "server_port": port,
            "proto": proto,
            **columns,
        }
    )
    return frame[frame["request_packets"] > 0]


def _leaked(truth: list[dict[str, Any]], starts: Any, window_s: int) -> Any:
    total = np.zeros(len(starts))
    for row in truth:
        points = np.array(row["delivered"])
        total += np.diff(np.interp(np.append(starts, starts[-1] + window_s), points[:, 0], points[:, 1]))
    return total


def write_graphs(run: Path, edges: pd.DataFrame) -> None:
    import networkx as nx

    for view in ("pod", "service"):
        graph = nx.DiGraph()
        chosen = edges[
            (edges["view"] == view) & (edges["recording"] == "test") & (edges["window_s"] == edges["window_s"].max())
        ]
        sums = chosen.groupby(["client", "server"])[["request_bytes", "response_bytes", "exchanges"]].sum()
        for (client, server), row in sums.iterrows():
            graph.add_edge(client, server, **{key: int(value) for key, value in row.items()})
        (run / "graphs").mkdir(exist_ok=True)
        nx.write_graphml(graph, run / "graphs" / f"{view}.graphml")


def sample_scores(sample: Sample, truth: list[dict[str, Any]], rng: np.random.Generator) -> pd.DataFrame:
    frames = []
    for window_s in sample.windows_s:
        parts = {}
        for recording in ("calibrate", "test"):
            starts = np.arange(*sample.recordings[recording], window_s)
            parts[recording] = (starts, rng.gamma(4.0, 0.5, len(starts)))
        calibration = np.sort(parts["calibrate"][1])
        threshold = float(calibration[-1] * 1.4)
        for i, row in enumerate(truth):
            starts, score = parts["test"]
            inside = (starts + window_s > row["start"] + 100) & (starts < row["end"])
            score[inside] = score[inside] + threshold * (1.5 if i < sample.detected else 0.1)
            if i >= sample.detected:
                score[inside] = np.minimum(score[inside], threshold * 0.98)
        for k in range(sample.false_alerts):
            parts["test"][1][3 + 2 * k] = threshold * 1.05
        for recording, (starts, score) in parts.items():
            above = np.searchsorted(calibration, score, side="left")
            p_value = (1 + len(calibration) - above) / (len(calibration) + 1)
            frames.append(
                pd.DataFrame(
                    {
                        "window_s": window_s,
                        "window_start": starts,
                        "recording": recording,
                        "score": score,
                        "p_value": p_value,
                        "threshold": threshold,
                        "alert": score > threshold,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def sample_alerts(sample: Sample, scores: pd.DataFrame, truth: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for row in scores[(scores["recording"] == "test") & scores["alert"]].itertuples():
        guilty = any(t["start"] < row.window_start + row.window_s and row.window_start < t["end"] for t in truth)
        bytes_estimate = sample.rate_bytes_per_min * row.window_s / 60 if guilty else None
        span = (
            {"bytes_low": bytes_estimate * 0.9, "bytes_high": bytes_estimate * 1.1}
            if guilty
            else {"bytes_low": None, "bytes_high": None}
        )
        path, pods = (list(LEAK_PATH), ["user-db-0", "user-0", "front-end-0"]) if guilty else ([], [])
        extra = {
            "p_value": row.p_value,
            "path": path,
            "pods": pods,
            "technique": "T1041" if guilty else "",
            "bytes_estimate": bytes_estimate,
            **span,
        }
        chain = {
            "family": "I3",
            "text": "user answered front-end with more bytes than its requests explain",
            "client": "front-end",
            "server": "user",
            "server_port": 80,
            "observed": 731_000.0,
            "expected": 630_000.0,
            "unit": "bytes",
        }
        new = {
            "family": "I1",
            "text": "front-end never spoke to this address before",
            "client": "front-end",
            "server": DROP,
            "server_port": 443,
            "observed": 3.0,
            "expected": 0.0,
            "unit": "connections",
        }
        reasons = [new | extra, chain | extra] if guilty else [chain | extra]
        rows.append(
            {
                "ts": int(row.window_start),
                "window_s": int(row.window_s),
                "score": row.score,
                "threshold": row.threshold,
                "budget": 1.0,
                "reasons": reasons,
                **extra,
            }
        )
    return sorted(rows, key=lambda alert: (alert["ts"], alert["window_s"]))
