"""What the names of metrics tell: which belong together, and which are of validation data."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["groups", "is_validation", "stem"]

_ROLE = re.compile(
    r"^(?P<first>accumulated|train|training|val|valid|validation|test)[_/. -](?P<rest>.+)$"
    r"|^(?P<stem>.+)[_/. -](?P<last>train|training|val|valid|validation|test)$",
    re.IGNORECASE,
)
_VALIDATION = frozenset(("val", "valid", "validation"))


def groups(names: Sequence[str]) -> list[list[str]]:
    """Names that share a chart: training and validation of the same metric, training first."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(stem(name), []).append(name)
    return [sorted(group, key=is_validation) for group in found.values()]


def is_validation(name: str) -> bool:
    """Whether a name says that the metric was computed on validation data."""
    return _split(name)[1]


def stem(name: str) -> str:
    """A name without its role, in small letters."""
    return _split(name)[0]


def _split(name: str) -> tuple[str, bool]:
    match = _ROLE.match(name)
    if match is None:
        return name.lower(), False
    role = (match["first"] or match["last"]).lower()
    return (match["rest"] or match["stem"]).lower(), role in _VALIDATION
