"""Flat numbers for trackers."""

import re

import numpy as np
import pandas as pd
import pytest

from mimir.evaluation import headline
from tests.evaluation.evaluation_samples import leaky_scores, make_incident, make_metrics, make_scores


def test_names_and_values() -> None:
    ten = make_scores(np.repeat(leaky_scores(), 6), window_s=10)
    got = headline(make_metrics(pd.concat([make_scores(leaky_scores()), ten]), [make_incident()]))
    assert got["eval/event_recall"] == got["eval/w60/event_recall"] == 1.0
    assert got["eval/delay_median_s"] == 60.0
    assert got["eval/w10/delay_median_s"] == 10.0
    assert got["eval/allowed_chain/event_recall"] == got["eval/w10/allowed_chain/event_recall"] == 1.0
    assert got["eval/allowed_chain/incidents"] == 1.0
    assert got["eval/threshold"] == 3.0
    assert got["eval/prevalence"] == pytest.approx(10 / 179)
    assert all(isinstance(v, float) for v in got.values())
    assert list(got) == sorted(got)


def test_undefined_measures_are_left_out() -> None:
    got = headline(make_metrics(make_scores(leaky_scores(0.0)), []))
    assert "eval/event_recall" not in got
    assert got["eval/false_alerts_per_day"] == 0.0
    assert "eval/false_alerts_per_day" in headline(make_metrics(make_scores(leaky_scores(0.0)), []))
    assert all(np.isfinite(v) for v in got.values())


def test_names_are_what_trackers_accept() -> None:
    odd = make_incident(path_class="new edge (α)")
    names = headline(make_metrics(make_scores(leaky_scores()), [odd]))
    assert all(re.fullmatch(r"[A-Za-z0-9_\-. :/]+", n) for n in names)
    assert "eval/new edge ___/event_recall" in names
