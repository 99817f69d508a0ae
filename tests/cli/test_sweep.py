from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from mimir.files import read_json
from tests.support.cli import SMALL, mimir, mimir_here, run_directories


def sweep_folder(folder: Path) -> Path:
    (sweep,) = (folder / "runs" / "sweeps").iterdir()
    return sweep


@pytest.mark.parametrize(
    ("launcher", "leaks"),
    [
        ("basic", ("direct",)),
        pytest.param("basic", ("relay_chain", "direct"), marks=pytest.mark.slow),
        pytest.param("joblib", ("relay_chain", "direct"), marks=pytest.mark.slow),
    ],
)
def test_sweep_shares_recordings_and_compares(tmp_path: Path, launcher: str, leaks: tuple[str, ...]) -> None:
    run = mimir_here if len(leaks) == 1 else mimir
    done = run(
        tmp_path, "-m", *SMALL, "detector=allowlist,egress_volume", f"exfiltration={','.join(leaks)}", f"hydra/launcher={launcher}"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(run_directories(tmp_path)) == 2 * len(leaks)
    records = list((tmp_path / "runs" / ".cache").glob("record-*"))
    assert len(records) == 2 + len(leaks)  # fit and calibrate once, a test recording for each exfiltration
    rows = list(csv.DictReader((sweep_folder(tmp_path) / "comparison.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(leaks)
    assert (sweep_folder(tmp_path) / "comparison.html").stat().st_size > 1000
    jobs = re.findall(
        r"^job (\d+) of (\d+): app=sockshop detector=(\w+) exfiltration=\w+ seed=1", done.stderr, re.MULTILINE
    )
    assert sorted(int(number) for number, _, _ in jobs) == list(range(1, 2 * len(leaks) + 1))
    assert {(total, detector) for _, total, detector in jobs} == {
        (str(2 * len(leaks)), name) for name in ("allowlist", "egress_volume")
    }
    assert "allowlist" in done.stdout


def test_failing_job_is_shown_and_the_others_complete(tmp_path: Path) -> None:
    done = mimir_here(
        tmp_path, "-m", *SMALL, "detector=egress_volume", "exfiltration=direct", "exfiltration.rate_bytes_per_min=100000,-1"
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "rate_bytes_per_min" in done.stderr
    assert "1 of 2 jobs failed" in done.stderr
    (finished,) = run_directories(tmp_path)
    assert read_json(finished / "status.json")["state"] == "done"


def test_dry_run_of_a_sweep_compares_and_logs_nothing(tmp_path: Path) -> None:
    done = mimir_here(tmp_path, "-m", "dry_run=true", "detector=allowlist,pca_spe")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"recordings"') == 2
    assert run_directories(tmp_path) == []
    assert not (tmp_path / "mlruns").exists()
    assert not list((tmp_path / "runs" / "sweeps").glob("*/comparison.*"))
