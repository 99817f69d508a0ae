"""All of the real WordPress: members of the database cluster one after the other, the blog's content, the web pods."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from mimir.cluster.netns.hosts import Host, Hosts, PodHost
from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.lines import Speak, speak_plainly
from mimir.cluster.netns.network import Network
from mimir.cluster.netns.real.doors import open_door
from mimir.cluster.netns.real.https import Visitor
from mimir.cluster.netns.real.processes import Job, RealPod, user
from mimir.cluster.netns.wordpress import galera, web
from mimir.errors import MimirError
from mimir.load.real import AUTHORS, PASSWORD, REAL, author, real_request

WEB, STORE = "wordpress", "pxc"
SERVICES = frozenset({WEB, STORE})
_LIMIT_S = 180.0  # for each step of the start
_COMMENTS = 3  # readers' comments on each post of the beginning
_SYNCED = "^wsrep_(cluster_size|ready)$"
_COUNTED = (
    "^(wsrep_cluster_size|wsrep_replicated|wsrep_replicated_bytes|questions|connections|bytes_received|bytes_sent)$"
)


class WordPress:
    """The real programs of one recording. They end with `close`, and with this process."""

    def __init__(self, layout: Layout, network: Network, hosts: Hosts, folder: Path, random: np.random.Generator):
        self._layout, self._network, self._hosts, self._random = layout, network, hosts, random
        self._logs = folder / "pods"
        self.services = SERVICES
        self.pods: dict[str, RealPod] = {}
        self.facts: dict[str, Any] = {}

    async def start(self) -> None:
        """Start everything; MimirError, with a program's last words, when something does not come up."""
        begun_s = time.monotonic()
        await self._databases()
        content_s = time.monotonic()
        self.facts["content"] = await self._fill()
        web_s = time.monotonic()
        await self._webs()
        for service in SERVICES:
            for pod in self._layout.pods_of(service):
                open_door(self._network.pods[pod.name], self._layout.app.services[service].target_port)
        ends = (begun_s, content_s, web_s, time.monotonic())
        names = ("databases", "content", "web")
        self.facts["start_s"] = {n: round(b - a, 1) for n, a, b in zip(names, ends, ends[1:], strict=False)}

    def check(self) -> None:
        """MimirError when a program ended."""
        for pod in self.pods.values():
            pod.check()

    async def rejoin(self, pod: str, after_s: float) -> None:
        """A database's process is killed with its data; the new one takes a full copy. MimirError when it does not join."""
        self.pods.pop(pod).kill()
        await asyncio.sleep(after_s)
        self._database(pod, first=False)
        await self._joined(pod, len(self._layout.pods_of(STORE)))
        self.facts["rejoined"] = [*self.facts.get("rejoined", []), pod]

    async def count(self, when: str) -> None:
        """Keep what the databases count so far, and the memory of all pods."""
        status = {pod.name: await self._status(pod.name, _COUNTED) for pod in self._layout.pods_of(STORE)}
        self.facts[when] = {
            "databases": {n: {key.lower(): int(value) for key, value in of.items()} for n, of in status.items()},
            "cpu_s": {
                service: round(
                    sum(self.pods[p.name].cpu_s() for p in self._layout.pods_of(service) if p.name in self.pods), 2
                )
                for service in sorted(SERVICES)
            },
        }
        self.facts["memory_mb"] = round(sum(pod.memory_kb() for pod in self.pods.values()) / 1024)

    def close(self) -> None:
        """End all programs."""
        for pod in self.pods.values():
            pod.kill()

    def speak(self, service: str) -> Speak:
        """Nobody but its own programs asks the blog's database."""
        return speak_plainly

    async def probe(self, host: PodHost) -> None:
        """What a kubelet asks the web pods. ConnectionError when the answer is none or an error."""
        visitor = Visitor(self._hosts.node, host.pod.ip, self._layout.app.services[WEB].target_port)
        try:
            status, _ = await visitor.ask("GET /wp-login.php", {"User-Agent": "kube-probe/1.30", "Connection": "close"})
        finally:
            visitor.close()
        if status >= 400:
            raise ConnectionError(f"{host.pod.name}: HTTP {status}")

    def browser(self, host: Host, slot: int) -> Reader:
        """A user's session with the blog."""
        return Reader(self._layout, host, slot, self._random)

    async def _databases(self) -> None:
        pods = self._layout.pods_of(STORE)
        for number, pod in enumerate(pods):
            self._database(pod.name, first=number == 0)
            if number == 0:
                await self._joined(pod.name, 1)
        for pod in pods:
            await self._joined(pod.name, len(pods))

    def _database(self, name: str, *, first: bool) -> None:
        """Start a member, with nothing in it: the first one makes a group of its own, the others take their data."""
        pods, port = self._layout.pods_of(STORE), self._layout.app.services[STORE].target_port
        ip = next(pod.ip for pod in pods if pod.name == name)
        job = self._job(
            {"mariadbd": galera.member(ip, [pod.ip for pod in pods], port, first=first)}, "mysql",
            before=[galera.install()] if first else [], files=galera.files(first=first), folders=galera.folders(),
        )  # fmt: skip
        self.pods[name] = RealPod(self._network.pods[name], job, self._logs / f"{name}.log")

    async def _joined(self, pod: str, members: int) -> None:
        """Wait until a member is ready in a cluster of that size. MimirError when it takes too long."""
        until = time.monotonic() + _LIMIT_S
        wanted = {"wsrep_cluster_size": str(members), "wsrep_ready": "ON"}
        while (found := await self._status(pod, _SYNCED)) != wanted:
            self.check()
            if time.monotonic() > until:
                raise MimirError(f"{pod} did not join the database cluster in {_LIMIT_S:g} s (it says {found}); "
                                 f"its words: {self._logs / f'{pod}.log'}")  # fmt: skip
            await asyncio.sleep(0.2)

    async def _fill(self) -> dict[str, Any]:
        """Install WordPress and its content, in a web pod, through the service address of the databases."""
        pod = self._layout.pods_of(WEB)[0]
        job = self._web_job({"content": ["php", "-d", "display_errors=stderr", "/run/content.php"]}, ends=True)
        job.files |= {
            "/run/content.php": Path(__file__).with_name("content.php").read_text(encoding="utf-8"),
            "/run/content.json": json.dumps(self._content()),
        }
        said = await RealPod(self._network.pods[pod.name], job, self._logs / "content.log").done(_LIMIT_S)
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found

    def _content(self) -> dict[str, Any]:
        """How much there is, from the model: rows and bytes that its queries bring."""
        store = self._layout.app.services[STORE].endpoints
        posts, terms, options = (store[name].response for name in ("posts", "terms", "options"))
        count = max(len(v.values) for v in self._layout.app.users.session.values())
        sizes = posts.bytes[0] * np.exp(posts.bytes[1] * self._random.standard_normal(count))
        return {
            "host": f"{self._layout.cluster.addresses.node}:{self._layout.app.services[WEB].node_port}",
            "password": PASSWORD, "authors": [author(n) for n in range(AUTHORS)], "theme": web.template(),
            "posts": [int(size) for size in sizes], "per_page": _usual(posts.times), "comments": _COMMENTS,
            "categories": _usual(terms.times), "options_bytes": int(options.bytes[0]),
            "seed": int(self._random.integers(1 << 31)),
        }  # fmt: skip

    async def _webs(self) -> None:
        for pod in self._layout.pods_of(WEB):
            job = self._web_job(web.commands())
            job.before = [web.certificate()]
            self.pods[pod.name] = RealPod(self._network.pods[pod.name], job, self._logs / f"{pod.name}.log")
        until = time.monotonic() + _LIMIT_S
        for host in self._hosts.of(WEB):
            while True:
                self.check()
                try:
                    await asyncio.wait_for(self.probe(host), 20)
                    break
                except (OSError, asyncio.IncompleteReadError) as error:
                    if time.monotonic() > until:
                        raise MimirError(f"{host.pod.name} did not answer in {_LIMIT_S:g} s ({error})") from None
                    await asyncio.sleep(0.2)

    def _web_job(self, commands: dict[str, list[str]], *, ends: bool = False) -> Job:
        edges = [e for e in self._layout.app.edges if (e.client, e.server) == ("outside", WEB)]
        port = self._layout.app.services[WEB].target_port
        files = web.files(self._layout.host(STORE), port, edges[0].idle_s if edges else 5)
        return self._job(
            commands, "www-data", files=files, folders=web.folders(), links=web.links(), hide=web.HIDE, ends=ends
        )

    def _job(self, commands: dict[str, list[str]], owner: str, **more: Any) -> Job:
        uid, gid = user(owner)
        return Job(commands, uid, gid, self._layout.resolv_conf(self._layout.app.namespace), **more)

    async def _status(self, pod: str, pattern: str) -> dict[str, str]:
        namespace: Namespace = self._network.pods[pod]
        status = galera.Status(namespace, self._layout.app.services[STORE].target_port, pattern)
        while (found := status.answer()) is None:
            await asyncio.sleep(0.02)
        return found


