"""HTTP requests that fit no fingerprint of their client (after DECANTeR: Bortolameotti et al., ACSAC 2017)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from mimir.detectors.base import Reason, Scores
from mimir.detectors.messages import edge_of, messages_with
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window
from mimir.units import format_bytes

SHOWN = 3  #: requests named by `explain`
COLUMNS = ("http.request.method", "http.host", "http.request.uri", "http.user_agent", "http.content_length")
HEAD_BYTES = 1.0  #: what a request tells by being sent, so that one without query and body counts, too
VARIABLE = re.compile(r"[0-9a-f]{8,}|[0-9]+", re.IGNORECASE)


class Request(NamedTuple):
    """What a fingerprint is made of, and the outgoing information of one request."""

    agent: str
    host: str
    action: str  #: method and path, numbers and long hexadecimal strings as `#`
    outgoing: float  #: bytes of query string and body


def request(method: str, host: str, uri: str, agent: str, length: str) -> Request:
    """One request from its header fields; several values (pipelined requests) count by their first.

    >>> request("POST", "carts", "/carts/57a98d98e4b00679b4a830af/items?x=1", "curl/8", "40")
    Request(agent='curl/8', host='carts', action='POST /carts/#/items', outgoing=43.0)
    """
    path, _, query = uri.partition("?")
    body = length.split(",")[0]
    action = f"{method.split(',')[0]} {VARIABLE.sub('#', path.split(',')[0])}"
    return Request(agent, host.split(":")[0].lower(), action, float(len(query) + (int(body) if body.isdigit() else 0)))


class HttpFingerprint(Parametrised):
    """Score = outgoing bytes of requests that resemble no fingerprint of their client's service.

    A fingerprint is a combination of user agent, host and action (method and path, numbers replaced) seen in training, with
    the largest outgoing information (query string and body) seen with it. The similarity of a request to a fingerprint is the
    share of four that agree: agent, host, action, and outgoing at most `size_factor` times the largest. A request whose best
    similarity is below `similarity` counts with its outgoing bytes and 1. DECANTeR clusters by user agent and compares hosts,
    constant headers, language and outgoing size of groups of requests, for browsers and background programs of a host;
    services talk through few fixed programs, so a request is compared alone and actions stand in for headers.

    Source: Bortolameotti et al., ACSAC 2017 (fingerprints, outgoing information)
    Family: payload, HTTP headers
    Supervised: no
    Needs: heads of plain HTTP requests (capture.dissector on a capture with payload)
    Complexity: O(requests · fingerprints of the client) to fit and to score
    Limits: TLS; anything but HTTP/1 requests; data in replies; a program that copies agent, host and path of another
    """

    name = "http_fingerprint"
    parameters = ("similarity", "size_factor")

    def __init__(self) -> None:
        self.similarity, self.size_factor = 0.76, 2.0
        self._known: dict[str, dict[tuple[str, str, str], float]] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn fingerprints per service; MimirError where the recording holds no heads of HTTP requests."""
        if not 0 < self.similarity <= 1 or self.size_factor < 1:
            raise MimirError(
                f"detector.similarity must lie in (0, 1] (got {self.similarity}) and size_factor be ≥ 1 "
                f"(got {self.size_factor}); see conf/detector/http_fingerprint.yaml"
            )
        known: dict[str, dict[tuple[str, str, str], float]] = {}
        for sender, made in self._requests(benign)[1]:
            mine = known.setdefault(benign.workloads.get(sender, sender), {})
            mine[made[:3]] = max(mine.get(made[:3], 0.0), made.outgoing)
        if not known:
            raise MimirError("http_fingerprint found no head of an HTTP request in the fit recording; " + _how())
        self._known = known
        return self

    def _requests(self, series: EdgeSeries) -> tuple[pd.DataFrame, list[tuple[str, Request]]]:
        """Messages with a request, and (sender, request) of each."""
        table = messages_with(series, COLUMNS)
        if table is None:
            raise MimirError("http_fingerprint reads the heads of HTTP requests and the recording has none; " + _how())
        columns = [table[c].fillna("").astype(str) for c in COLUMNS]
        return table, [(s, request(*v)) for s, *v in zip(table["sender"], *columns, strict=True)]

    def _strange(self, service: str, made: Request) -> bool:
        """Is the best similarity to a fingerprint of the service below the limit?"""
        best = 0.0
        for (agent, host, action), most in (self._known or {}).get(service, {}).items():
            fits = (agent == made.agent, host == made.host, action == made.action)
            best = max(best, (sum(fits) + (made.outgoing <= self.size_factor * most)) / 4)
        return best < self.similarity

    @once_a_series
    def _judged(self, series: EdgeSeries) -> list[tuple[int, int | None, Request]]:
        """(window, edge, request) of every request that fits no fingerprint."""
        self.require(self._known is not None)
        table, requests = self._requests(series)
        verdicts: dict[tuple[str, Request], bool] = {}
        edges: dict[tuple[str, str, int], int | None] = {}
        out = []
        for window, sender, receiver, port, (_, made) in zip(
            table["window"], table["sender"], table["receiver"], table["port"], requests, strict=True
        ):
            service = series.workloads.get(sender, sender)
            key = (service, made)
            if key not in verdicts:
                verdicts[key] = self._strange(service, made)
            if verdicts[key]:
                ends = (str(sender), str(receiver), int(port))
                if ends not in edges:
                    edges[ends] = edge_of(series, *ends)
                out.append((int(window), edges[ends], made))
        return out

    def score(self, windows: EdgeSeries) -> Scores:
        """Outgoing bytes of strange requests; contributions are those of the edge they took, where it is known."""
        score, parts = np.zeros(len(windows)), np.zeros((len(windows), len(windows.edges)))
        for window, edge, made in self._judged(windows):
            score[window] += HEAD_BYTES + made.outgoing
            if edge is not None:
                parts[window, edge] += HEAD_BYTES + made.outgoing
        return Scores(windows.window_s, windows.window_start, score, windows.edges, parts)

    def explain(self, window: Window) -> list[Reason]:
        """The strange requests with most outgoing bytes, one an edge and action."""
        total: dict[tuple[int, Request], float] = {}
        for at, edge, made in self._judged(window.series):
            if at == window.index and edge is not None:
                kind = (edge, made._replace(outgoing=0.0))
                total[kind] = total.get(kind, 0.0) + made.outgoing
        reasons = []
        for (edge, made), sent in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]:
            key = window.series.edges[edge]
            text = (
                f"{key.client} → {key.server}:{key.server_port}: '{made.action[:60]}' to {made.host or 'no host'} by "
                f"'{made.agent[:40] or 'no user agent'}' fits no fingerprint of its client; {format_bytes(sent)} in query and body"
            )
            path = (key.client, key.server)
            reasons.append(Reason(self.name, text, *key[:3], sent, 0.0, "bytes", path=path, bytes_estimate=sent))
        return reasons

    def state(self) -> Mapping[str, Any]:
        """Fingerprints by service: agent, host, action, largest outgoing bytes."""
        self.require(self._known is not None)
        return {"known": {s: [[*k, v] for k, v in sorted(f.items())] for s, f in sorted((self._known or {}).items())}}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._known = {s: {(a, h, p): float(v) for a, h, p, v in rows} for s, rows in state["known"].items()}
        return self


def _how() -> str:
    return (
        "headers are only there in captures with payload: cluster=recorded cluster.capture=trace.pcap capture.dissector=own, with "
        "http.request.method in capture.dissector_fields"
    )
