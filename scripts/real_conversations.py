"""A real WordPress conversation table beside the simulated traffic, for scripts/applications_page.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from scripts.real_tables import CORPUS, edges_of

COOKED = 16  # bytes of Linux cooked header in each frame of tshark's table
HEADERS = COOKED + 20 + 32  # bytes of headers in a frame of TCP with timestamps: Linux cooked, IPv4, TCP
MEMBERS = 7  # of the database cluster, real and simulated
WORDPRESS = "experiment=wordpress_study load=steady load.users=85 load.duration_s=1200 exfiltration=none detector=allowlist tracking=none"
PAYLOAD = f"database → web payload per web → database payload ({HEADERS} B of headers a frame taken off)"


def wordpress(run: Callable[[str], Path]) -> str:
    """Section on WordPress; `run(words)` gives the folder of a run."""
    real, simulated = _real(), _simulated(edges_of(run(WORDPRESS)))
    lines = ["| quantity | real, 10 s | simulated | simulated / real |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {real[name]:,.4g} | {simulated[name]:,.4g} | {simulated[name] / real[name]:.2f} |" for name in real
    ]
    return f"""### Against a real conversation table
`tshark -z conv,ip` of 10 s on a real node with 12 web pods and {MEMBERS} database members, beside the same number of members (the service address repeats the pods'
rows and is counted once). Frames are those of the cooked link type ({COOKED} bytes of header) on both sides. Roles follow from the table: who talks to the service
address is a web pod, who answers it is a member.

```
python run.py {WORDPRESS}
```

{chr(10).join(lines)}

What differs, and why:
* **Frames.** The real recorder saw frames before segmentation and after reassembly by the network stack; `cluster.transport.offload_bytes` is set so that frames of the
  database and to visitors come near the real mean. Real frames go up to 64 KiB, ours have one largest size.
* **What is inferred:** options, posts and categories that a page reads (`conf/app/wordpress.yaml`) are assumptions that explain the ratio of replies to queries; another
  division among queries would explain it as well.
* **Replication.** The real members also exchange flow control and causal-order messages that depend on the version of Galera; ours answer every write once to
  everybody, and beat.
* **Visitors** send more here: posts and images go up, of which 10 s of the real site held few.
* One window of 10 s cannot give a variation: only ratios are compared."""


def _real() -> dict[str, float]:
    from mimir.flows.foreign.conversations import read
    from mimir.flows.foreign.table import ORIG, PACKETS, REQUEST, RESP, RESPONSE

    table = read(CORPUS / "wordpress_conversations_10s.txt")
    name = [".".join(str(low >> shift & 255) for shift in (24, 16, 8, 0)) for _, low in table.addresses]
    flows = []  # (a, b, bytes a→b, bytes b→a, packets a→b, packets b→a)
    for row in table.data:
        to, back = PACKETS
        flows.append((name[row[ORIG]], name[row[RESP]], row[REQUEST], row[RESPONSE], row[to], row[back]))
        flows.append((name[row[RESP]], name[row[ORIG]], row[RESPONSE], row[REQUEST], row[back], row[to]))
    vip, client, node = "10.105.16.206", "192.168.99.1", "192.168.99.100"
    web = {a for a, b, *_ in flows if b == vip and a.startswith("172.")}
    members = {a for a, b, *_ in flows if b in web and a.startswith("172.") and a != "172.17.0.1"} - web
    assert len(members) == MEMBERS
    down = [f for f in flows if f[0] in members and f[1] in web]
    peers = [f for f in flows if f[0] in members and f[1] in members]
    users = [f for f in flows if (f[0], f[1]) == (node, client)]
    # traffic straight from pod to pod crosses two interfaces and is in the table twice, unlike that through the service address
    return _ratios(_sums(down), _sums(users), _sums(peers) / 2)


def _sums(flows: list[tuple[object, ...]]) -> np.ndarray:
    """Bytes out, bytes back, packets out, packets back."""
    return np.array([[float(str(value)) for value in flow[2:]] for flow in flows]).sum(axis=0)


def _simulated(edges: pd.DataFrame) -> dict[str, float]:
    def frames(client: str, server: str, port: int) -> np.ndarray:
        one = edges[(edges["client"] == client) & (edges["server"] == server) & (edges["server_port"] == port)]
        packets = one[["response_packets", "request_packets"]].sum().to_numpy(float)
        sizes = one[["response_bytes", "request_bytes"]].sum().to_numpy(float) + COOKED * packets
        return np.array([*sizes, *packets])

    peers = frames("pxc", "pxc", 4567)
    both = np.array([peers[0] + peers[1], 0, peers[2] + peers[3], 0])
    return _ratios(frames("wordpress", "pxc", 3306), frames("outside:clients", "wordpress", 443), both)


def _ratios(down: np.ndarray, users: np.ndarray, peers: np.ndarray) -> dict[str, float]:
    pairs = MEMBERS * (MEMBERS - 1) / 2
    return {
        "database → web bytes per web → database byte": down[0] / down[1],
        PAYLOAD: (down[0] - HEADERS * down[2]) / (down[1] - HEADERS * down[3]),
        "database → web bytes per frame": down[0] / down[2],
        "web → database bytes per frame": down[1] / down[3],
        "web → database frames per database → web frame": down[3] / down[2],
        "bytes to visitors per database → web byte": users[0] / down[0],
        "bytes to visitors per byte from visitors": users[0] / users[1],
        "bytes to visitors per frame": users[0] / users[2],
        "replication bytes per frame": peers[0] / peers[2],
        "replication frames of a pair of members per MB database → web": peers[2] / pairs / down[0] * 1e6,
        "replication bytes of a pair of members per database → web byte": peers[0] / pairs / down[0],
    }
