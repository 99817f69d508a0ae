"""What real programs in place of generic services offer to the testbed, and which application has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mimir.cluster.base import Requirement
from mimir.cluster.netns.hosts import Host, Hosts, PodHost
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.lines import Speak
from mimir.cluster.netns.network import Network
from mimir.cluster.netns.stores.known import described, requirements, wanted
from mimir.spec import Spec
from mimir.spec.cluster import NetnsSpec


class Browser(Protocol):
    """One user's session with a real entry service."""

    async def ask(self, endpoint: str, size: int) -> int:
        """A request of about `size` bytes; bytes of the reply. Raises what a broken connection or an error page raises."""
        ...

    def close(self) -> None:
        """The session ends."""
        ...


class Programs(Protocol):
    """Real programs that stand for `services` of the model."""

    services: frozenset[str]
    facts: dict[str, Any]  #: what is worth knowing of them, as JSON values

    async def start(self) -> None:
        """Start everything; MimirError when something does not come up."""
        ...

    def check(self) -> None:
        """MimirError when a program ended."""
        ...

    async def rejoin(self, pod: str, after_s: float) -> None:
        """A member of a group dies with all its data and starts again `after_s` later; it has a copy of the others' when this returns."""
        ...

    async def count(self, when: str) -> None:
        """Keep in `facts` what they count so far."""
        ...

    def close(self) -> None:
        """End all programs."""
        ...

    def speak(self, service: str) -> Speak:
        """What generic services speak to one of theirs."""
        ...

    async def probe(self, host: PodHost) -> None:
        """What a kubelet asks one of their pods."""
        ...

    def browser(self, host: Host, slot: int) -> Browser:
        """A user's session with the entry service."""
        ...


def optional() -> list[Requirement]:
    """What `cluster.real_stores=auto` does without, and what only some leaks need."""
    from mimir.cluster.netns.requirements import tool_requirements
    from mimir.cluster.netns.wordpress.packages import requirement

    return [requirement(), *requirements(), *tool_requirements()]


def _whole(spec: Spec) -> bool:
    """Are there real programs for the application as a whole, its entry service included, and not for single stores?"""
    return spec.app.name == "wordpress"


Make = Callable[[Layout, Network, Hosts, Path, np.random.Generator], Programs]


def real_requirements(spec: Spec) -> list[Requirement]:
    """The packages of the real programs where the spec insists on them; none where it does not."""
    if not isinstance(spec.cluster, NetnsSpec) or spec.cluster.real_stores is not True:
        return []
    if _whole(spec):
        from mimir.cluster.netns.wordpress.packages import requirement

        return [requirement()]
    return [need for known in set(wanted(spec.app, True).values()) for need in known.missing()]


def real_programs(spec: Spec) -> Make | None:
    """What makes the real programs of this spec's application; None where the generic services act.

    `cluster.real_stores`: `false` never, `auto` where the packages are installed, `true` always.
    """
    if not isinstance(spec.cluster, NetnsSpec) or spec.cluster.real_stores is False:
        return None
    if _whole(spec):
        from mimir.cluster.netns.wordpress.packages import missing
        from mimir.cluster.netns.wordpress.stack import WordPress

        return WordPress if spec.cluster.real_stores is True or not missing() else None
    chosen = wanted(spec.app, spec.cluster.real_stores)
    if not chosen:
        return None
    from mimir.cluster.netns.stores.programs import Stores

    return partial(Stores, chosen)


def real_entry(spec: Spec) -> bool:
    """Is the service that users ask a real program?"""
    return _whole(spec) and real_programs(spec) is not None


def real_or_framed(spec: Spec) -> dict[str, str]:
    """Store → the program that is real, or why it is framed. Empty for applications that are real as a whole."""
    if not isinstance(spec.cluster, NetnsSpec) or _whole(spec):
        return {}
    return described(spec.app, spec.cluster.real_stores)
