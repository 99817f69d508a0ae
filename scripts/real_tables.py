"""Real tables beside the simulated traffic, for scripts/applications_page.py: Sock Shop's meters, WordPress's conversations."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
CORPUS = Path(os.environ.get("MIMIR_CORPUS", ROOT.parent / "shared" / "data")) / "prototype"
WINDOW_S = 10  # s, the shortest window both the meters (5 s samples, added in pairs) and the run have
COOKED = 16  # bytes of Linux cooked header in each frame of tshark's table
HEADERS = COOKED + 20 + 32  # bytes of headers in a frame of TCP with timestamps: Linux cooked, IPv4, TCP
REFERENCE = ("front-end", "catalogue", "response")
#: users and s of a second Sock Shop run, about as busy as the real one: variation depends on volume
MATCHED = (1200, 1200)
MEMBERS = 3  # of pxc, conf/app/wordpress.yaml
#: edges of the real meters that are not comparable, with the reason
INFLATED = "-db"


def edges_of(folder: Path) -> pd.DataFrame:
    """Edges of the fit recording between services, one row an edge and window of WINDOW_S."""
    edges = pd.read_parquet(folder / "edges.parquet")
    chosen = (edges["recording"] == "fit") & (edges["window_s"] == WINDOW_S) & (edges["view"] == "service")
    return edges[chosen]


def windows(edges: pd.DataFrame, client: str, server: str, column: str) -> pd.Series:
    """Bytes a window of one edge, 0 where nothing was seen."""
    one = edges[(edges["client"] == client) & (edges["server"] == server)]
    starts = sorted(edges["window_start"].unique())
    return one.groupby("window_start")[column].sum().reindex(starts, fill_value=0).iloc[1:-1].astype(float)


def variation(values: pd.Series) -> float:
    """Coefficient of variation."""
    return float(values.std() / values.mean()) if values.mean() else float("nan")


def _real_sockshop() -> dict[tuple[str, str, str], tuple[float, float]]:
    """(client, server, direction) → (bytes a window, CV), medians over the runs; windows that may hold a theft left out."""
    table = pd.read_csv(CORPUS / "sockshop_istio_bytes_rep0.csv")
    table["direction"] = table["direction"].map({"sent": "response", "received": "request"})
    table["window"] = (table["t_sec"] // WINDOW_S).astype(int)
    # thefts at 200 … 315 s become visible a sample later; the first half minute is the users' arrival
    table = table[table["t_sec"].between(30, 195) | (table["t_sec"] > 340)]
    found = {}
    for key, edge in table.groupby(["row_service", "col_service", "direction"]):
        runs = []
        for _, run in edge.groupby("increment"):
            windows = run.groupby("window")["bytes"].agg(["sum", "count"])
            values = windows.loc[windows["count"] == 2, "sum"]
            if len(values) > 5 and values.mean() > 0:
                runs.append((values.mean(), values.std() / values.mean()))
        if runs:
            means, variations = zip(*runs, strict=True)
            found[key] = (float(np.median(means)), float(np.median(variations)))
    return found


def sockshop(run: Callable[[int, int], tuple[str, Path]]) -> str:
    """Section on Sock Shop; `run(users, duration_s)` gives the command and folder of a run."""
    users, duration_s = MATCHED
    command, busy_run = run(users, duration_s)
    busy, real = edges_of(busy_run), _real_sockshop()
    reference_real = real[REFERENCE][0]
    reference = windows(busy, *REFERENCE[:2], "response_payload_bytes").mean()
    lines, ratios = [], []
    for (client, server, direction), (mean, spread) in sorted(real.items(), key=lambda item: -item[1][0]):
        if server.endswith(INFLATED) or client in ("172.17.0.1", "load-test"):
            continue
        values = windows(busy, client, server, f"{direction}_payload_bytes")
        ratio = values.mean() / reference / (mean / reference_real)
        if (client, server, direction) != REFERENCE:
            ratios.append(ratio)
        lines.append(
            f"| {client} → {server}, {direction} | {mean / reference_real:.3f} | {values.mean() / reference:.3f} | {ratio:.2f} "
            f"| {spread:.2f} | {variation(values):.2f} |"
        )

    def inside(volume: Callable[[str], float], one: str, other: str) -> float:
        return volume(one) / volume(other)

    def real_of(server: str) -> float:
        return real["orders", server, "request"][0]

    def ours_of(server: str) -> float:
        return float(windows(busy, "orders", server, "request_payload_bytes").mean())

    near = sum(0.8 <= ratio <= 1.25 for ratio in ratios)
    return f"""### Against a real deployment
Service-mesh meters of a real Sock Shop (8 runs of 360 s, 5 s samples added in pairs; windows that may hold one of its thefts left out), medians over the runs.
Bytes are relative to what catalogue answers front-end. The real shop was busier than the users above, and variation falls with volume, so this table is of a
run with {users} users for {duration_s} s: {reference / 1e3:,.0f} kB a window on the reference edge, {reference_real / 1e3:,.0f} kB in the real one.
{near} of {len(ratios)} edges and directions lie within 0.8 … 1.25 of the real one.

