"""Lets mkdocstrings read two habits of the docstrings here; named in zensical.toml.

``Example:`` is a heading too, where griffe knows only ``Examples:``. And a paragraph that ends in
``::`` introduces code, which Markdown takes from the indentation alone.
"""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
LITERAL = re.compile(r"(?<=\w)::$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites docstrings as they are loaded."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:  # noqa: ARG002 - griffe's
        if obj.docstring:
            text = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = LITERAL.sub(":", text)
