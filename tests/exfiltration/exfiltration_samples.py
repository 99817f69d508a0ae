"""Scenarios for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from mimir.spec.schema import ExfiltrationSpec

CONF = Path(__file__).resolve().parents[2] / "conf" / "exfiltration"
SERVICES = ("front-end", "user", "user-db", "catalogue", "catalogue-db", "orders")
EDGES = (
    ("outside", "front-end"),
    ("front-end", "user"),
    ("front-end", "catalogue"),
    ("front-end", "orders"),
    ("orders", "user"),
    ("user", "user-db"),
    ("catalogue", "catalogue-db"),
)


def scenario(name: str, **changes: Any) -> ExfiltrationSpec:
    """An option of conf/exfiltration, with some values changed."""
    plain = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    return replace(TypeAdapter(ExfiltrationSpec).validate_python(plain), **changes)


def tunnel(**changes: Any) -> ExfiltrationSpec:
    """The dns_tunnel option with values of its `dns` part changed."""
    spec = scenario("dns_tunnel")
    assert spec.dns is not None
    return replace(spec, dns=replace(spec.dns, **changes))
