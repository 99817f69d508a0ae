"""What a run directory gives a tracker: params, tags, metrics, the score curve, files. Reads files, knows no tracker."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimir.errors import MimirError
from mimir.files import read_json, sha256
from mimir.spec.detector import SUPERVISED
from mimir.spec.signature import OF_SUPERVISED

NOT_PARAMS = ("tracking", "hydra", "paths", "verbosity", "workers", "reuse", "dry_run")
MAX_VALUE = 6_000  #: characters of a parameter value
MAX_DEPTH = 3  #: parts of a parameter name; deeper structure becomes its value
CURVE_POINTS = 900  #: of all window lengths together
NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_\-. :/]")
#: files that change without the result changing; they do not decide whether a run was logged before
VOLATILE = ("manifest.json", "status.json", "run.log", "environment.json", "plan.json")


@dataclass(frozen=True)
class RunContent:
    """One run directory, read. `metrics` are plain numbers by name, `curve` rows are (name, value, epoch s, step)."""

    folder: Path
    spec: dict[str, Any]
    status: dict[str, Any]
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    curve: list[tuple[str, float, int, int]]

    @property
    def name(self) -> str:
        """Folder name, which is the run's name."""
        return self.folder.name

    @property
    def failed(self) -> bool:
        """True for anything but a run that ended well."""
        return self.status.get("state") != "done"


def read_run(run_directory: Path) -> RunContent:
    """Read a run directory, finished or failed. Raises MimirError when it is none."""
    import yaml

    folder = run_directory.resolve()
    if not (folder / "spec.yaml").exists() or not (folder / "status.json").exists():
        raise MimirError(f"{run_directory} is no run directory (spec.yaml or status.json is missing)")
    spec = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))
    status = read_json(folder / "status.json")
    metrics = _document(folder / "metrics.json")
    numbers = eval_metrics(metrics) if metrics else {}
    numbers |= {f"capture/{name}": value for name, value in _numbers(_document(folder / "capture.json"))}
    numbers |= {f"time/{_clean(name)}": float(s["seconds"]) for name, s in status.get("stages", {}).items()}
    numbers |= {f"load/{name}": value for name, value in _numbers(_test_load(folder))}
    curve = _curve(folder / "scores.parquet") if (folder / "scores.parquet").exists() else []
    return RunContent(folder, spec, status, flat_params(spec), _tags(folder, spec, status), numbers, curve)


def flat_params(spec: Mapping[str, Any]) -> dict[str, str]:
    """The spec as dotted names and text. Structure below MAX_DEPTH becomes the names in it, or JSON; lists become JSON.

    >>> flat_params({"seed": 1, "app": {"name": "shop", "services": {"a": {"port": 1}, "b": {"port": 2}}}, "paths": {"runs": "r"}})
    {'app.name': 'shop', 'app.services': 'a, b', 'seed': '1'}
    """
    kept = {key: value for key, value in spec.items() if key not in NOT_PARAMS}
    if isinstance(kept.get("evaluation"), Mapping) and (spec.get("detector") or {}).get("name") not in SUPERVISED:
        kept["evaluation"] = {k: v for k, v in kept["evaluation"].items() if k not in OF_SUPERVISED}  # made for nobody
    return {name: _short(value) for name, value in sorted(_flat(kept, ()))}


def _flat(value: Mapping[str, Any], parts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        here = (*parts, str(key))
        if isinstance(inner, Mapping) and inner and not _is_structure(inner, here):
            yield from _flat(inner, here)
        else:
            yield _clean(".".join(here)), _text(inner)


def _is_structure(value: Mapping[str, Any], parts: tuple[str, ...]) -> bool:
    """True where the members are things of their own (services, behaviours), not settings."""
    return len(parts) >= MAX_DEPTH or (
        len(parts) > 1 and all(isinstance(inner, Mapping | list) for inner in value.values())
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and value and all(isinstance(inner, Mapping | list) for inner in value.values()):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _short(text: str) -> str:
    if len(text) <= MAX_VALUE:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: MAX_VALUE - 40]}… (sha256 {digest})"


