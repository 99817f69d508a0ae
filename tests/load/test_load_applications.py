"""What the users of the shipped applications do, and which calls that makes, against what was published or measured."""

from __future__ import annotations

from collections import defaultdict

import pytest
from pydantic import TypeAdapter

from mimir.apps.graph import split_target
from mimir.load.behaviours import compile_behaviours
from mimir.spec.app import AppSpec, StepSpec
from tests.cluster.simulated_samples import option

#: shares of all calls between pods, in %: 484,557 calls of a real Online Boutique in 102 minutes (Nezha data set, 2023)
NEZHA = {
    ("frontend", "productcatalogservice"): 41.8, ("frontend", "currencyservice"): 27.0, ("frontend", "cartservice"): 8.1,
    ("frontend", "recommendationservice"): 6.4, ("recommendationservice", "productcatalogservice"): 6.4,
    ("frontend", "adservice"): 5.2, ("frontend", "shippingservice"): 2.0, ("checkoutservice", "productcatalogservice"): 0.8,
    ("checkoutservice", "cartservice"): 0.67, ("checkoutservice", "shippingservice"): 0.66,
    ("frontend", "checkoutservice"): 0.34, ("checkoutservice", "paymentservice"): 0.33,
    ("checkoutservice", "emailservice"): 0.33,
}  # fmt: skip


def load_app(name: str) -> AppSpec:
    return TypeAdapter(AppSpec).validate_python(option("app", name))


def expected_calls(app: AppSpec) -> dict[tuple[str, str], float]:
    """Expected calls between services that one behaviour of the usual mix causes."""
    found: dict[tuple[str, str], float] = defaultdict(float)

    def follow(target: str, weight: float) -> None:
        service, endpoint = split_target(target)
        for stage in app.services[service].endpoints[endpoint].calls:
            for call in stage:
                times = weight * call.probability * sum(call.count) / 2
                found[service, split_target(call.to)[0]] += times
                follow(call.to, times)

    for name, share in app.users.mix.items():
        for item in app.users.behaviours[name]:
            assert isinstance(item, StepSpec)
            follow(f"{app.users.entry}:{item.request}", share * item.probability)
    return found


def test_calls_of_online_boutique_are_distributed_as_in_a_real_one() -> None:
    calls = expected_calls(load_app("hipsterstore"))
    del calls["cartservice", "redis-cart"]  # not traced
    total = sum(calls.values())
    for edge, percent in NEZHA.items():
        assert 100 * calls[edge] / total == pytest.approx(percent, rel=0.2), edge


@pytest.mark.parametrize(
    ("name", "mix"),
    [
        ("wordpress", {"visitor": 0.4, "user_post": 0.4, "user_update": 0.2}),
        ("hipsterstore", {"index": 0.05, "setCurrency": 0.10, "browseProduct": 0.55, "addToCart": 0.10, "viewCart": 0.15,
                          "checkout": 0.05}),
    ],
)  # fmt: skip
def test_mixes_are_those_of_the_study(name: str, mix: dict[str, float]) -> None:
    assert load_app(name).users.mix == mix


def test_a_visitor_of_the_blog_looks_at_1_to_21_pages() -> None:
    app = load_app("wordpress")
    programs = compile_behaviours(app)
    pages = programs.expected("visitor")[1] - 1  # without the TLS handshake
    assert pages == pytest.approx((1 + 21) / 2)
