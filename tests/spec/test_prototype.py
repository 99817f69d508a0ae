"""Experiment files of the research prototype become experiments that compose and validate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mimir.errors import MimirError
from mimir.spec.__main__ import main
from mimir.spec.prototype import read_prototype

ROOT = Path(__file__).resolve().parents[2]


def document(**leaks: Any) -> dict[str, Any]:
    """The keys that the prototype's coordinator reads."""
    return {
        "application_name": "sockshop", "experiment_name": "sockshop_four", "experiment_length_sec": 7200,
        "orchestrator": "kubernetes", "network_plugin": "none", "setup": {"number_customer_records": 100}, "Deployment": {},
        "experiment": {"number_background_locusts": 60, "traffic_type": "viral", "background_locust_spawn_rate": 1,
                       "number_reps_workload_pattern": 2},
        "exfiltration_info": {
            "sensitive_ms": ["user-db"], "exfil_paths": [["internet", "front-end", "user", "user-db"], ["user-db"]],
            "exfil_protocols": ["tcp", "tcp"], "exfil_methods": ["DET", "dnscat"],
            "exfil_StartEnd_times": [[1000, 1300], [3000, 3060]],
            "DET_min_exfil_data_per_packet_bytes": [500, 100], "DET_max_exfil_data_per_packet_bytes": [1500, 100],
            "DET_avg_exfiltration_rate_KB_per_sec": [1.667, 0.0167],
            "exfiltration_path_class_which_installer": {}, "physical_attacks": True, **leaks,
        },
    }  # fmt: skip


def saved(folder: Path, content: Any) -> Path:
    path = folder / "exp.json"
    path.write_text(json.dumps(content))
    return path


def test_each_leak_becomes_an_experiment(tmp_path: Path) -> None:
    chain, tunnel = read_prototype(saved(tmp_path, document()))
    assert chain.groups == {"app": "sockshop", "load": "viral", "exfiltration": "relay_chain"}
    assert chain.values["load"] == {"users": 60, "duration_s": 7200, "day_s": 3600}
    assert chain.values["exfiltration"] == {
        "path": ["user-db", "user", "front-end", "outside"], "rate_bytes_per_min": 100_020, "bytes_per_message": 1000,
        "incidents": 1, "incident_duration_s": 300, "pacing": "jitter",
    }  # fmt: skip
    lost = "\n".join(chain.lost)
    for key in ("setup", "Deployment", "background_locust_spawn_rate", "exfil_protocols", "500 to 1500", "1000 s"):
        assert key in lost
    assert (tunnel.name, tunnel.groups["exfiltration"]) == ("sockshop_four_2", "dns_tunnel")
    assert tunnel.values["exfiltration"]["path"] == ["user-db", "kube-dns", "outside"]


def test_the_written_files_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Composed and validated by the real command; `dry_run` stops before anything is made."""
    assert main(["import-prototype", str(saved(tmp_path, document())), "--out", str(tmp_path / "experiment")]) == 0
    assert "experiment=sockshop_four_1" in capsys.readouterr().out
    for number in (1, 2):
        command = [
            sys.executable, "run.py", "--config-dir", str(tmp_path), f"experiment=sockshop_four_{number}", "dry_run=true",
            "tracking=none", f"hydra.run.dir={tmp_path}", f"paths.runs={tmp_path / 'runs'}",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert '"duration_s": 7200' in done.stdout


def test_an_analysis_file_becomes_a_recorded_run(tmp_path: Path) -> None:
    content = document() | {"pcap_file_name": "a.pcap", "pod_creation_log_name": "a_cluster_creation_log.txt"}
    (one,) = read_prototype(saved(tmp_path, content))
    assert one.groups == {"app": "sockshop", "cluster": "recorded", "exfiltration": "none"}
    assert one.values["cluster"] == {"capture": "a.pcap", "entities": "a_cluster_creation_log.txt"}
    assert any("cluster.truth" in line for line in one.lost)


def test_without_leaks_and_with_names_that_are_not_known(tmp_path: Path) -> None:
    content = document(exfil_paths=[]) | {"application_name": "eShop", "experiment": {"traffic_type": "lunar"}}
    (one,) = read_prototype(saved(tmp_path, content))
    assert one.groups == {"app": "generic", "load": "normal", "exfiltration": "none"}
    assert sum("eShop" in line or "lunar" in line for line in one.lost) == 2


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[1, 2]", "is no experiment"), ("{", "cannot be read as JSON"), ('{"a": 1}', "is no experiment"),
        ('{"application_name": "x", "exfiltration_info": {"exfil_paths": [3]}}', "another form"),
        ('{"application_name": "x", "exfiltration_info": 7}', "another form"),
    ],
)  # fmt: skip
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, content: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(MimirError, match=what):
        read_prototype(path)
    assert main(["import-prototype", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
