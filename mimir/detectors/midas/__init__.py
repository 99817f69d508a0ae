"""MIDAS, MIDAS-R and MIDAS-F (Bhatia et al. 2020, 2022)."""

from mimir.detectors.midas.detector import Midas, MidasF, MidasR

__all__ = ["Midas", "MidasF", "MidasR"]
