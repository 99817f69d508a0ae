"""Types of an exfiltration scenario. Values live in conf/exfiltration/*.yaml; nothing here has a default."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

STRICT = ConfigDict(extra="forbid")


class PathClass(StrEnum):
    """How a leak leaves; metrics are reported per class."""

    none = "none"
    new_edge = "new_edge"
    allowed_chain = "allowed_chain"
    dns = "dns"
    response_stuffing = "response_stuffing"
    allowed_outside = "allowed_outside"


@pydantic_dataclass(frozen=True, config=STRICT)
class DnsTunnelSpec:
    """How stolen bytes become query names."""

    domain: str  #: zone the attacker answers for; every name ends with it
    record_type: Literal["TXT", "A", "CNAME", "NULL"]
    encoding: Literal["base32", "base64url", "hex"]
    resolver: Literal["cluster", "direct"]  #: whom the store asks: kube-dns, or the outside resolver itself
    answer: Literal["short", "matching"]  #: an acknowledgement, or as much data back as the name carries
    label_bytes: int  #: longest label, ≤ 63 (RFC 1035)
    name_bytes: int  #: longest name as text, ≤ 253


@pydantic_dataclass(frozen=True, config=STRICT)
class ShapeSpec:
    """Figures of the pacings that have any."""

    period_s: float  #: burst, on_off: one cycle
    on_share: float  #: burst, on_off: part of a cycle in which messages leave
    night_users_share: float  #: night: only while there are at most so many of the peak's users
    sigmas: float  #: adaptive: at most so many standard deviations of the carrying edge a window


@pydantic_dataclass(frozen=True, config=STRICT)
class PathsSpec:
    """Paths generated from the allowed edges, shortest first."""

    store: str
    max_hops: int
    direction: Literal["request", "reply", "mixed"]  #: who opens the connections of the hops
    count: int


@pydantic_dataclass(frozen=True, config=STRICT)
class TlsSpec:
    """Sizes of TLS 1.3 handshakes (RFC 8446), and how long a connection lives."""

    client_hello_bytes: int  #: record of the first ClientHello, its header included
    certificate_bytes: int  #: Certificate message of the collector
    ticket_bytes: int  #: session ticket
    messages_per_connection: int
    resume: bool  #: later connections use a ticket instead of the certificate


@pydantic_dataclass(frozen=True, config=STRICT)
class SmtpSpec:
    """Who mails whom, and how many mails a connection carries."""

    sender: str
    recipient: str
    messages_per_connection: int


@pydantic_dataclass(frozen=True, config=STRICT)
class HeadersSpec:
    """How much one HTTP header carries."""

    value_bytes: int  #: longest cookie value


@pydantic_dataclass(frozen=True, config=STRICT)
class StuffingSpec:
    """The pages that ordinary users are answered with."""

    page_bytes: int  #: body of a page before the data is put behind it


@pydantic_dataclass(frozen=True, config=STRICT)
class IcmpSpec:
    """How stolen bytes become echo requests (RFC 792)."""

    payload_bytes: int  #: longest payload of an echo request, its framing included


@pydantic_dataclass(frozen=True, config=STRICT)
class CloudSpec:
    """The storage service outside that the application may use."""

    host: str  #: name that is looked up and asked for in TLS
    address: str  #: IPv4 address it has


@pydantic_dataclass(frozen=True, config=STRICT)
class FanSpec:
    """One incident over several branches at once; messages take them in turn."""

    kind: Literal["one_to_n", "n_to_1"]  #: one store → several relays, or several stores → one relay
    branches: int
    stores: list[str]  #: further stores, for n_to_1


@pydantic_dataclass(frozen=True, config=STRICT)
class ExfiltrationSpec:
    """One exfiltration scenario: channel × path × pacing × schedule."""

    name: str
    description: str
    channel: Literal[
        "none",
        "raw_tcp",
        "http_relay",
        "http_post",
        "https",
        "smtp",
        "drip",
        "slow_headers",
        "dns_tunnel",
        "response_stuffing",
        "icmp",
        "cloud_storage",
        "synthetic",
        "tool_iodine",
        "tool_dns2tcp",
        "tool_ptunnel",
        "tool_socat",
        "tool_curl",
    ]
    path_class: PathClass
    path: list[str]
    paths: PathsSpec | None  #: generated paths instead of `path`
    fan: FanSpec | None  #: several branches in one incident
    address: Literal["service", "pod", "both"]  #: how hops between pods connect; both: incidents in turn
    port: int | None  #: port of a hop that no allowed edge defines (the collector outside)
    body: Literal["binary", "base64"]  #: how http_relay writes data into a body
    technique: str
    rate_bytes_per_min: float
    rates_bytes_per_min: list[float] | None  #: one rate an incident, in turn, instead of one for all
    rate_share_of_edge: float | None  #: rate as a share of the benign bytes of the first hop, instead
    bytes_per_message: int
    pacing: Literal["constant", "jitter", "burst", "ramp", "on_off", "night", "mimicry", "adaptive"]
    shape: ShapeSpec
    incidents: int
    incident_duration_s: int
    gap_s: float
    tail_s: float
    dns: DnsTunnelSpec | None
    tls: TlsSpec | None
    smtp: SmtpSpec | None
    headers: HeadersSpec | None
    stuffing: StuffingSpec | None
    icmp: IcmpSpec | None
    cloud: CloudSpec | None
