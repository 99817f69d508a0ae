"""Every scenario of conf/exfiltration can be planned for every application of conf/app."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mimir.apps.graph import allowed_edges
from mimir.cluster.check import workload_problems
from mimir.exfiltration.plan import World, plan_incidents
from mimir.exfiltration.validate import problems
from tests.cluster.simulated_samples import CONF, make_spec

APPS = sorted(file.stem for file in Path(CONF / "app").glob("*.yaml") if OmegaConf.load(file).services)
SCENARIOS = sorted(file.stem for file in Path(CONF / "exfiltration").glob("*.yaml") if file.stem != "none")


@pytest.mark.parametrize("app", APPS)
def test_scenarios_fit_the_application(app: str) -> None:
    for name in SCENARIOS:
        spec = make_spec(app=app, exfiltration=name)
        edges = allowed_edges(spec.app)
        assert problems(spec.exfiltration, spec.app.services, edges, 3600) == []
        incidents = plan_incidents(spec.exfiltration, 0, 3600, (1, 2), World(edges))
        assert len(incidents) == spec.exfiltration.incidents
        assert {incident.path[-1] for incident in incidents} == {"outside"}


@pytest.mark.parametrize(
    ("app", "pods", "refused"), [("robotshop", 1, True), ("robotshop", 2, False), ("sockshop", 1, False)]
)
def test_a_fan_that_gathers_from_one_pod_alone_is_refused(app: str, pods: int, refused: bool) -> None:
    services = {"mongodb": {"replicas": pods}} if app == "robotshop" else {}
    spec = make_spec({"app": {"services": services}}, app=app, exfiltration="fan_in")
    texts = [str(p) for p in workload_problems(spec) if p.where == "exfiltration.fan.stores"]
    assert bool(texts) is refused
    assert all("has mongodb alone to gather from" in text and "relay_chain" in text for text in texts)
