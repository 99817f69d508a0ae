"""One stream of alerts over all window lengths: stream.parquet and stream.jsonl, beside the files per length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir.files import atomic, write_json, write_jsonl

if TYPE_CHECKING:
    from mimir.detectors.base import Detector, Scores
    from mimir.flows.edges import EdgeSeries
    from mimir.flows.identity import Identity

FILES = ("stream.parquet", "stream.jsonl", "detector/stream.json")


@dataclass(frozen=True)
class Judged:
    """One window length: its detector, the test windows, and the scores of both recordings."""

    detector: Detector
    series: EdgeSeries
    benign: Scores
    test: Scores


def filter_of(alert: Mapping[str, Any], identity: Identity) -> str:
    """`tshark -Y` filter for the packets that the strongest reason of an alert is about; "" without a reason."""
    from mimir.flows.display_filter import display_filter
    from mimir.flows.edges import EdgeKey

    reason = next(iter(alert["reasons"]), None)
    if reason is None:
        return ""
    edge = EdgeKey(reason["client"], reason["server"], reason["server_port"], reason.get("proto") or "tcp")
    return display_filter(identity, edge, reason["since"], alert["ts"] + alert["window_s"])


def write_stream(path: Path, judged: Mapping[int, Judged], alerts_per_day: float, identity: Identity) -> list[str]:
    """Combine the lengths; returns the files written, [] with a single length or where lengths do not fit together."""
    import pandas as pd

    from mimir.detectors.alerts import alert_row, explained
    from mimir.detectors.stream import Stream, on_grid

    for name in FILES:
        (path / name).unlink(missing_ok=True)
    grid_s = max(judged)
    if len(judged) < 2 or any(grid_s % w for w in judged):
        return []
    stream = Stream()
    benign, test = on_grid({w: j.benign for w, j in judged.items()}), on_grid({w: j.test for w, j in judged.items()})
    calibrated = stream.calibrate(benign)
    threshold = stream.threshold(alerts_per_day)
    scores, lengths = stream.score(test)
    tables = []
    for recording, grid, values in (("calibrate", benign, calibrated), ("test", test, scores)):
        columns = {"window_s": grid_s, "window_start": grid.window_start, "recording": recording, "score": values}
        columns |= {"p_value": stream.calibration.p_values(values), "threshold": threshold.value}
        tables.append(pd.DataFrame(columns | {"alert": values > threshold.value}))
    with atomic(path / "stream.parquet") as temporary:
        pd.concat(tables, ignore_index=True).to_parquet(temporary, index=False)
    rows = []
    p_values = stream.calibration.p_values(scores)
    for n in (scores > threshold.value).nonzero()[0].tolist():
        window_s = int(lengths[n])
        part, at = judged[window_s], int(test.strongest[window_s][n])
        index = (at - int(part.series.window_start[0])) // window_s
        head = {
            "ts": int(test.window_start[n]),
            "window_s": grid_s,
            "score": float(scores[n]),
            "p_value": float(p_values[n]),
        }
        head |= {"threshold": threshold.value, "budget": alerts_per_day, "from_window_s": window_s, "from_ts": at}
        rows.append(head | alert_row(explained(part.detector, part.series.at(index)), grid_s / window_s))
    write_jsonl(path / "stream.jsonl", [row | {"display_filter": filter_of(row, identity)} for row in rows])
    write_json(path / "detector" / "stream.json", asdict(threshold) | {"windows_s": sorted(judged, reverse=True)})
    return list(FILES)
