"""Recordings that several tests look at, rendered once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from mimir.cluster.base import Recording
from tests.cluster.simulated_samples import SHORT_LEAK, make_recording, make_spec, read_packets

SMALL = {"load": {"users": 40}}


@pytest.fixture(scope="session")
def benign(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Five minutes of Sock Shop without a leak and without losses."""
    spec = make_spec({**SMALL, "cluster": {"transport": {"retransmit_probability": 0.0}}})
    return make_recording(spec, tmp_path_factory.mktemp("benign"))


@pytest.fixture(scope="session")
def benign_packets(benign: Recording) -> dict[str, NDArray[Any]]:
    return read_packets(benign)


@pytest.fixture(scope="session")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    """The same five minutes with each of the leaks."""
    found = {}
    for name in ("direct", "relay_chain", "dns_tunnel"):
        changes: dict[str, Any] = {**SMALL, "exfiltration": SHORT_LEAK}
        changes["cluster"] = {"transport": {"retransmit_probability": 0.0}}
        folder: Path = tmp_path_factory.mktemp(name)
        found[name] = make_recording(make_spec(changes, exfiltration=name), folder)
    return found
