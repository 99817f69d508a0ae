"""Addresses as the pair of 64-bit numbers that packet batches use."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

#: (high, low) half of the 16-byte form, IPv4 mapped
Address = tuple[int, int]
MAPPED = 0xFFFF << 32
HALF = (1 << 64) - 1


def parse_address(text: str) -> Address:
    """Text → (high, low). Raises ValueError.

    >>> parse_address("10.0.0.1") == (0, 0xFFFF0A000001)
    True
    """
    number = ipaddress.ip_address(text)
    value = int(number) | MAPPED if number.version == 4 else int(number)
    return value >> 64, value & HALF


def address_text(address: Address) -> str:
    """(high, low) → text.

    >>> address_text((0, 0xFFFF0A000001)), address_text((0x20010DB8 << 32, 1))
    ('10.0.0.1', '2001:db8::1')
    """
    if address[0] == 0 and address[1] >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(address[1] & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(address[0] << 64 | address[1]))


@dataclass(frozen=True)
class Network:
    """A prefix of the 128-bit form."""

    value: int
    bits: int

    @classmethod
    def parse(cls, text: str) -> Network:
        """`203.0.113.0/24` → Network. Host bits may be set. Raises ValueError.

        >>> Network.parse("203.0.113.0/24").holds(parse_address("203.0.113.7"))
        True
        """
        network = ipaddress.ip_network(text, strict=False)
        value = int(network.network_address)
        return cls(value | MAPPED, network.prefixlen + 96) if network.version == 4 else cls(value, network.prefixlen)

    def holds(self, address: Address) -> bool:
        """Is the address in the prefix?"""
        return (address[0] << 64 | address[1]) ^ self.value < 1 << (128 - self.bits)


#: addresses that are inside even when nobody owns them
INSIDE = tuple(
    Network.parse(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip


def is_inside(address: Address) -> bool:
    """Private, link-local or loopback?"""
    return any(network.holds(address) for network in INSIDE)
