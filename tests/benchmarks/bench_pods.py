"""How long the network of a testbed with 50 pods takes: `python -m tests.benchmarks.bench_pods`."""

from __future__ import annotations

import os
import resource
import sys
import time

from mimir.cluster.netns.kernel import become_root_of_own_world, die_with_parent


def main() -> int:
    """Namespaces, links, addresses, routes and service addresses; everything goes with this process."""
    parent = os.getppid()
    become_root_of_own_world()  # before anything starts a thread
    die_with_parent(parent)
    from mimir.cluster.netns.layout import Layout
    from mimir.cluster.netns.network import build
    from mimir.spec.cluster import NetnsSpec
    from tests.support.specs import spec

    chosen = spec(["cluster=netns", "app.services.user.replicas=20", "app.services.front-end.replicas=11"])
    assert isinstance(chosen.cluster, NetnsSpec)
    layout = Layout(chosen.app, chosen.cluster)
    begun_s, cpu_s = time.monotonic(), _cpu_s()
    build(layout)
    print(f"{len(layout.pods)} pods: {time.monotonic() - begun_s:.2f} s, {_cpu_s() - cpu_s:.2f} s of processor time")
    return 0


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    sys.exit(main())
