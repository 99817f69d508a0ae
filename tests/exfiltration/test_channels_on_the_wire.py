"""tshark and the ledger agree on what every scenario sends: protocol, no malformed packet, the stolen bytes themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.channel_wire import figures, play

CONF = Path(__file__).resolve().parents[2] / "conf" / "exfiltration"
#: what the simulated cluster acts out; real programs (tool_*) leak on cluster=netns only
SCENARIOS = sorted(
    path.stem
    for path in CONF.glob("*.yaml")
    if path.stem not in ("none", "synthetic") and not path.stem.startswith("tool_")
)
VARIANTS = {
    "relay_chain": ["exfiltration.body=base64", "exfiltration.address=pod"],
    "dns_tunnel": ["exfiltration.dns.record_type=CNAME", "exfiltration.dns.answer=matching"],
    "dns_direct": ["exfiltration.dns.record_type=A", "exfiltration.dns.encoding=hex"],
    "drip": ["exfiltration.bytes_per_message=1000"],
}

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@needs_tshark
@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_tshark_finds_the_stolen_bytes_and_nothing_wrong(tmp_path: Path, scenario: str) -> None:
    agree(figures(play(scenario, tmp_path)), scenario)


@needs_tshark
@pytest.mark.slow
@pytest.mark.parametrize("scenario", sorted(VARIANTS))
def test_the_same_with_other_parameters(tmp_path: Path, scenario: str) -> None:
    agree(figures(play(scenario, tmp_path, *VARIANTS[scenario])), scenario)


@needs_tshark
@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["direct", "relay_chain"])
def test_notes_of_repeated_segments_are_those_lost_on_purpose(tmp_path: Path, scenario: str) -> None:
    wire = play(scenario, tmp_path, loss=0.3)
    found = figures(wire)
    assert found["digest_agrees"]
    assert wire.repeats > 0
    assert wire.repeats <= found["analysis"]
    assert found["malformed"] == 0


def agree(found: dict[str, object], scenario: str) -> None:
    assert found["recognised"], found
    assert found["malformed"] == found["analysis"] == 0
    assert found["notes"] == {}
    assert found["bytes_recovered"] == found["bytes_in_truth"] > 0  # type: ignore[operator]
    hidden = scenario in ("https", "cloud_storage", "fan_in", "fan_out")
    assert found["digest_agrees"] is (None if hidden else True)
