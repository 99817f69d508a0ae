"""Kitsune (Mirsky, Doitshman, Elovici & Shabtai, NDSS 2018): damped statistics and an ensemble of small auto-encoders."""

from mimir.detectors.kitsune.detector import Kitsune

__all__ = ["Kitsune"]