class Reader:
    """One user of the blog, with a connection of their own."""

    def __init__(self, layout: Layout, host: Host, slot: int, random: np.random.Generator):
        self._service, self._slot, self._random = layout.app.services[WEB], slot, random
        self._session = {name: value.values for name, value in layout.app.users.session.items() if value.values}
        address, port = layout.cluster.addresses.node, self._service.node_port
        if not port:
            address, port = layout.service_ip[WEB], self._service.port
        self._visitor = Visitor(host, address, port)

    async def ask(self, endpoint: str, size: int) -> int:
        """A request; bytes of the reply. ConnectionError on an error page."""
        real = REAL[WEB].get(endpoint)
        if real is None:  # the TLS handshake, which is no request of its own
            await self._visitor.hello()
            return 0
        action = self._service.endpoints[endpoint].action
        for name, values in self._session.items():
            action = action.replace(f"{{{name}}}", values[int(self._random.integers(len(values)))])
        headers, body = real_request(real, self._slot, size, self._random.bytes)
        status, got = await self._visitor.ask(action, headers, body)
        if status >= 400:
            raise ConnectionError(f"{endpoint}: HTTP {status}")
        return got

    def close(self) -> None:
        """The session ends, and with it the connection."""
        self._visitor.close()


def _usual(times: tuple[int, int] | str) -> int:
    """How many rows a reply usually has; ten, as WordPress shows on a page, where the model counts a collection."""
    return 10 if isinstance(times, str) else round(sum(times) / 2)
