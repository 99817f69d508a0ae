"""What a comparison measures: every packet of an edge is placed, sums are those of the edges, overrides reach their application."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimir.errors import SpecError
from mimir.pipeline.fidelity.cases import NAMES, Case, cases, record_cases
from mimir.pipeline.fidelity.judgement import residuals, verdicts
from mimir.pipeline.fidelity.measuring import measured
from mimir.pipeline.fidelity.packets import EDGE, SIZE_STEP, blocks_of, packets_of

SMALL = [
    "load.users=3", "load.duration_s=200", "capture.windows_s=[10]", "detector.windows_s=[10]", "exfiltration.incident_duration_s=30",
    "exfiltration.gap_s=10", "exfiltration.tail_s=10", "evaluation.block_s=50",
]  # fmt: skip


def test_cases_are_one_spec_on_both_clusters_with_and_without_the_leak() -> None:
    words = [
        "load.users=5",
        "wordpress:load.users=9",
        "wordpress:capture.windows_s=[10]",
        "wordpress:detector.windows_s=[10]",
    ]
    both = cases(["sockshop", "wordpress"], words, ["invariants", "cusum"])
    windows = [{name: part["windows_s"] for name, part in case.detectors.items()} for case in both]
    assert windows == [dict.fromkeys(["invariants", "cusum"], length) for length in ([60, 10], [60, 10], [10], [10])]
    assert [(c.app, c.cluster) for c in both] == [
        (a, k) for a in ("sockshop", "wordpress") for k in ("netns", "simulated")
    ]
    assert [c.leaking["load"]["users"] for c in both] == [5, 5, 9, 9]
    real, model = both[:2]
    for part in ("app", "load", "exfiltration", "capture", "evaluation"):
        assert real.leaking[part] == model.leaking[part], part
    assert real.quiet["exfiltration"]["channel"] == "none"
    assert real.leaking["cluster"]["real_stores"] is False
    assert {name: c.plain(name) is c.quiet for c in both[:1] for name in NAMES} == {"fit": False, "calibrate": False, "test": False, "quiet": True}  # fmt: skip


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecError, match="windows"):
        cases(["sockshop"], ["load.duration_s=10"])
    with pytest.raises(SpecError, match="capture does not compute"):  # before 45 minutes of recording, not after
        cases(["sockshop"], ["sockshop:detector.windows_s=[7]"], ["allowlist"])
    with pytest.raises(SpecError, match="which is not asked for"):
        cases(["wordpress"], ["sockshop:load.users=5"])


@pytest.mark.slow
def test_every_packet_of_a_recording_is_placed(tmp_path: Path) -> None:
    case = next(c for c in cases(["bookinfo"], SMALL, ["random"]) if c.cluster == "simulated")
    recorded = record_cases([case], tmp_path, 1, lambda _: None)["bookinfo", "simulated"]
    sizes, lengths = packets_of(recorded["fit"], 120.0, 10.0)
    blocks = blocks_of(recorded["fit"], 10, 50)
    counted, placed = blocks.groupby(EDGE)["packets"].sum(), sizes.groupby(EDGE)["count"].sum()
    assert placed.to_dict() == counted.to_dict()
    assert len(counted) > 5
    for way in ("request", "response"):
        part = sizes[sizes["way"] == way]
        rounded = (part["size"] * part["count"]).groupby([part[c] for c in EDGE]).sum()
        exact = blocks.groupby(EDGE)[f"{way}_bytes"].sum()
        assert np.all(np.abs(rounded - exact.loc[rounded.index]) <= SIZE_STEP / 2 * part.groupby(EDGE)["count"].sum())
    begun = blocks.groupby(EDGE)["connections"].sum()
    assert lengths.groupby(EDGE)["count"].sum().to_dict() == begun[begun > 0].to_dict()
    assert blocks["windows"].eq(5).all()
    _judged(case, recorded)
    of = {("bookinfo", "simulated"): recorded}
    tables = measured([case], of, tmp_path, 1, lambda _: None)  # by worker processes
    files = {name: [len(pd.read_parquet(path)) for path in paths] for name, paths in tables.items()}
    assert files["blocks"][0] == len(blocks)
    assert {name: len(rows) for name, rows in files.items()} == {
        "blocks": 3,
        "sizes": 3,
        "lengths": 3,
        "residuals": 1,
        "verdicts": 2,  # the flagship and random
    }


def _judged(case: Case, recorded: dict[str, object]) -> None:
    """Residuals are around zero, and both test recordings are judged."""
    table = residuals(case.spec, recorded, 10, 1, 0.01)  # type: ignore[arg-type]
    assert set(table["window"]) == set(range(20))
    off = (table["observed"] - table["expected"]).groupby(table["counter"]).mean()
    assert (off.abs() < table["observed"].mean()).all()
    rows = verdicts(case.spec, recorded)  # type: ignore[arg-type]
    days = {row["recording"]: row["value"] for row in rows if row["measure"] == "benign_days"}
    assert days["quiet"] == pytest.approx(200 / 86_400)
    assert 0 < days["test"] < days["quiet"]
    assert len({row["incident"] for row in rows if row["measure"] == "detected"}) == 3
