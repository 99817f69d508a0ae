"""Packets → connections → directed edges per window, with names instead of addresses."""
