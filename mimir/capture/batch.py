"""PacketBatch: the columnar currency between every packet source and every consumer."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

TCP, UDP, ICMP, ICMP6, SCTP = 6, 17, 1, 58, 132
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
#: SLL2 packet types (tcpdump.org LINKTYPE_LINUX_SLL2); 255 means the link type does not say.
TO_US, BROADCAST, MULTICAST, TO_OTHER, FROM_US, UNKNOWN_DIRECTION = 0, 1, 2, 3, 4, 255
#: where captures of several nodes are merged, an interface number has the node's number above these bits. Larger ones get
#: a free number below (mimir.capture.interfaces)
NODE_BITS = 20
V4_PREFIX = np.uint64(0x0000FFFF_00000000)


@dataclass(frozen=True, slots=True)
class PacketBatch:
    """`n` IP packets as columns. All arrays have length `n` (addresses `n × 2`), `data` excepted.

    Rows that carry no IP (ARP, STP …) are not rows here: readers count them by type.
    """

    ts_ns: NDArray[np.int64]  #: capture time, ns since the epoch, UTC
    src: NDArray[np.uint64]  #: (n, 2): high and low half of the 16-byte address, IPv4 mapped (::ffff:a.b.c.d)
    dst: NDArray[np.uint64]  #: (n, 2)
    proto: NDArray[np.uint8]  #: IANA protocol number after extension headers
    sport: NDArray[
        np.uint16
    ]  #: ICMP: the type; 0 where the protocol has none, or on a later fragment not yet attributed
    dport: NDArray[np.uint16]  #: ICMP: the type that answers it, else the code (as Community ID and Zeek count)
    frame_bytes: NDArray[np.uint32]  #: original length of the frame on the wire (pcap orig_len)
    ip_bytes: NDArray[np.uint32]  #: length of the IP packet on the wire (from the IP header), not the captured one
    payload_bytes: NDArray[np.uint32]  #: bytes above TCP/UDP/SCTP/ICMP header, on the wire
    tcp_flags: NDArray[np.uint8]  #: 0 unless TCP
    tcp_seq: NDArray[np.uint32]  #: 0 unless TCP
    tcp_ack: NDArray[np.uint32]  #: 0 unless TCP
    ip_id: NDArray[np.uint16]  #: IPv4 identification; 0 for IPv6
    ifindex: NDArray[np.int32]  #: SLL2 interface index, pcapng interface id; -1 when the capture does not say;
    #: of node n of several: n << NODE_BITS | index, or -1 - n
    direction: NDArray[np.uint8]  #: SLL2 packet type (TO_US … FROM_US), 255 unknown
    tunnel: NDArray[np.int32]  #: number of the overlay tunnel it was taken out of (`Capture.tunnels`); -1 if bare
    dns_offset: NDArray[
        np.int64
    ]  #: where the DNS message (UDP port 53) starts in `data`; -1 if none was captured. Of packets
    #: to be written: where the payload starts, of any protocol
    dns_bytes: NDArray[np.uint16]  #: captured bytes of that DNS message
    data: NDArray[np.uint8]  #: bytes that `dns_offset` points into (a view of the reader's block, or a small copy)

    def __len__(self) -> int:
        return len(self.ts_ns)

    def take(self, index: NDArray[np.int64] | slice) -> PacketBatch:
        """Rows of this batch, by index or slice; `data` is shared."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return PacketBatch(**{k: v if k == "data" else v[index] for k, v in columns.items()})


def ipv4_column(addresses: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """IPv4 addresses as numbers → the (n, 2) mapped form used in batches.

    >>> ipv4_column(np.array([0x0A000001], dtype=np.uint32)).tolist() == [[0, 0xFFFF0A000001]]
    True
    """
    out = np.zeros((len(addresses), 2), dtype=np.uint64)
    out[:, 1] = addresses.astype(np.uint64) | V4_PREFIX
    return out
