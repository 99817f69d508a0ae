"""A finished run directory in miniature: every file of docs/concepts/run-directory.md, seeded and consistent.

`build_run_directory(folder)` writes one Sock Shop run in well under a second; `Sample` says what happened in it.
The numbers are made, not measured, but they agree with each other: metrics.json follows from scores.parquet and
truth.jsonl, bytes of a leak stand in edges.parquet, manifest.json holds the digests of what was written.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np

from mimir.files import read_json, sha256, to_json, write_json, write_jsonl, write_text
from mimir.units import HOUR_S, NS_PER_S
from tests.support.sample_metrics import sample_metrics
from tests.support.sample_story import CALLS, LEAK_PATH, START_S, Sample, sample_entities, sample_timeline, sample_truth
from tests.support.sample_tables import sample_alerts, sample_edges, sample_scores, write_graphs

__all__ = ["Sample", "build_run_directory", "sample_spec", "update"]


def build_run_directory(folder: Path, sample: Sample | None = None) -> Path:
    """Write the run directory under `folder` and return it; no report, no figures (those are what is tested)."""
    sample = sample or Sample()
    rng = np.random.default_rng(sample.seed)
    spec = sample_spec(sample)
    run = folder / f"sockshop-{spec['exfiltration']['name']}-{sample.detector}-s{sample.seed}-{_signature(spec)}"
    run.mkdir(parents=True)
    truth = sample_truth(sample)
    write_text(run / "spec.yaml", to_json(spec, indent=2) + "\n")  # JSON is YAML
    write_json(
        run / "plan.json",
        {"stages": ["record", "edges", "detect", "evaluate", "report"], "recordings": list(sample.recordings)},
    )
    write_json(
        run / "environment.json",
        {
            "mimir": "1.0.0",
            "code": "0" * 16,
            "python": "3.11.7",
            "packages": {"numpy": "2.4.6", "pandas": "3.1.1"},
            "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
            "platform": "Linux-6.1-x86_64",
            "cpus": 2,
            "executable": "python",
        },
    )
    write_jsonl(run / "truth.jsonl", truth)
    write_jsonl(run / "timeline.jsonl", sample_timeline(sample, truth))
    write_jsonl(run / "entities.jsonl", sample_entities())
    _captures(run, sample)
    if sample.state == "done":
        _analysis(run, sample, spec, truth, rng)
    _status(run, sample)
    return run


def _analysis(
    run: Path, sample: Sample, spec: dict[str, Any], truth: list[dict[str, Any]], rng: np.random.Generator
) -> None:
    edges = sample_edges(sample, truth, rng)
    edges.to_parquet(run / "edges.parquet", index=False)
    write_graphs(run, edges)
    scores = sample_scores(sample, truth, rng)
    scores.to_parquet(run / "scores.parquet", index=False)
    write_jsonl(run / "alerts.jsonl", sample_alerts(sample, scores, truth))
    write_json(run / "metrics.json", sample_metrics(scores, truth, spec, len(edges)))
    params = {key: value for key, value in spec["detector"].items() if key not in ("name", "windows_s")}
    state = {"detector": sample.detector, "params": params, "state": {"mean": {"array": "mean"}}}
    for window_s in sample.windows_s:
        folder = run / "detector" / f"w{window_s}"
        write_json(folder / "state.json", state)
        np.savez(folder / "state.npz", mean=rng.random(len(CALLS)))
        threshold = float(scores[scores["window_s"] == window_s]["threshold"].iloc[0])
        write_json(folder / "threshold.json", {"value": threshold, "edges": len(CALLS)})


def sample_spec(sample: Sample) -> dict[str, Any]:
    """The resolved spec of the sample run."""
    leak = sample.incidents > 0
    detector: dict[str, Any] = {"name": sample.detector, "windows_s": list(sample.windows_s)}
    if sample.detector == "invariants":
        detector |= {"families": ["I1", "I2", "I3"], "lags": 1, "ridge": 1.0}
    return {
        "app": {"name": "sockshop", "description": "Weaveworks Sock Shop", "sensitive": ["user-db"]},
        "cluster": {"name": "simulated"},
        "load": {"name": "normal", "users": 100, "duration_s": sample.test_s},
        "exfiltration": {
            "name": "http_relay" if leak else "none",
            "description": "a leak relayed hop by hop" if leak else "no leak",
            "channel": "http_relay" if leak else "none",
            "path_class": "allowed_chain" if leak else "none",
            "path": list(LEAK_PATH) if leak else [],
            "technique": "T1041" if leak else "",
            "rate_bytes_per_min": sample.rate_bytes_per_min if leak else 0.0,
            "bytes_per_message": 4_000,
            "pacing": "jitter",
            "incidents": sample.incidents,
            "incident_duration_s": sample.incident_s,
            "dns": None,
            "tls": None,
            "smtp": None,
            "headers": None,
        },
        "capture": {
            "name": "headers",
            "snaplen_bytes": 96,
            "payload": "dns",
            "windows_s": list(sample.windows_s),
            "connection_timeout_s": 300.0,
            "reorder_ms": 10.0,
            "keep": True,
            "flows": False,
            "flow_active_timeout_s": 0,
        },
        "detector": detector,
        "evaluation": {
            "name": "quick",
            "fit_s": sample.fit_s,
            "calibrate_s": sample.calibrate_s,
            "test_s": sample.test_s,
            "alerts_per_day": 1.0,
            "confidence": 0.95,
            "bootstrap_resamples": 200,
            "block_s": HOUR_S,
            "recovery_s": 300,
            "trigger_recovery_s": 300,
            "expect": {},
        },
        "tracking": {"name": "mlflow", "experiment": "mimir", "uri": None, "artifact_limit_bytes": 50_000_000},
        "seed": sample.seed,
        "reuse": "auto",
        "dry_run": False,
        "workers": 2,
        "verbosity": "normal",
        "paths": {"runs": "runs", "cache": "cache"},
        "experiment": None,
    }


def _signature(spec: dict[str, Any]) -> str:
    kept = {k: v for k, v in spec.items() if k not in ("tracking", "paths", "verbosity", "workers", "reuse", "dry_run")}
    return hashlib.sha256(to_json(kept).encode()).hexdigest()[:8]


def _captures(run: Path, sample: Sample) -> None:
    (run / "capture").mkdir()
    for name, (start, _) in sample.recordings.items():
        header = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 96, 276)  # nanoseconds, SLL2
        packet = bytes(20) + bytes.fromhex(
            "45000028000100004006000a0af4000a0af4000b1f90005000000000000000005010ffff00000000"
        )
        record = struct.pack("<IIII", start, sample.seed % NS_PER_S, len(packet), len(packet)) + packet
        (run / "capture" / f"{name}.pcap").write_bytes(header + record)
    counts = {
        "packets": 1_204_331,
        "bytes": 812_345_678,
        "copies_removed": {
            "service_address": {"packets": 402_110, "bytes": 98_765_432},
            "interface": {"packets": 0, "bytes": 0},
        },
        "skipped": {"arp": 212, "stp": 40},
        "dropped": 0,
        "first_ns": START_S * NS_PER_S,
        "connections_evicted_early": 3,
    }
    write_json(run / "capture.json", {name: counts for name in sample.recordings})


def _status(run: Path, sample: Sample) -> None:
    names = ("record", "edges", "detect", "evaluate")
    done = names if sample.state == "done" else names[:2]
    status: dict[str, Any] = {
        "state": sample.state,
        "stage": done[-1],
        "error": None,
        "exit_code": 0,
        "command": f"python run.py seed={sample.seed}",
        "signature": run.name.rpartition("-")[2],
        "stages": {name: {"seconds": 1.5, "reused": False} for name in done},
    }
    if sample.state == "failed":
        status |= {
            "exit_code": 1,
            "error": "Traceback (most recent call last):\n  …\nmimir.errors.CaptureError: test.pcap: cut off",
        }
    write_json(run / "status.json", status)
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.name not in ("manifest.json", "status.json"))
    rows = {str(p.relative_to(run)): {"sha256": sha256(p), "bytes": p.stat().st_size, "seconds": 0.5} for p in files}
    write_json(run / "manifest.json", {"files": rows})


def update(run: Path, file: str, **changes: Any) -> None:
    """Change top-level keys of a JSON file of the run."""
    write_json(run / file, read_json(run / file) | changes)


def fit_detectors(run: Path, sample: Sample) -> None:
    """Replace the detector states by those of a detector that was really fitted on the sample's edges."""
    from mimir.detectors.registry import build, save_state
    from mimir.flows import load_series, read_workloads

    params = {key: value for key, value in sample_spec(sample)["detector"].items() if key not in ("name", "windows_s")}
    start, end = sample.recordings["fit"]
    workloads = read_workloads(run / "entities.jsonl")
    for window_s in sample.windows_s:
        windows = (end - start) // window_s
        benign = load_series(run / "edges.parquet", "fit", window_s, start, windows, workloads, ["user-db"])
        save_state(build(sample.detector, params).fit(benign), run / "detector" / f"w{window_s}")
