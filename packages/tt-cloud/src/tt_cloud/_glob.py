"""Patterns for keys: ``*`` and ``?`` inside a part, ``**`` for any number of parts, ``[...]``.

A key has no part that is hidden: ``*`` also fits names that begin with a dot. ``a/**`` is all that
lies below ``a``, and ``**/a`` is every ``a``, at the top too. A bracket that nothing closes is
itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(r"\[!?+\]?+[^\]]*\]|.", re.DOTALL)
_RANGE = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_NEVER = "(?!)"


def matcher(glob: str | None) -> Callable[[str], bool] | None:
    """Whether a whole key fits the pattern; ``None`` for no pattern."""
    if glob is None:
        return None
    pattern = re.compile(_translated(glob), re.DOTALL)
    return lambda key: pattern.fullmatch(key) is not None


def narrowed(prefix: str, glob: str | None) -> str:
    """A prefix of all keys that begin with another and fit the pattern: fewer to look at."""
    literal = re.split(r"[*?[]", glob or "", maxsplit=1)[0]
    beginning = literal[: literal.rfind("/") + 1]
    return beginning if beginning.startswith(prefix) else prefix


def _translated(glob: str) -> str:
    """The pattern as a regular expression."""
    *above, name = re.sub(r"(?<![^/])\*\*(/\*\*)+(?![^/])", "**", glob).split("/")
    ways = ["(?:[^/]+/)*" if part == "**" else _part(part) + "/" for part in above]
    return "".join(ways) + (".+" if name == "**" else _part(name))


def _part(part: str) -> str:
    """One part. Between stars the first fit is as good as any: to go back would only take time."""
    first, *rest = (_fixed(piece) for piece in _split(part))
    if not rest:
        return first
    middle = "".join(f"(?>[^/]*?{piece})" for piece in rest[:-1])
    return f"{first}{middle}[^/]*{rest[-1]}"


def _split(part: str) -> list[list[str]]:
    """The tokens between the stars."""
    pieces: list[list[str]] = [[]]
    for found in _TOKEN.findall(part):
        if found == "*":
            pieces.append([])
        else:
            pieces[-1].append(found)
    return pieces


def _fixed(piece: list[str]) -> str:
    return "".join(_single(found) for found in piece)


def _single(found: str) -> str:
    """What fits one character."""
    if found == "?":
        return "[^/]"
    return _set(found[1:-1]) if len(found) > 1 else re.escape(found)


def _set(inside: str) -> str:
    negated = inside.startswith("!")
    ranges = "".join(_range(*found) for found in _RANGE.findall(inside[negated:]))
    if negated:
        return f"[^/{ranges}]"
    return f"[{ranges}]" if ranges else _NEVER


def _range(low: str, high: str, single: str) -> str:
    if single:
        return re.escape(single)
    return f"{re.escape(low)}-{re.escape(high)}" if low <= high else ""
