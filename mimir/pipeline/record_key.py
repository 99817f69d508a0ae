"""What decides the packets of a recording, as the key under which runs share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mimir.cluster.base import RecordingOrder
from mimir.cluster.synthetic import CHANNEL as SYNTHETIC
from mimir.pipeline.cache import PACKAGE, stage_key
from mimir.spec.load import load_identity

SPEC_FILES = tuple(f"spec/{name}.py" for name in ("app", "change", "cluster", "exfiltration", "load"))
#: of `spec` only what recordings are made by: a new detector must not make them stale
RECORD_ROOMS = ("apps", "load", "exfiltration", "capture", *SPEC_FILES, "files.py", "jit.py", "units.py")
FLOW_FILE_ROOMS = ("flows/foreign", "flows/identity.py", "flows/addresses.py", "flows/listings.py")
_NOT_SENT = (
    "mix",
    "mixes",
    "session",
)  # of app.users: shares come with the load, and no size depends on what a session knows


def record_key(plain: Mapping[str, Any], order: RecordingOrder) -> str:
    """What decides the packets of a recording: benign ones do not depend on the exfiltration, none on the detector."""
    users = plain["app"]["users"]
    part = {
        "app": {**plain["app"], "users": {k: v for k, v in users.items() if k not in _NOT_SENT}},
        "cluster": plain["cluster"],
        "load": load_identity(plain["load"], users, order.name),
        "capture": {k: plain["capture"][k] for k in ("snaplen_bytes", "payload")},
        "order": [order.name, order.start_s, order.duration_s, list(order.entropy)],
        "exfiltration": plain["exfiltration"] if order.leaking and not _benign_capture(plain) else None,
    }
    if order.leaking and part["load"].get("trigger_separate"):
        part["apart_s"] = plain["evaluation"]["recovery_s"]  # triggers keep that far from incidents
    if order.baseline is not None and not _benign_capture(plain):
        part["baseline"] = asdict(order.baseline)
    files = {k: _file_state(v) for k, v in plain["cluster"].items() if isinstance(v, str) and Path(v).exists()}
    if plain["cluster"]["name"] == "netns":
        part["programs"] = _programs(plain)
    return stage_key("record", _rooms(plain["cluster"]["name"]), part, files)


def _rooms(cluster: str) -> tuple[str, ...]:
    """The code that makes recordings of one kind of cluster; testbeds lean on the simulated one for what happens when."""
    common = sorted(f"cluster/{source.name}" for source in (PACKAGE / "cluster").glob("*.py"))
    own = [f"cluster/{kind}" for kind in ("simulated", "netns") if cluster in (kind, "netns")]
    foreign = FLOW_FILE_ROOMS if cluster == "recorded" else ()  # files of flow records are read by the flows room
    return (*RECORD_ROOMS, *common, *own, *foreign)


def _programs(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Which real programs act in a testbed: it depends on what is installed, and decides the packets."""
    from mimir.cluster.netns.real.base import real_entry, real_or_framed
    from mimir.spec.build import from_plain

    spec = from_plain(plain)
    return {"entry": real_entry(spec), "stores": real_or_framed(spec)}


def _benign_capture(plain: Mapping[str, Any]) -> bool:
    """Does the leak leave the packets alone? Triggers keep away from incidents, so that then they are not the same."""
    return plain["exfiltration"]["channel"] in ("none", SYNTHETIC) and not plain["load"]["triggers"]


def _file_state(name: str) -> str:
    """Names, sizes and modification times of a user's input files: cheap, and enough to notice a change."""
    path = Path(name)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return repr([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()])
