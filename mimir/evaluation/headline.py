"""The numbers of metrics.json as one flat table, for trackers, sweeps and expectations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_\-. :/]")


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every defined measure under a name that trackers accept (letters, digits, `_ - . space : /`).

    `eval/<measure>` and `eval/<class>/<measure>` at the primary window length, and the same under `eval/w<seconds>/`
    for every length. Undefined measures are left out.
    """
    out: dict[str, float] = {}
    for window_s, part in metrics["windows"].items():
        numbers = _numbers(part)
        if int(window_s) == metrics["primary_window_s"]:
            out |= {f"eval/{name}": value for name, value in numbers.items()}
        out |= {f"eval/w{window_s}/{name}": value for name, value in numbers.items()}
    return dict(sorted(out.items()))


def _numbers(part: Mapping[str, Any]) -> dict[str, float]:
    """Flat numbers of one window length."""
    out = {name: m["value"] for name, m in part["overall"].items()}
    out |= {"prevalence": part["test"]["prevalence"], "threshold": part["threshold"]["value"]}
    for path_class, measures in part["by_class"].items():
        prefix = _NOT_ALLOWED.sub("_", path_class)
        out |= {f"{prefix}/{k}": m["value"] if isinstance(m, Mapping) else m for k, m in measures.items()}
    return {name: float(value) for name, value in out.items() if value is not None}
