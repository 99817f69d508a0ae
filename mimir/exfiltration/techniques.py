"""ATT&CK techniques (Enterprise, MITRE) of channels, paths and pacings. The ledger holds one id, that of the scenario.

Exfiltration (TA0010) says how data leaves; Command and Control (TA0011) says how hops and tunnels look that lead there.
"""

from __future__ import annotations

from typing import NamedTuple

#: id → name, tactic
TECHNIQUES = {
    "T1020": ("Automated Exfiltration", "Exfiltration"),
    "T1029": ("Scheduled Transfer", "Exfiltration"),
    "T1030": ("Data Transfer Size Limits", "Exfiltration"),
    "T1041": ("Exfiltration Over C2 Channel", "Exfiltration"),
    "T1048.001": ("Exfiltration Over Symmetric Encrypted Non-C2 Protocol", "Exfiltration"),
    "T1048.002": ("Exfiltration Over Asymmetric Encrypted Non-C2 Protocol", "Exfiltration"),
    "T1048.003": ("Exfiltration Over Unencrypted Non-C2 Protocol", "Exfiltration"),
    "T1071.001": ("Application Layer Protocol: Web Protocols", "Command and Control"),
    "T1071.003": ("Application Layer Protocol: Mail Protocols", "Command and Control"),
    "T1071.004": ("Application Layer Protocol: DNS", "Command and Control"),
    "T1090.001": ("Proxy: Internal Proxy", "Command and Control"),
    "T1095": ("Non-Application Layer Protocol", "Command and Control"),
    "T1567.002": ("Exfiltration Over Web Service: Exfiltration to Cloud Storage", "Exfiltration"),
    "T1572": ("Protocol Tunneling", "Command and Control"),
}


class Facts(NamedTuple):
    """Techniques, the one of the tactic Exfiltration first, and why these."""

    techniques: tuple[str, ...]
    why: str


#: exfiltration.channel
CHANNELS = {
    "raw_tcp": Facts(
        ("T1048.003", "T1048.001", "T1095"), "clear frames of its own; T1048.001 if the data was encrypted before"
    ),
    "http_relay": Facts(
        ("T1041", "T1071.001"), "requests from outside command the relays, their responses are the theft"
    ),
    "http_post": Facts(("T1048.003", "T1071.001"), "clear HTTP that nobody commands"),
    "https": Facts(("T1048.002", "T1071.001"), "TLS with a certificate"),
    "cloud_storage": Facts(("T1567.002", "T1071.001"), "objects in a storage service that the application may use"),
    "smtp": Facts(("T1048.003", "T1071.003"), "clear mail"),
    "drip": Facts(("T1048.003", "T1030", "T1071.001"), "small pieces on a WebSocket"),
    "slow_headers": Facts(("T1048.003", "T1030", "T1071.001"), "pieces that fit into a header"),
    "response_stuffing": Facts(("T1048.003", "T1071.001"), "clear pages that an ordinary user asks for"),
    "dns_tunnel": Facts(
        ("T1048.003", "T1071.004", "T1572", "T1030"), "names are pieces of the data; the text of T1048.003 names DNS"
    ),
    "icmp": Facts(("T1048.003", "T1095", "T1572"), "echo payloads"),
    "tool_iodine": Facts(("T1048.003", "T1071.004", "T1572"), "IP packets inside names"),
    "tool_dns2tcp": Facts(("T1048.003", "T1071.004", "T1572"), "a stream inside names"),
    "tool_ptunnel": Facts(("T1048.003", "T1095", "T1572"), "a stream inside echo payloads"),
    "tool_socat": Facts(("T1048.003", "T1095"), "a clear stream"),
    "tool_curl": Facts(("T1048.003", "T1071.001"), "clear HTTP by a common program"),
    "synthetic": Facts(("T1041",), "stands for http_relay without its packets"),
}
#: exfiltration.path_class, and what `address` and `fan` add
PATHS = {
    "new_edge": Facts(("T1048.003", "T1048.002"), "straight to a host that the application never asks"),
    "allowed_chain": Facts(("T1041", "T1090.001"), "pods of the application pass the data on"),
    "allowed_outside": Facts(("T1567.002",), "a name outside that the application may use"),
    "dns": Facts(("T1048.003", "T1071.004"), "the cluster's resolver carries it"),
    "response_stuffing": Facts(("T1048.003", "T1090.001"), "replies up the chain, then a page"),
    "address: pod": Facts(("T1090.001",), "relays find each other around the service addresses"),
    "fan: one_to_n": Facts(("T1090.001", "T1030"), "each relay carries a share"),
    "fan: n_to_1": Facts(("T1090.001",), "one relay gathers from several stores"),
}
#: exfiltration.pacing
PACINGS = {
    "constant": Facts(("T1020",), "a program sends in equal steps"),
    "jitter": Facts(("T1020",), "the same without the rhythm"),
    "burst": Facts(("T1029", "T1020"), "at moments of its own choice"),
    "ramp": Facts(("T1020",), "more and more"),
    "on_off": Facts(("T1029",), "in fixed parts of a cycle"),
    "night": Facts(("T1029",), "while few users are there"),
    "mimicry": Facts(("T1029", "T1030"), "as the load goes"),
    "adaptive": Facts(("T1030",), "below what a detector would notice"),
}
