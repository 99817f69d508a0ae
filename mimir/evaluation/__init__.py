"""Scores and alerts against the ledger of what really leaked: metrics, intervals, expectations, headline numbers."""

from mimir.evaluation.expectations import check_expectations, expectation_problems
from mimir.evaluation.headline import headline
from mimir.evaluation.metrics import MEASURES, evaluate, evaluate_stream

__all__ = ["MEASURES", "check_expectations", "evaluate", "evaluate_stream", "expectation_problems", "headline"]
