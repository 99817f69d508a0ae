"""Detectors: learn from benign windows, score windows, explain them; and what turns scores into alerts."""
