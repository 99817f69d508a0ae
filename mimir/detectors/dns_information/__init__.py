"""How much could leave in DNS queries (Paxson et al. 2013; Ozery, Nadler & Shabtai 2023)."""

from mimir.detectors.dns_information.detector import DnsInformation

__all__ = ["DnsInformation"]
