"""The page of a benchmark: results.parquet and facts.json → benchmark.md and figures. Reads files only."""

from mimir.report.benchmark.page import write_page

__all__ = ["write_page"]
