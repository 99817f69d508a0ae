"""Mimir: would we see this leak in the network, how soon, and at what cost in false alarms?"""

__version__ = "0.1.0"
