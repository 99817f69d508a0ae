"""Training leaks are other leaks than those of the test, and windows are labelled as the evaluation labels them."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.evaluation.training import overlap_problems, training_path, window_labels
from mimir.pipeline.training import training_problems, training_spec
from mimir.spec.signature import signature
from tests.support.specs import plain, spec

LASSO = "detector=mimir_lasso"


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("hipsterstore", "bookinfo", "robotshop", "trainticket")]


@pytest.mark.parametrize("app", ["sockshop", "wordpress", *SLOW])
def test_every_application_has_another_way_out(app: str) -> None:
    one = spec([f"app={app}", LASSO])
    assert training_problems(one) == []
    path = training_path(one)
    assert path[-1] == "outside"
    assert path not in {tuple(p) for p in one.app.leak_paths.values()}


def test_scenarios_share_their_training_leaks() -> None:
    shown = {repr(training_spec(spec([LASSO, f"exfiltration={name}"])).exfiltration)
             for name in ("direct", "dns_tunnel")}  # fmt: skip
    assert len(shown) == 1


def test_the_same_path_and_the_same_rate_are_told() -> None:
    one = spec([LASSO, "exfiltration.rate_bytes_per_min=30100"])
    (rate,) = overlap_problems(one, training_spec(one).exfiltration)
    assert rate.where == "evaluation.train.rates_bytes_per_min"
    assert "30000" in rate.what  # 0.3 % apart is the same rate
    two = spec([LASSO, "evaluation.train.path=[user-db,user,front-end,outside]"])
    assert [p.where for p in training_problems(two)] == ["evaluation.train.path"]
    three = spec([LASSO, "exfiltration.path=[orders-db,orders,front-end,outside]"])
    assert training_problems(three) == []  # another path is chosen
    assert training_path(three) != ("orders-db", "orders", "front-end", "outside")


def test_what_cannot_be_recorded_is_told_under_the_keys_of_the_training() -> None:
    wrong = spec([LASSO, "evaluation.train.incidents=99"])
    assert any(p.where.startswith("evaluation.train") for p in training_problems(wrong))
    nothing = spec([LASSO, "exfiltration@evaluation.train=none"])
    assert [p.where for p in training_problems(nothing)] == ["evaluation.train.channel"]
    assert training_problems(spec(["evaluation.train.incidents=99"])) == []  # nobody asks for it


def test_training_leaks_name_only_runs_of_supervised_detectors() -> None:
    changed = "evaluation.train_s=7200"
    assert signature(plain([])) == signature(plain([changed]))
    assert signature(plain([LASSO])) != signature(plain([LASSO, changed]))


def test_windows_are_labelled_by_what_was_delivered() -> None:
    leak = {"incident": "leak-1", "recording": "train", "start": 130.0, "end": 200.0, "channel": "http_relay", "technique": "T1041",
            "path_class": "allowed_chain", "path": ["db", "outside"], "pods": [], "bytes_intended": 10, "bytes_delivered": 10,
            "sha256_sent": "", "sha256_received": "", "delivered": [[150.0, 10]]}  # fmt: skip
    starts = np.arange(0, 600, 60)
    labels = window_labels([leak, leak | {"recording": "test", "start": 0.0}], "train", starts, 60, 120)
    assert labels.tolist() == [0, 0, 1, -1, -1, -1, 0, 0, 0, 0]
