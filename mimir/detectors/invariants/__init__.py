"""Invariants: regularities that hold while an application serves its users, and break when data leaves."""

from mimir.detectors.invariants.detector import Invariants

__all__ = ["Invariants"]
