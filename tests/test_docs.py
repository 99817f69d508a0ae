"""The generated reference is up to date, and every value in conf/ says what it means."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "scripts/generate_reference.py")
assert _spec
assert _spec.loader
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


@pytest.mark.parametrize("name", reference.PAGES)
def test_reference_is_up_to_date(name: str) -> None:
    page = ROOT / "docs/reference" / name
    assert page.read_text(encoding="utf-8") == reference.PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_value_has_a_comment(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#")
    if path.parent.name in ("app", "hydra"):
        return  # an application's comments stand above groups of values
    silent = [key for key, value, comment in reference.keys(text) if value and not comment and key != "name"]
    assert not silent, silent


def test_every_detector_states_its_facts() -> None:
    from importlib import import_module

    from mimir.detectors.registry import DETECTORS

    for name, target in DETECTORS.items():
        module, _, attribute = target.partition(":")
        text, said = reference.facts(getattr(import_module(module), attribute).__doc__.replace("\n    ", "\n"))
        assert text, name
        assert set(said) == set(reference.FACTS), (name, sorted(said))
        assert said["Supervised"].split()[0] in ("yes", "no"), name


def test_every_detector_and_decision_is_documented() -> None:
    from mimir.detectors.registry import DETECTORS

    page = (ROOT / "docs/concepts/detectors.md").read_text(encoding="utf-8")
    assert not [name for name in DETECTORS if f"`{name}`" not in page]
