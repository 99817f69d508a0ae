"""The testbed's network: a node that routes between veth pairs, pods behind them, the outside world on an uplink.

Every pod has one address (/32) and a default route to its end of the node, as routed network plug-ins do; neighbours
are fixed, so there is no ARP. Service addresses are nftables rules: DNAT to one of the pods, drawn per connection.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.layout import KUBE_DNS, Layout, Pod
from mimir.cluster.netns.requirements import tool
from mimir.errors import MimirError

GATEWAY, UPLINK, WORLD_LINK = "169.254.1.1", "up0", "eth0"
_NODE_MAC, _WORLD_MAC = "ee:ee:ee:ee:ee:ee", "02:00:00:00:00:01"
_SYSCTL = Path("/proc/sys/net")
SEGMENT_BYTES = 1448  #: payload of a full segment: MTU 1500 less IPv4, TCP and the timestamp option
_MOST_HEADERS, _LEAST_HEADERS = 400, 66  #: what the kernel keeps free when it sends (MAX_TCP_HEADER), what a frame has


@dataclass
class Network:
    """Namespaces of a running testbed; when the process ends they are gone."""

    node: Namespace
    outside: Namespace
    pods: dict[str, Namespace]
    born_s: dict[str, float]  #: pod → when its namespace was connected, UTC epoch seconds
    links: dict[str, str]  #: pod → the node's interface towards it
    made: int = 0  #: pods there ever were: numbers of links and hardware addresses do not come back

    def join(self, layout: Layout, pod: Pod) -> None:
        """A namespace for one more pod. MimirError on refusal."""
        number, link, node = self.made, f"veth{self.made}", layout.cluster.addresses.node
        self.made += 1
        inner = self.pods[pod.name] = Namespace.new(pod.name)
        self.links[pod.name] = link
        with inner:
            _quiet(forward=False)
        _ip(
            [
                *_pair(link, "eth0", inner, _mac(number), frames(layout.cluster.offload_bytes)),
                *_behind(f"{pod.ip}/32", link, _mac(number), node),
            ]
        )
        _fill(inner, "eth0", [f"address add {pod.ip}/32 dev eth0"], pod.ip)
        self.born_s[pod.name] = round(time.time(), 6)

    def add_beyond(self, layout: Layout, address: str) -> None:
        """Have one more address outside. MimirError on refusal."""
        route = _behind(f"{address}/32", UPLINK, _WORLD_MAC, layout.cluster.addresses.node)
        _ip([line.replace("route add", "route replace") for line in route])
        with self.outside:
            _ip([f"route replace local {address}/32 dev lo"])

    def part(self, pod: Pod) -> float:
        """A pod's namespace and address are gone; when that was, UTC epoch seconds."""
        _ip([f"link del {self.links.pop(pod.name)}"])
        self.pods.pop(pod.name).close()
        return round(time.time(), 6)

    def point(self, layout: Layout, backends: Callable[[str], list[Pod]]) -> None:
        """Lead service addresses to these pods from now on: one transaction of nftables, connections that exist stay."""
        nft("table ip mimir\nflush table ip mimir\n" + rules(layout, backends))


def build(layout: Layout) -> Network:
    """Make everything. Must run in a network namespace of its own, which becomes the node. MimirError on refusal."""
    node = Namespace.current("node")
    _quiet(forward=True)
    addresses = layout.cluster.addresses
    outside, pods = Namespace.new("outside"), {pod.name: Namespace.new(pod.name) for pod in layout.pods}
    small = frames(layout.cluster.offload_bytes)
    lines = ["link set lo up", *_pair(UPLINK, WORLD_LINK, outside, "02:00:00:00:00:01", small)]
    for number, pod in enumerate(layout.pods):
        lines += _pair(f"veth{number}", "eth0", pods[pod.name], _mac(number), small)
    lines += [f"address add {addresses.node}/32 dev lo", f"address add {GATEWAY}/32 dev lo"]
    world = [addresses.clients, *(f"{ip}/32" for ip in layout.outside_ips)]
    lines += [line for net in world for line in _behind(net, UPLINK, _WORLD_MAC, addresses.node)]
    for number, pod in enumerate(layout.pods):
        lines += _behind(f"{pod.ip}/32", f"veth{number}", _mac(number), addresses.node)
    for inner in (outside, *pods.values()):
        with inner:
            _quiet(forward=False)
    _ip(lines)
    # the sink is whom servers of real tools answer as, where they leave that to the kernel (ptunnel does)
    _fill(outside, WORLD_LINK, [f"route add local {net} dev lo" for net in world], addresses.sink)
    born = {}
    for pod in layout.pods:
        _fill(pods[pod.name], "eth0", [f"address add {pod.ip}/32 dev eth0"], pod.ip)
        born[pod.name] = round(time.time(), 6)
    nft(rules(layout))
    links = {pod.name: f"veth{number}" for number, pod in enumerate(layout.pods)}
    return Network(node, outside, pods, born, links, len(layout.pods))


