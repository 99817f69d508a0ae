"""Why an edge of the simulated cluster differs from the real one: causes that were looked up in captures and code."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import NamedTuple


class Reason(NamedTuple):
    """Of which edges (patterns of application, client, server) and measures; the cause in words."""

    app: str
    client: str
    server: str
    measures: tuple[str, ...]
    text: str


_PORTS = "the simulator asks all questions of a look-up from one port; resolver libraries, as in the real pods, open a socket for each"
_POOLS = "pools and sessions: the real connections were opened while the load warmed up, before the recording; the simulated ones open with it"
_CONTENT = (
    "all replies of a simulated service have 30 % of the variance of their size in common for a minute (cluster.content_share, an assumption); "
    "really running services draw each size by itself, and detectors have it easier there"
)
REASONS: tuple[Reason, ...] = (
    Reason("*", "kube-dns", "kubernetes", ("exchanges",), "there is no API server in namespaces that kube-dns could watch"),
    Reason("*", "*", "kube-dns", ("connections",), _PORTS),
    Reason("sockshop", "orders", "kube-dns", ("exchanges", "variation"),
           "a purchase calls several services at once; real pods ask for a name again while its first answer is on the way, simulated ones remember the question"),
    Reason("wordpress", "*", "kube-dns", ("variation",), "requests bunched: the machine was busy (reply p99 in the last table)"),
    Reason("*", "*", "kube-dns", ("exchanges", "variation"),
           "names outside are looked up now and then, each with up to eight questions: so few look-ups that their number is chance, whatever blocks say"),
    Reason("*", "node:*", "*", ("variation",), "about 1 %: in which window a timer fires once more is settled by its phase, for the whole recording"),
    Reason("*", "*", "*", ("connections",), _POOLS),
    Reason("*", "*", "kube-dns", ("residual",), "names of services are asked for when pools open, which really was before the recording: the simulated edge mixes names, the real one does not"),
    Reason("*", "node:*", "*", ("residual",), "about 1 %, see variation"),
    Reason("*", "*", "*", ("residual",), _CONTENT),
    Reason("wordpress", "*", "*", ("variation",), _CONTENT),
    Reason("wordpress", "outside:clients", "*", ("request_bytes", "request sizes"),
           "one post in twenty carries an image of 160 kB: so few uploads that their number is chance, whatever blocks of a minute say"),
    Reason("hipsterstore", "frontend", "checkoutservice", ("packets",),
           "a checkout really took longer than the 40 ms after which Linux acknowledges a request by itself: four packets instead of three"),
)  # fmt: skip


def reason_of(app: str, client: str, server: str, measure: str) -> str:
    """The first cause that fits, or that none is known."""
    for reason in REASONS:
        names = ((reason.app, app), (reason.client, client), (reason.server, server))
        if measure in reason.measures and all(fnmatch(value, pattern) for pattern, value in names):
            return reason.text
    return "not explained yet"
