"""Every channel, path and pacing has its ATT&CK techniques, and scenarios name one of those."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from mimir.exfiltration.techniques import CHANNELS, PACINGS, PATHS, TECHNIQUES
from mimir.spec.exfiltration import ExfiltrationSpec, FanSpec, PathClass

CONF = Path(__file__).resolve().parents[2] / "conf" / "exfiltration"
HINTS = get_type_hints(ExfiltrationSpec)


def test_channels_and_pacings_are_those_of_the_schema() -> None:
    assert set(CHANNELS) == set(get_args(HINTS["channel"])) - {"none"}
    assert set(PACINGS) == set(get_args(HINTS["pacing"]))


def test_path_classes_and_what_address_and_fan_add_are_covered() -> None:
    kinds = {f"fan: {kind}" for kind in get_args(get_type_hints(FanSpec)["kind"])}
    assert set(PATHS) == {c.value for c in PathClass} - {"none"} | kinds | {"address: pod"}


@pytest.mark.parametrize("table", [CHANNELS, PATHS, PACINGS])
def test_every_entry_names_known_techniques(table: dict[str, object]) -> None:
    for facts in table.values():
        techniques, why = facts  # type: ignore[misc]
        assert techniques
        assert why
        assert set(techniques) <= set(TECHNIQUES)


@pytest.mark.parametrize("scenario", sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none"))
def test_scenarios_name_an_exfiltration_technique_of_their_channel(scenario: str) -> None:
    values = yaml.safe_load((CONF / f"{scenario}.yaml").read_text(encoding="utf-8"))
    assert values["technique"] == CHANNELS[values["channel"]].techniques[0]
    assert TECHNIQUES[values["technique"]][1] == "Exfiltration"


def test_every_technique_is_used() -> None:
    assert {t for table in (CHANNELS, PATHS, PACINGS) for facts in table.values() for t in facts.techniques} == set(
        TECHNIQUES
    )
