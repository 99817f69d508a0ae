"""Bounds on what queries carry: names taken apart, codes against their definitions, a tunnel in a cluster's names."""

from __future__ import annotations

import bz2
import math
import zlib

import numpy as np
import pandas as pd
import pytest

from mimir.detectors.dns_information import DnsInformation
from mimir.detectors.dns_information.coders import AdaptiveCode, HyperLogLog, Information
from mimir.detectors.dns_information.names import outside_name, queries_of, registered_domain
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries
from tests.detectors.rival_samples import START, series

RNG = np.random.default_rng(11)
RANDOM = RNG.integers(0, 256, 4000).astype(np.uint8).tobytes()
EDGE = EdgeKey("user-db", "kube-dns", 53, "udp")


def asked(*rows: tuple[float, str, str]) -> EdgeSeries:
    """A series of one edge with queries (seconds from the start, pod, name)."""
    windows = 1 + int(max(r[0] for r in rows) // 60)
    made = series({EDGE: {"dns_queries": [1.0] * windows, "dns_name_bytes": [30.0] * windows}})
    table = pd.DataFrame([{
        "window": int(t // 60), "ts": START + t, "sender": pod, "receiver": "kube-dns-0", "port": 53, "dns.qry.name": name,
        "dns.qry.type": "1", "dns.flags.response": "0"} for t, pod, name in rows])  # fmt: skip
    return EdgeSeries(60, made.window_start, made.edges, made.table, {"user-db-0": "user-db"}, messages=table)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("user.sock-shop.svc.cluster.local", ""),
        ("telemetry.example.net.sock-shop.svc.cluster.local", ""),  # expansion: the cluster says no, nothing leaves
        ("telemetry.example.net.cluster.local.", ""),
        ("Telemetry.Example.Net.", "telemetry.example.net"),
        ("telemetry.example.net.eu.internal", "telemetry.example.net"),
        ("db.eu.internal", "db.eu.internal"),
        ("notcluster.local", "notcluster.local"),
    ],
)
def test_what_leaves_the_cluster(name: str, left: str) -> None:
    assert outside_name(name, "cluster.local", ["eu.internal"]) == left


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("x.y.example.com", ("example.com", "x.y")),
        ("x.example.co.uk", ("example.co.uk", "x")),
        ("example.com", ("example.com", "")),
        ("co.uk", ("co.uk", "")),
        ("localhost", ("localhost", "")),
    ],
)
def test_registered_domains(name: str, parts: tuple[str, str]) -> None:
    assert registered_domain(name) == parts


def test_adaptive_code_by_hand() -> None:
    """Three equal bytes: ½/128, 1½/129, 2½/130."""
    code = AdaptiveCode(0)
    code.add(b"aaa")
    assert code.bits == pytest.approx(-math.log2(0.5 / 128 * 1.5 / 129 * 2.5 / 130))


def test_random_bytes_cannot_be_squeezed_and_repeats_can() -> None:
    bound = Information()
    bound.add(RANDOM)
    assert len(RANDOM) <= bound.size() <= 1.02 * len(RANDOM)
    again = Information()
    again.add(b"telemetry " * 400)
    assert again.size() < 60


@pytest.mark.parametrize("text", [b"abc" * 50, RANDOM[:500], b"the quick brown fox jumps over the lazy dog " * 9])
def test_the_bound_grows_piecewise_and_never_exceeds_a_plain_compressor(text: bytes) -> None:
    """Fed byte by byte it is what one call gives, and no larger than DEFLATE of the whole; bzip2 shows the order of size."""
    whole, pieces = Information(), Information()
    whole.add(text)
    sizes = []
    for byte in text:
        pieces.add(bytes([byte]))
        sizes.append(pieces.size())
    assert sizes[-1] == pytest.approx(whole.size())
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert whole.size() <= len(packer.compress(text) + packer.flush())
    assert whole.size() < len(bz2.compress(text))
    assert Information().size() == 0


@pytest.mark.parametrize("distinct", [1, 50, 900, 20_000])
def test_hyperloglog_is_within_its_error(distinct: int) -> None:
    counter = HyperLogLog(10)
    for number in range(distinct):
        counter.add(f"{number}.example".encode())
        counter.add(f"{number}.example".encode())
    assert counter.count() == pytest.approx(distinct, rel=4 * 1.04 / 32)


def test_resolvers_and_names_of_the_cluster_are_left_out() -> None:
    seen = queries_of(
        asked((0, "user-db-0", "x.svc.cluster.local"), (1, "user-db-0", "a.b.com"), (1.1, "kube-dns-0", "a.b.com")),
        "cluster.local",
        [],
    )
    assert seen is not None
    assert [(q.pod, q.domain, q.rest) for q in seen] == [("user-db-0", "b.com", "a")]


@pytest.mark.parametrize("variant", ["compression", "hyperloglog"])
def test_a_tunnel_is_bounded_from_above_and_not_far(variant: str) -> None:
    """20 names of 100 random bytes in base16: 2,000 bytes left, each bound holds them and at most doubles them."""
    rng, rows = np.random.default_rng(4), []
    for number in range(20):
        data = rng.integers(0, 256, 100).astype(np.uint8).tobytes().hex()
        labels = ".".join(data[i : i + 50] for i in range(0, 200, 50))
        rows.append((7.0 * number, "user-db-0", f"{labels}.evil.example"))
    usual = asked(*((30.0 * i, "user-db-0", "updates.example.com") for i in range(8)))
    detector = DnsInformation().set_params(variant=variant).fit(usual)
    windows = asked(*rows)
    scores = detector.score(windows)
    assert 2000 * (0.9 if variant == "hyperloglog" else 1.0) <= scores.score.max() <= 2 * 2000 * 1.15
    assert (np.diff(scores.score) > 0).all()
    assert scores.contributions[:, 0] == pytest.approx(scores.score)
    assert detector.score(usual).score.max() < 50
    reason = detector.explain(windows.at(len(windows) - 1))[0]
    assert "user-db-0 for evil.example" in reason.text
    assert reason.observed == pytest.approx(scores.score[-1])
    assert reason.bytes_estimate == pytest.approx(scores.score[-1] - scores.score[-2]), "what this window added"


def test_a_pair_counts_only_in_windows_in_which_it_asks() -> None:
    windows = asked((0, "user-db-0", "0123456789abcdef.evil.example"), (200, "user-db-0", "updates.example.com"))
    scores = DnsInformation().fit(windows).score(windows).score
    assert scores[0] > 0 < scores[3]
    assert scores[1] == scores[2] == 0


def test_a_new_day_starts_from_nothing() -> None:
    late, early = 86_400 - START % 86_400 - 60.0, 86_400 - START % 86_400 + 60.0
    name = "0123456789abcdef.evil.example"
    scores = DnsInformation().fit(asked((0, "p", name))).score(asked((late, "p", name), (early, "p", name)))
    before, after = scores.score[int(late // 60)], scores.score[int(early // 60)]
    assert after == before > 0


def test_without_names_bytes_are_judged_and_named_as_such() -> None:
    fit = series({EDGE: {"dns_name_bytes": [100.0, 120.0]}})
    test = series({EDGE: {"dns_name_bytes": [110.0, 900.0]}})
    detector = DnsInformation().fit(fit)
    assert detector.score(test).score.tolist() == [0.0, 790.0]
    assert "(bytes bound)" in detector.explain(test.at(1))[0].text
    with pytest.raises(MimirError, match=r"set capture\.dissector=own"):
        DnsInformation().set_params(variant="compression").fit(fit)
