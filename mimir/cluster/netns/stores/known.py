"""Which stores of an application are real, and why the others are not."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache

from mimir.cluster.base import Requirement
from mimir.cluster.netns.requirements import package, tool
from mimir.spec.app import AppSpec, ServiceSpec

#: programs that no Debian package brings
ABSENT = {"mongodb": "MongoDB is in no Debian package"}
_NO_START = "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d"


@dataclass(frozen=True)
class Known:
    """A store that can be real: its program, where it comes from, and the Python package that speaks its protocol."""

    name: str
    program: str
    debian: str
    python: str
    version: tuple[str, ...]  #: the command that says it

    def missing(self) -> list[Requirement]:
        """What this machine lacks."""
        how = f"install it without starting a service: {_NO_START}; apt-get install {self.debian}"
        needs = [
            Requirement(f"the program {self.program}", tool(self.program) is not None, how),
            package(self.python, "netns"),
        ]
        return [need for need in needs if not need.met]


#: protocol of the model → the store that speaks it
KNOWN = {
    "redis": Known("Redis", "redis-server", "redis-server", "redis", ("redis-server", "--version")),
    "mysql": Known("MariaDB", "mariadbd", "mariadb-server", "aiomysql", ("mariadbd", "--no-defaults", "--version")),
    "amqp": Known("RabbitMQ", "rabbitmq-server", "rabbitmq-server", "pamqp", ("dpkg-query", "-Wf${Version}", "rabbitmq-server")),
}  # fmt: skip


def eligible(app: AppSpec, name: str) -> str:
    """Why a store of the model cannot be a real one, whatever is installed; empty when it can."""
    service = app.services[name]
    if service.protocol not in KNOWN:
        return ABSENT.get(service.protocol, f"no real store speaks {service.protocol}")
    if service.replicas > 1 or any(r.service == name for r in app.replication):
        return f"{service.replicas} pods that share data are no single {KNOWN[service.protocol].name}"
    if any(endpoint.calls for endpoint in service.endpoints.values()):
        return "it calls other services"
    return ""


def wanted(app: AppSpec, real_stores: bool | str) -> dict[str, Known]:
    """Store → what stands for it: all that can be real with `true`, those that are installed with `auto`, none with `false`."""
    if real_stores is False:
        return {}
    found = {name: KNOWN[service.protocol] for name, service in stores(app).items() if not eligible(app, name)}
    return {name: known for name, known in found.items() if real_stores is True or not known.missing()}


def stores(app: AppSpec) -> dict[str, ServiceSpec]:
    """The stores of an application."""
    return {name: service for name, service in app.services.items() if service.kind == "store"}


def described(app: AppSpec, real_stores: bool | str) -> dict[str, str]:
    """Store → program and version that is real, or why it is framed."""
    chosen, found = wanted(app, real_stores), {}
    for name, service in stores(app).items():
        if name in chosen:
            found[name] = f"{chosen[name].name} {version(chosen[name])}".strip()
        elif real_stores is False and not eligible(app, name):
            found[name] = "framed: cluster.real_stores=false"
        else:
            why = eligible(app, name) or "; ".join(
                f"{need.name} is missing ({need.how_to_meet})" for need in KNOWN[service.protocol].missing()
            )
            found[name] = f"framed: {why}"
    return found


@cache
def version(known: Known) -> str:
    """What the installed program calls itself; empty where it does not say."""
    path = tool(known.version[0])
    if path is None:
        return ""
    done = subprocess.run([path, *known.version[1:]], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    words = done.stdout.replace("=", " ").split()
    return next((word.split("-")[0] for word in words if word[:1].isdigit()), "")


def requirements() -> list[Requirement]:
    """What every real store needs on this machine, met or not."""
    found = []
    for known in KNOWN.values():
        missing = known.missing()
        found += missing or [Requirement(f"{known.name} {version(known)}".strip(), True, "")]
    return found
