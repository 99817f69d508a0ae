"""One palette for page and figures, light and dark; figures drawn in light colours become themed when set inline."""

from __future__ import annotations

import re

#: role → (light, dark). Every light colour is unique: that is how `inline` finds the role of a colour in a figure.
PALETTE: dict[str, tuple[str, str]] = {
    "page": ("#f5f6f8", "#0f1318"),
    "card": ("#fefefe", "#171c23"),
    "ink": ("#18212c", "#e7ebf0"),
    "muted": ("#55606e", "#a3afbd"),
    "line": ("#d8dde4", "#333d49"),
    "soft": ("#eceff3", "#202832"),
    "accent": ("#1f5fc4", "#7db0ff"),
    "second": ("#7a4bb5", "#c3a1f5"),
    "third": ("#00766c", "#4fc9bb"),
    "leak": ("#c3271b", "#ff8577"),
    "shade": ("#fbe3df", "#46231f"),
    "warn": ("#8f5600", "#eab35a"),
    "warnsoft": ("#fdf0d9", "#3c2e14"),
    "good": ("#17703f", "#63cf95"),
    "goodsoft": ("#e0f3e8", "#17372a"),
    "edge": ("#9aa7b5", "#5b6978"),
}
LIGHT = {role: colours[0] for role, colours in PALETTE.items()}
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"


def css_variables(dark: bool) -> str:
    """CSS declarations of all roles in one theme."""
    return " ".join(f"--{role}: {colours[dark]};" for role, colours in PALETTE.items())


def inline(svg: str, prefix: str, label: str) -> str:
    """An SVG document made fit to stand inside the page.

    Colours become CSS variables, ids get a prefix (several figures share one page), the XML head and the metadata go,
    the drawing takes the width of its box, and `label` is what a screen reader says.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    for role, (light, _) in PALETTE.items():
        body = body.replace(light, f"var(--{role})")
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?|role|aria-label)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{_attribute(label)}">{rest}'.strip()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
