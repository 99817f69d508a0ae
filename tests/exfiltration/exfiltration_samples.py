"""Scenarios for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import TypeAdapter

from mimir.spec.exfiltration import ExfiltrationSpec

CONF = Path(__file__).resolve().parents[2] / "conf" / "exfiltration"
SERVICES = ("front-end", "user", "user-db", "catalogue", "catalogue-db", "orders", "orders-db")
EDGES = (
    ("outside", "front-end"),
    ("front-end", "user"),
    ("front-end", "catalogue"),
    ("front-end", "orders"),
    ("orders", "user"),
    ("user", "user-db"),
    ("orders", "orders-db"),
    ("catalogue", "catalogue-db"),
)


def scenario(name: str, **changes: Any) -> ExfiltrationSpec:
    """An option of conf/exfiltration as it is for Sock Shop, with some values changed."""
    return replace(_option(name), **changes)


@cache
def _option(name: str) -> ExfiltrationSpec:
    app = OmegaConf.load(CONF.parent / "app" / "sockshop.yaml")
    config = OmegaConf.create({"app": app, "exfiltration": OmegaConf.load(CONF / f"{name}.yaml")})
    return TypeAdapter(ExfiltrationSpec).validate_python(OmegaConf.to_container(config.exfiltration, resolve=True))


def tunnel(**changes: Any) -> ExfiltrationSpec:
    """The dns_tunnel option with values of its `dns` part changed."""
    spec = scenario("dns_tunnel")
    assert spec.dns is not None
    return replace(spec, dns=replace(spec.dns, **changes))