```
python run.py {command}
```

| client → server, direction | real, relative | simulated, relative | simulated / real | real CV | simulated CV |
|---|---|---|---|---|---|
{chr(10).join(lines)}

What differs, and why:
* **The mix.** The real shop was asked by two generators at once: the study's users and the project's own `load-test` pods, whose tasks differ. Ours has the study's users
  only, so ratios between edges of different requests (orders to catalogue) are not expected to agree. Within one purchase they nearly do: orders → user to
  orders → carts, requests, is {inside(real_of, "user", "carts"):.1f} in the real one and {inside(ours_of, "user", "carts"):.1f} here.
* **orders → payment** is not explained: {inside(real_of, "payment", "carts"):.1f} times the request bytes of orders → carts there, {inside(ours_of, "payment", "carts"):.1f} here, and it varies far more than
  the orders that cause it. The meters count bytes, not requests, so retries and large bodies cannot be told apart.
* **Variation.** At the same volume our edges of front-end vary more than the real ones: users drift together (`load.pace_sigma`), and so does content
  (`cluster.content_share`); payment and shipping vary less. A detector has a harder time on the first here, an easier one on the second.
* **front-end → user.** One login in a hundred of ours reads the list of all customers, a look-alike of a theft that the real users never asked for.
* Sizes of requests and replies were taken from 24 runs of the same meters (`conf/app/sockshop.yaml`, [I]): this table is no independent evidence for them.
* **Not compared:** `*-db` and session-db edges, which the real meter inflates; the gateway (probes and users in one row); `load-test → front-end`, another generator;
  rabbitmq, which was crash-looping in the real cluster."""


def wordpress(folder: Path) -> str:
    """Section on WordPress, for a run directory."""
    real = _real_wordpress()
    simulated = _simulated_wordpress(edges_of(folder))
    lines = ["| quantity | real, 10 s | simulated | simulated / real |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {real[name]:,.3f} | {simulated[name]:,.3f} | {simulated[name] / real[name]:.2f} |" for name in real
    ]
    return f"""### Against a real conversation table
`tshark -z conv,ip` of 10 s on a real node (12 web pods, 7 database members; the service address repeats the pods' rows and is counted once). Frames are those of the
cooked link type ({COOKED} bytes of header) on both sides. Roles follow from the table: who talks to the service address is a web pod, who answers it is a member.

{chr(10).join(lines)}

What differs, and why:
* **Frames.** The real recorder saw packets before segmentation and after reassembly by the network stack (mean {real["bytes to visitors per frame"]:,.0f} B to visitors); ours
  writes segments of 1,448 B. Packet counts and sizes of WordPress differ by this factor; on a node with offloads switched off they would not.
* **Queries.** A byte of query brings {real[PAYLOAD]:,.1f} B in the real one, {simulated[PAYLOAD]:,.1f} B here: our pages ask the database more often, for less each time.
* **Visitors** of the real site were asked for through one node port; our requests carry larger headers and every connection starts with a TLS handshake.
* **Replication.** The real members also exchange flow control and keep-alives in small frames whatever the load; volume is alike, frames are not.
* One window of 10 s cannot give a variation: only ratios are compared. 7 members in the real cluster, {MEMBERS} here: replication is given for one other member."""


def _real_wordpress() -> dict[str, float]:
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
    down = [f for f in flows if f[0] in members and f[1] in web]
    peers = [f for f in flows if f[0] in members and f[1] in members]
    users = [f for f in flows if (f[0], f[1]) == (node, client)]
    # traffic straight from pod to pod crosses two interfaces and is in the table twice, unlike that through the service address
    return _ratios(_sums(down), _sums(users), _sums(peers) / 2, len(members))


def _sums(flows: list[tuple[object, ...]]) -> np.ndarray:
    """Bytes out, bytes back, packets out, packets back."""
    return np.array([[float(str(value)) for value in flow[2:]] for flow in flows]).sum(axis=0)


def _simulated_wordpress(edges: pd.DataFrame) -> dict[str, float]:
    def frames(client: str, server: str, port: int) -> np.ndarray:
        one = edges[(edges["client"] == client) & (edges["server"] == server) & (edges["server_port"] == port)]
        packets = one[["response_packets", "request_packets"]].sum().to_numpy(float)
        sizes = one[["response_bytes", "request_bytes"]].sum().to_numpy(float) + COOKED * packets
        return np.array([*sizes, *packets])

    peers = frames("pxc", "pxc", 4567)
    both = np.array([peers[0] + peers[1], 0, peers[2] + peers[3], 0])
    users = frames("outside:clients", "wordpress", 443)
    return _ratios(frames("wordpress", "pxc", 3306), users, both, MEMBERS)


PAYLOAD = f"database → web payload per web → database payload ({HEADERS} B of headers a frame taken off)"


def _ratios(down: np.ndarray, users: np.ndarray, peers: np.ndarray, members: int) -> dict[str, float]:
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
        "replication to one other member per database → web byte": peers[0] / (members - 1) / down[0],
    }