def _clean(name: str) -> str:
    return NOT_ALLOWED.sub("_", name)


def _tags(folder: Path, spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    environment = _document(folder / "environment.json")
    leak = spec.get("exfiltration") or {}
    git = environment.get("git") or {}
    tags = {
        "mimir.run": folder.name,
        "mimir.signature": status.get("signature") or folder.name.rpartition("-")[2],
        "mimir.technique": leak.get("technique") or "none",
        **{
            f"mimir.{group}": (spec.get(group) or {}).get("name")
            for group in ("cluster", "app", "exfiltration", "detector", "load")
        },
        "mimir.path_class": leak.get("path_class"),
        "mimir.seed": spec.get("seed"),
        "mimir.version": environment.get("mimir"),
        "mimir.code": status.get("code") or environment.get("code"),
        "mimir.command": status.get("command"),
        "mimir.content": content_digest(folder),
        "mlflow.source.git.commit": git.get("commit"),
        "mimir.git_dirty": git.get("dirty"),
    }
    return {name: str(value)[:MAX_VALUE] for name, value in tags.items() if value is not None}


def content_digest(folder: Path) -> str:
    """Digest of what a run found out; two directories with the same digest are the same run."""
    manifest = _document(folder / "manifest.json").get("files") or {}
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    whole = hashlib.sha256(str(_document(folder / "status.json").get("state")).encode())
    for name in names:
        if name in VOLATILE or name.startswith("."):
            continue
        known = manifest.get(name, {}).get("sha256") if name.startswith("capture/") else None
        whole.update(f"{name} {known or sha256(folder / name)}\n".encode())
    return whole.hexdigest()[:16]


def eval_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Defined measures of metrics.json under `eval/…` (primary window length) and `eval/w<seconds>/…` (each length)."""
    out: dict[str, float] = {}
    for window_s, block in metrics["windows"].items():
        measures = dict(block["overall"]) | {
            "prevalence": block["test"]["prevalence"],
            "threshold": block["threshold"]["value"],
        }
        for kind, part in block["by_class"].items():
            measures |= {f"{_clean(kind)}/{name}": measure for name, measure in part.items()}
        plain = {n: m["value"] if isinstance(m, Mapping) else m for n, m in measures.items()}
        known = {name: float(value) for name, value in plain.items() if value is not None}
        out |= {f"eval/w{window_s}/{name}": value for name, value in known.items()}
        if int(window_s) == metrics["primary_window_s"]:
            out |= {f"eval/{name}": value for name, value in known.items()}
    return dict(sorted(out.items()))


def _numbers(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, inner in value.items():
        name = _clean(f"{prefix}{key}")
        if isinstance(inner, Mapping):
            yield from _numbers(inner, f"{name}/")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield name, float(inner)


def _curve(path: Path) -> list[tuple[str, float, int, int]]:
    """Scores of the test recording, thinned so that the highest of each stretch of time stays; steps are seconds."""
    import pandas as pd

    table = pd.read_parquet(path, columns=["window_s", "window_start", "recording", "score"])
    table = table[table["recording"] == "test"].sort_values(["window_s", "window_start"])
    lengths = sorted(int(s) for s in table["window_s"].unique())
    rows = []
    for window_s in lengths:
        part = table[table["window_s"] == window_s]
        start, score = part["window_start"].to_numpy(), part["score"].to_numpy()
        step = -(-len(score) // max(1, CURVE_POINTS // len(lengths)))
        for first in range(0, len(score), step):
            i = first + int(np.argmax(score[first : first + step]))
            rows.append((f"score/w{window_s}", float(score[i]), int(start[i]), int(start[i] - start[0])))
    return rows


def _test_load(folder: Path) -> dict[str, Any]:
    """How the load of the test recording differs from the others: load_ratio, mix_distance."""
    plan = _document(folder / "plan.json")
    for key in ("cluster", "load", "test"):
        plan = plan.get(key) or {}
    return plan


def _document(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.exists() else {}
    return value if isinstance(value, dict) else {}
