from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, find_chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_opens_cleanly_and_fits(browser: Browser, reported: Path, width: int, scheme: str) -> None:
    url = (reported / "report.html").as_uri()
    browser.open(url, width, scheme=scheme)
    browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.complaints() == []
    assert browser.requests() == [url]
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    shown = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shown == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(15, 19, 24)")


def test_one_timeline_for_each_screen(browser: Browser, reported: Path) -> None:
    visible = """Math.max(...[...document.querySelectorAll('#timeline figure')]
        .map((f) => [...f.querySelectorAll('svg')].filter((s) => s.checkVisibility()).length))"""
    seen = {}
    for width in (1280, 390):
        browser.open((reported / "report.html").as_uri(), width)
        seen[width] = browser.evaluate(visible)
    assert seen == {1280: 1, 390: 1}


def test_text_in_figures_can_be_read(browser: Browser, reported: Path) -> None:
    smallest = """Math.min(...[...document.querySelectorAll('figure svg')].filter((s) => s.checkVisibility())
        .flatMap((s) => [...s.querySelectorAll('text')])
        .map((t) => [parseFloat(getComputedStyle(t).fontSize), t.getScreenCTM()])
        .map(([size, matrix]) => size * Math.hypot(matrix.a, matrix.b)))"""
    for width, pixels in ((1280, 9.0), (390, 8.5)):
        browser.open((reported / "report.html").as_uri(), width)
        assert browser.evaluate(smallest) >= pixels


def test_printing_opens_the_details(browser: Browser, reported: Path) -> None:
    browser.open((reported / "report.html").as_uri(), 794, media="print")
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.evaluate("document.documentElement.scrollWidth") <= 794