def rules(layout: Layout, backends_of: Callable[[str], list[Pod]] | None = None) -> str:
    """The nftables ruleset: service addresses and node ports to pods, masquerade for what leaves the cluster.

    `backends_of` says which pods are ready (all, if it is left out). A service without any has no rule: the node has no way to it.
    """
    lines = ["table ip mimir {", " chain services {", "  type nat hook prerouting priority dstnat; policy accept;"]
    for service, pairs in layout.ports.items():
        backends, address = (backends_of or layout.pods_of)(service), layout.service_ip[service]
        if not backends:
            continue
        protocols = ("udp", "tcp") if service == KUBE_DNS else ("tcp",)
        for port, target in pairs.items():
            for protocol in protocols:
                lines.append(f"  ip daddr {address} {protocol} dport {port} {_one_of(backends, target)}")  # noqa: PERF401
        spec = layout.app.services.get(service)
        if spec and spec.node_port:
            chosen = _one_of(backends, spec.target_port)
            lines.append(f"  ip daddr {layout.cluster.addresses.node} tcp dport {spec.node_port} {chosen}")
    pods = layout.cluster.addresses.pods
    lines += [" }", " chain leaving {", "  type nat hook postrouting priority srcnat; policy accept;"]
    lines += [f'  ip saddr {pods} oifname "{UPLINK}" snat to {layout.cluster.addresses.node}', " }", "}"]
    return "\n".join(lines) + "\n"


def _one_of(pods: list[Pod], port: int) -> str:
    if len(pods) == 1:
        return f"dnat to {pods[0].ip}:{port}"
    table = ", ".join(f"{number} : {pod.ip}" for number, pod in enumerate(pods))
    return f"dnat to numgen random mod {len(pods)} map {{ {table} }}:{port}"


def _mac(number: int) -> str:
    return f"02:00:00:01:{number >> 8:02x}:{number & 0xFF:02x}"


def frames(offload_bytes: int) -> str:
    """Options of a link whose frames hold at most that many payload bytes (whole segments; one at least)."""
    segments = max(1, offload_bytes // SEGMENT_BYTES)
    if segments == 1:
        return "gso_max_segs 1 gso_max_size 1514 gro_max_size 1514"
    size = segments * SEGMENT_BYTES
    return f"gso_max_segs {segments} gso_max_size {size + _MOST_HEADERS} gro_max_size {size + _LEAST_HEADERS}"


def _pair(outer: str, inner: str, namespace: Namespace, mac: str, small: str) -> list[str]:
    """A veth pair with one end in `namespace`, whose frames are as `small` says (`frames`)."""
    return [
        f"link add {outer} address {_NODE_MAC} {small} type veth peer name {inner} address {mac} {small} netns {namespace.path}",
        f"link set {outer} up",
    ]


def _behind(net: str, link: str, mac: str, source: str) -> list[str]:
    """Routes from the node to what is behind a link. The neighbour of a network is its router at the other end."""
    address = str(IPv4Network(net)[0])
    if net.endswith("/32"):
        return [
            f"route add {net} dev {link} src {source}",
            f"neigh replace {address} lladdr {mac} dev {link} nud permanent",
        ]
    return [
        f"neigh replace 169.254.1.2 lladdr {mac} dev {link} nud permanent",
        f"route add {net} via 169.254.1.2 dev {link} src {source} onlink",
    ]


def _fill(namespace: Namespace, link: str, own: list[str], source: str) -> None:
    """Addresses and the default route inside a namespace."""
    with namespace:
        _ip([
            "link set lo up", f"link set {link} up", *own, f"route add {GATEWAY} dev {link} scope link",
            f"neigh replace {GATEWAY} lladdr {_NODE_MAC} dev {link} nud permanent",
            f"route add default via {GATEWAY} dev {link} src {source}",
        ])  # fmt: skip


def _quiet(*, forward: bool) -> None:
    """No IPv6, whose multicast would drown a capture; routing where wanted."""
    if (_SYSCTL / "ipv6").exists():
        for name in ("all", "default"):
            (_SYSCTL / f"ipv6/conf/{name}/disable_ipv6").write_text("1", encoding="ascii")
    if forward:
        (_SYSCTL / "ipv4/ip_forward").write_text("1", encoding="ascii")


def _ip(lines: list[str]) -> None:
    _feed([_path("ip"), "-batch", "-"], "\n".join(lines) + "\n")


def nft(text: str) -> None:
    """Apply rules in the present namespace, all or none. MimirError when nftables refuses."""
    _feed([_path("nft"), "-f", "-"], text)


def _path(name: str) -> str:
    found = tool(name)
    if found is None:
        raise MimirError(f"cluster=netns needs the program {name}; python -m mimir.cluster doctor says how to get it")
    return found


def _feed(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    if done.returncode != 0:
        raise MimirError(f"{Path(command[0]).name} refused to build the testbed: {done.stderr.strip()[:400]}")
