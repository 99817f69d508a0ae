"""Why an edge of the simulated cluster differs from the real one: causes that were looked up in captures and code."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import NamedTuple

import numpy as np

UNKNOWN = "not explained yet"


class Seen(NamedTuple):
    """A difference that asks for a cause: whose, of what, and both values."""

    app: str
    client: str
    server: str
    measure: str
    real: float
    simulated: float
    exchanges: float = np.inf  #: on the side that has fewer


class Reason(NamedTuple):
    """A cause in words, and what it can explain: edges (patterns of application, client, server), measures, direction."""

    app: str
    client: str
    server: str
    measures: tuple[str, ...]
    text: str
    simulated: str = ""  #: `more` or `less` than real; empty: the cause works both ways
    most_exchanges: float = np.inf  #: it explains nothing on edges that carry more
    most_value: float = np.inf  #: nor values greater than this, on either side

    def fits(self, seen: Seen) -> bool:
        """Does the cause explain this difference?"""
        names = ((self.app, seen.app), (self.client, seen.client), (self.server, seen.server))
        return (
            seen.measure in self.measures
            and all(fnmatch(value, pattern) for pattern, value in names)
            and self.simulated in ("", "more" if seen.simulated > seen.real else "less")
            and seen.exchanges <= self.most_exchanges
            and max(seen.real, seen.simulated) <= self.most_value
        )


_PORTS = "the simulator asks all questions of a look-up from one port; resolver libraries, as in the real pods, open a socket for each"
_POOLS = "pools and sessions: the real connections were opened while the load warmed up, before the recording; the simulated ones open with it"
_CONTENT = (
    "all replies of a simulated service have 30 % of the variance of their size in common for a minute (cluster.content_share, an assumption); "
    "really running services draw each size by itself, and detectors have it easier there"
)
_AGAIN = "a purchase calls several services at once; real pods ask for a name again while its first answer is on the way, simulated ones remember the question"
_TIMER = "about 1 %: in which window a timer fires once more is settled by its phase, for the whole recording"
_LISTS = "now and then a user lists all customers, some 200 kB: so few such replies in a few hours that their number is chance, whatever blocks say"
_SETTINGS = (
    "a real probe begins with SETTINGS, and the client acknowledges those of the server after the reply: that counts as one more exchange, without a "
    "reply; the simulator sends one request and one reply, of together fewer bytes"
)
_FRAMES = "small frames of HTTP/2 (SETTINGS, their acknowledgement, pings) really have packets of their own; the simulator sends them along with messages"
FEW_LOOK_UPS = 500.0  #: exchanges; a name outside takes up to eight of them
SMALL = 0.03  #: share of the mean, of which 0.01 is added to all that scatters
REASONS: tuple[Reason, ...] = (
    Reason("*", "kube-dns", "kubernetes", ("exchanges",), "there is no API server in namespaces that kube-dns could watch", "more"),
    Reason("*", "*", "kube-dns", ("connections",), _PORTS, "less"),
    Reason("sockshop", "orders", "kube-dns", ("exchanges",), _AGAIN, "less"),
    Reason("sockshop", "orders", "kube-dns", ("variation",), _AGAIN, "more"),
    Reason("wordpress", "*", "kube-dns", ("variation",), "requests bunched: the machine was busy (reply p99 in the last table)", "less"),
    Reason("*", "*", "kube-dns", ("exchanges", "variation"),
           "names outside are looked up now and then, each with up to eight questions: so few look-ups that their number is chance, whatever blocks say",
           most_exchanges=FEW_LOOK_UPS),
    Reason("*", "node:*", "*", ("variation", "residual"), _TIMER, most_value=SMALL),
    Reason("*", "*", "*", ("connections",), _POOLS, "more"),
    Reason("*", "*", "kube-dns", ("residual",), "names of services are asked for when pools open, which really was before the recording: the simulated edge mixes names, the real one does not", "more"),
    Reason("*", "*", "*", ("residual",), _CONTENT, "more"),
    Reason("wordpress", "*", "*", ("variation",), _CONTENT, "more"),
    Reason("wordpress", "outside:clients", "*", ("request_bytes", "request sizes"),
           "one post in twenty carries an image of 160 kB: so few uploads that their number is chance, whatever blocks of a minute say"),
    Reason("sockshop", "front-end", "user", ("response_bytes", "response sizes", "residual"), _LISTS),
    Reason("sockshop", "user", "user-db", ("response_bytes", "response sizes", "residual"), _LISTS),
    Reason("hipsterstore", "node:*", "*", ("request_bytes", "response_bytes"), _SETTINGS, "more"),
    Reason("hipsterstore", "node:*", "*", ("exchanges",), _SETTINGS, "less"),
    Reason("hipsterstore", "*", "*", ("request sizes", "response sizes"), _FRAMES, "more"),
    Reason("hipsterstore", "frontend", "checkoutservice", ("packets",),
           "a checkout really took longer than the 40 ms after which Linux acknowledges a request by itself: four packets instead of three", "less"),
)  # fmt: skip


def reason_of(seen: Seen) -> str:
    """The first cause that fits, or that none is known."""
    return next((reason.text for reason in REASONS if reason.fits(seen)), UNKNOWN)
