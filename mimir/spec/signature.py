"""Run identity: two specs that describe the same experiment have the same signature."""

from __future__ import annotations

import hashlib
from typing import Any

from mimir.files import to_json
from mimir.spec.detector import SUPERVISED

SCHEMA_VERSION = 1
#: keys that say how, not what: they never change a result
NOT_IDENTITY = ("tracking", "hydra", "paths", "verbosity", "workers", "reuse", "dry_run")
#: the same inside `capture`
NOT_IDENTITY_OF_CAPTURE = ("engine",)
#: the same inside `evaluation`, where the detector learns from benign windows only
OF_SUPERVISED = ("train_s", "train")


def digest(value: Any) -> str:
    """SHA-256 of canonical JSON, hex."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()


def signature(plain: dict[str, Any]) -> str:
    """Eight hex digits that name a spec (see docs/adr/0002)."""
    identity = {key: value for key, value in plain.items() if key not in NOT_IDENTITY}
    if "capture" in identity:
        how = identity["capture"].items()
        identity["capture"] = {key: value for key, value in how if key not in NOT_IDENTITY_OF_CAPTURE}
    if "evaluation" in identity and identity.get("detector", {}).get("name") not in SUPERVISED:
        rules = identity["evaluation"].items()
        identity["evaluation"] = {key: value for key, value in rules if key not in OF_SUPERVISED}
    return digest({"schema": SCHEMA_VERSION, "spec": identity})[:8]
