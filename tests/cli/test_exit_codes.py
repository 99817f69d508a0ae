from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimir.files import read_json
from tests.support.cli import SMALL, mimir, mimir_here, run_directories


def test_wrong_option_is_exit_2_with_the_closest_name(tmp_path: Path) -> None:
    done = mimir(tmp_path, "exfiltration=relay_chian")
    assert done.returncode == 2, done.stderr
    assert "did you mean exfiltration=relay_chain?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_wrong_key_is_exit_2_with_the_closest_name(tmp_path: Path) -> None:
    done = mimir_here(tmp_path, "exfiltration.rate_bytes_per_minute=3")
    assert done.returncode == 2, done.stderr
    assert "did you mean exfiltration.rate_bytes_per_min?" in done.stderr


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    done = mimir_here(
        tmp_path, "seed=-1", "evaluation.alerts_per_day=0", "detector.windows_s=[7]", "capture.snaplen_bytes=1"
    )
    assert done.returncode == 2, done.stderr
    for where in ("seed", "evaluation.alerts_per_day", "detector.windows_s", "capture.snaplen_bytes"):
        assert where in done.stderr
    assert run_directories(tmp_path) == []


def test_wrong_types_are_listed_at_once(tmp_path: Path) -> None:
    done = mimir_here(tmp_path, "load.users=many", "evaluation.fit_s=long", "reuse=sometimes", "seed=-1")
    assert done.returncode == 2, done.stderr
    for part in ("load.users", "evaluation.fit_s", "reuse", "got 'many'", "seed must be"):
        assert part in done.stderr


def test_problems_of_the_leak_and_the_expectations_are_found_before_anything_runs(tmp_path: Path) -> None:
    done = mimir_here(
        tmp_path, "exfiltration.path=[user-db,frontend,outside]", "exfiltration.rate_bytes_per_min=-5",
        "+evaluation.expect.event_recal='>=0.9'", "seed=-1", "load.users=-3",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    for part in ("front-end", "exfiltration.rate_bytes_per_min", "event_recall", "seed", "load.users"):
        assert part in done.stderr
    assert run_directories(tmp_path) == []


def test_triggers_that_find_no_place_are_refused_before_anything_runs(tmp_path: Path) -> None:
    done = mimir_here(tmp_path, "evaluation=quick", "load.triggers=[rolling_update,backup_outside]")
    assert done.returncode == 2, done.stderr
    assert "load.triggers do not fit" in done.stderr
    assert run_directories(tmp_path) == []


def test_unreadable_capture_is_exit_1_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "letter.pcap").write_text("this is no capture")
    done = mimir(
        tmp_path, "app=generic", "cluster=recorded", "cluster.capture=letter.pcap", "exfiltration=none", "tracking=none"
    )
    assert done.returncode == 1, done.stderr
    assert "letter.pcap" in done.stderr
    assert "Traceback" not in done.stderr
    assert "to resume" in done.stderr.splitlines()[-1]
    (directory,) = run_directories(tmp_path)
    assert read_json(directory / "status.json")["state"] == "failed"


def test_dry_run_prints_the_plan_and_creates_nothing(tmp_path: Path) -> None:
    done = mimir(tmp_path, "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert '"recordings"' in done.stdout
    assert run_directories(tmp_path) == []


def test_reuse_require_without_a_run_is_exit_1(tmp_path: Path) -> None:
    done = mimir_here(tmp_path, "reuse=require")
    assert done.returncode == 1
    assert "reuse=require" in done.stderr


@pytest.mark.parametrize(("expect", "code"), [("<=1", 0), (">=2", 3)])
def test_expectations_decide_between_0_and_3(small_run: Path, expect: str, code: int) -> None:
    done = mimir_here(small_run, *SMALL, f"+evaluation.expect.event_recall='{expect}'", "detector=egress_volume")
    assert done.returncode == code, done.stderr
    assert ("expectations missed" in done.stderr) == (code == 3)
    assert "to resume" not in done.stderr


def test_a_detector_that_judges_bytes_on_flows_without_is_exit_2(tmp_path: Path) -> None:
    flow = {"flow": {"time": "2024-01-01T00:00:00Z", "verdict": "FORWARDED", "IP": {"source": "10.0.0.1"}}}
    (tmp_path / "flows.json").write_text(json.dumps(flow) + "\n")
    result = mimir_here(
        tmp_path, "app=generic", "cluster=recorded", f"cluster.capture={tmp_path / 'flows.json'}", "exfiltration=none",
        "detector=egress_volume", "tracking=none",
    )  # fmt: skip
    assert result.returncode == 2
    assert "egress_volume judges bytes, and Hubble flows have none" in result.stderr
    assert run_directories(tmp_path) == []
