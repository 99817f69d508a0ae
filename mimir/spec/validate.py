"""Rules that span fields. Every broken rule is reported, not only the first."""

from __future__ import annotations

from collections.abc import Iterator

from mimir.errors import Problem
from mimir.spec.detector import SUPERVISED
from mimir.spec.schema import Spec


def validate(spec: Spec) -> list[Problem]:
    """Problems of a spec whose types are right already; empty when it can run as far as the spec alone can tell."""
    return [problem for rule in RULES for problem in rule(spec)]


def _top(spec: Spec) -> Iterator[Problem]:
    if spec.seed < 0:
        yield Problem("seed", f"must be ≥ 0 (got {spec.seed})", "0, 1, 2 …", "set it on the command line: seed=1")
    if spec.workers < 1:
        yield Problem("workers", f"must be ≥ 1 (got {spec.workers})", "1, 2 …", "set it on the command line: workers=1")


def _capture(spec: Spec) -> Iterator[Problem]:
    windows = spec.capture.windows_s
    where = "conf/capture/default.yaml or on the command line: capture.windows_s=[60,10]"
    if not windows or min(windows) < 1 or len(set(windows)) != len(windows):
        yield Problem(
            "capture.windows_s", f"must be distinct whole seconds (got {windows})", "≥ 1", f"set it in {where}"
        )
    if not 96 <= spec.capture.snaplen_bytes <= 262_144:
        yield Problem("capture.snaplen_bytes", f"is out of range (got {spec.capture.snaplen_bytes})", "96 … 262144")
    if not 0 <= spec.capture.reorder_ms <= 10_000:
        yield Problem("capture.reorder_ms", f"is out of range (got {spec.capture.reorder_ms})", "0 … 10000")
    if spec.capture.connection_timeout_s <= 0:
        yield Problem("capture.connection_timeout_s", f"must be > 0 (got {spec.capture.connection_timeout_s})")
    if spec.capture.flow_active_timeout_s < 0:
        got = spec.capture.flow_active_timeout_s
        yield Problem("capture.flow_active_timeout_s", f"must be ≥ 0 (got {got})", "0 (never), 300 …")


def _windows(spec: Spec) -> Iterator[Problem]:
    wanted, have = spec.detector.windows_s, spec.capture.windows_s
    absent = [w for w in wanted if w not in have]
    if not wanted or len(set(wanted)) != len(wanted):
        yield Problem(
            "detector.windows_s", f"must name at least one window length, each once (got {wanted})", str(have)
        )
    if absent:
        add = ",".join(str(w) for w in [*have, *absent])
        yield Problem("detector.windows_s", f"asks for {absent} s, which the capture does not compute", str(have),
                      f"add them: capture.windows_s=[{add}]")  # fmt: skip


def _evaluation(spec: Spec) -> Iterator[Problem]:
    evaluation = spec.evaluation
    if evaluation.alerts_per_day <= 0:
        yield Problem(
            "evaluation.alerts_per_day", f"must be > 0 (got {evaluation.alerts_per_day})", "e.g. 1 or 0.142857"
        )
    if not 0.5 <= evaluation.confidence < 1:
        yield Problem("evaluation.confidence", f"is out of range (got {evaluation.confidence})", "0.5 … below 1")
    if evaluation.bootstrap_resamples < 10:
        yield Problem("evaluation.bootstrap_resamples", f"is too small (got {evaluation.bootstrap_resamples})", "≥ 10")
    if spec.cluster.name == "recorded":
        return
    longest = max(spec.detector.windows_s, default=60)
    shown = ("train",) if spec.detector.name in SUPERVISED else ()
    for name in ("fit", "calibrate", "test", *shown):
        seconds, key = spec.recording_s(name), "load.duration_s" if spec.load.duration_s else f"evaluation.{name}_s"
        if seconds < 20 * longest:
            yield Problem(key, f"is too short for windows of {longest} s (got {seconds} s)",
                          f"≥ {20 * longest} s", f"set it on the command line: {key}={60 * longest}")  # fmt: skip


def _recorded(spec: Spec) -> Iterator[Problem]:
    cluster = spec.cluster
    if cluster.name != "recorded":
        return
    three = [cluster.fit, cluster.calibrate, cluster.test]
    if (cluster.capture is None) == (None in three):
        yield Problem("cluster", "needs either one capture, or fit, calibrate and test", "",
                      "name them: cluster.capture=trace.pcap, or cluster.fit=a.pcap cluster.calibrate=b.pcap cluster.test=c.pcap")  # fmt: skip
    if len(cluster.split) != 3 or min(cluster.split, default=0) <= 0 or abs(sum(cluster.split) - 1) > 1e-9:
        yield Problem("cluster.split", f"must be three positive shares that add up to 1 (got {cluster.split})",
                      "e.g. [0.4, 0.3, 0.3]")  # fmt: skip
    if cluster.entities and cluster.addresses:
        yield Problem("cluster.addresses", "cannot be combined with cluster.entities", "one of the two", "remove one")


RULES = (_top, _capture, _windows, _evaluation, _recorded)
