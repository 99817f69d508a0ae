"""Third-party tools as channels: what the real program writes, nobody computes. cluster=netns runs them where they are installed."""

from __future__ import annotations

from typing import NamedTuple


class Tool(NamedTuple):
    """Programs that must be installed and the Debian package that has them, and what crosses the network."""

    programs: tuple[str, ...]
    package: str
    wire: str
    dns: bool = False  #: names under `dns.domain`, through the cluster's resolver
    listens: bool = False  #: a TCP port of the collector that a path names


#: exfiltration.channel → tool
TOOLS = {
    "tool_iodine": Tool(
        ("iodine", "iodined"), "iodine", "a TCP connection inside IP packets inside DNS queries and answers", dns=True
    ),
    "tool_dns2tcp": Tool(
        ("dns2tcpc", "dns2tcpd"), "dns2tcp", "a TCP stream inside DNS queries and TXT or KEY answers", dns=True
    ),
    "tool_ptunnel": Tool(("ptunnel",), "ptunnel", "a TCP stream inside ICMP echo requests and replies"),
    "tool_socat": Tool(("socat",), "socat", "the bytes as they are on one TCP connection", listens=True),
    "tool_curl": Tool(("curl",), "curl", "one HTTP/1.1 PUT with a chunked body, as long as the incident", listens=True),
}
DNS_TOOLS = tuple(name for name, tool in TOOLS.items() if tool.dns)
