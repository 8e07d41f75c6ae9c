"""A page that needs nothing but itself: style, scripts and data inside, everything else refused."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from tt_experiment._report.html import Markup, join, tag

__all__ = ["Part", "page"]

_SCRIPTS = "dom scale series view chart tip pointer numbers tables parallel page"
_KEYS = (
    "Left and right arrows go from point to point, plus and minus zoom, 0 shows everything, Home "
    "and End go to the ends. With the mouse, drag over a stretch to zoom into it; the wheel zooms "
    "after a click, or with Ctrl."
)


class Part(NamedTuple):
    """A section of a page."""

    title: str
    content: Markup | None

    @property
    def id(self) -> str:
        """Where the page's navigation goes."""
        return self.title.lower().replace(" ", "-")


def page(title: str, header: Markup, parts: Sequence[Part], data: Mapping[str, Any]) -> bytes:
    """Put a page together; parts without content are left out.

    Args:
        title: Of the window.
        header: What stands first.
        parts: The sections.
        data: Curves for the charts: ``axes``, ``charts``, and what else the scripts read.
    """
    shown = [part for part in parts if part.content]
    sections = [
        tag("section", tag("h2", part.title, id=part.id), part.content, aria_labelledby=part.id)
        for part in shown
    ]
    body = [
        tag("a", "Skip to the content", href="#content", class_="skip"),
        _bar(shown),
        tag("main", header, *sections, id="content"),
        tag("footer", "Written by tt-experiment. This page loads nothing and sends nothing."),
        tag("p", _KEYS, id="chart-keys", class_="sr-only"),
        Markup(f'<script type="application/json" id="data">{_data(data)}</script>'),
        Markup(f"<script>{_script()}</script>"),
    ]
    html = tag("html", tag("head", _head(title)), tag("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{html}\n".encode()


def _head(title: str) -> Markup:
    policy = (
        f"default-src 'none'; script-src {_hash(_script())}; style-src {_hash(_style())}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return join(
        [
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="referrer" content="no-referrer">'),
            Markup('<link rel="icon" href="data:,">'),  # or the browser asks a server for one
            tag("title", title),
            Markup(f"<style>{_style()}</style>"),
        ]
    )


def _bar(parts: Sequence[Part]) -> Markup:
    links = [tag("a", part.title, href=f"#{part.id}") for part in parts]
    button = tag("button", "Theme", type="button", id="theme", class_="button needs-js")
    nav = tag("nav", *links, aria_label="Sections")
    return tag("div", tag("div", nav, button), class_="bar")


def _data(data: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the element it stands in."""
    plain = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@functools.cache
def _script() -> str:
    parts = (_asset(f"{name}.js") for name in _SCRIPTS.split())
    return f'(() => {{\n"use strict";\n{"".join(parts)}}})();'


@functools.cache
def _style() -> str:
    return _asset("page.css")


def _asset(name: str) -> str:
    return files("tt_experiment._report").joinpath("assets", name).read_text("utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
