"""Channels: how stolen bytes look on the wire. Sizes for simulation agree with the real bytes."""
