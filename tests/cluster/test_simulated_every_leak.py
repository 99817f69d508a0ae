"""Every scenario of conf/exfiltration is acted out in every application of conf/app, and every byte arrives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from mimir.cluster.base import RecordingOrder
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.leak import Leak
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import CONF, SHORT_LEAK, START_S, make_spec

APPS = sorted(file.stem for file in Path(CONF / "app").glob("*.yaml") if OmegaConf.load(file).services)
UNSENT = ("none", "synthetic")
SCENARIOS = sorted(
    file.stem
    for file in Path(CONF / "exfiltration").glob("*.yaml")
    if file.stem not in UNSENT and not file.stem.startswith("tool_")
)


@pytest.mark.parametrize("app", APPS)
def test_every_scenario_arrives_whole(tmp_path: Path, app: str) -> None:
    for scenario in SCENARIOS:
        spec = make_spec({"exfiltration": SHORT_LEAK}, exfiltration=scenario, app=app)
        assert spec.cluster.name == "simulated"
        order = RecordingOrder("test", START_S, 300, (1, 2), True, tmp_path)
        leak = Leak(spec, Layout(spec.app, spec.cluster), order, [], np.random.SeedSequence(1))
        rows = np.concatenate([piece for k in range(5) for piece in leak.slice((START_S + 60 * (k + 1)) * NS_PER_S)])
        (truth,) = leak.ledger()
        assert truth.bytes_delivered == truth.bytes_intended > 0, scenario
        assert truth.sha256_received == truth.sha256_sent, scenario
        assert len(truth.pods) == len(truth.path)
        assert int(rows["payload"].sum()) > truth.bytes_delivered
