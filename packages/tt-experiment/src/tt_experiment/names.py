"""Names of projects and experiments, and the folders that they get."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from tt_experiment.errors import ExperimentNameError

__all__ = ["folder_name"]

_FORBIDDEN = frozenset('/\\<>:"|?*')
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)
_MAX_BYTES = 190  # a file name has at most 255, and the time stamp takes its part
_DIGITS = 8


def folder_name(name: str, what: str = "experiment name") -> str:
    """The name itself where every system takes it for a folder, else a safe name made of it.

    Names that are not taken as they are (``a/b``, ``..``, ``-x``, ``CON``, 300 characters) keep
    what can be kept and get eight digits of their own, so that no two of them share a folder.

    Args:
        name: Any text; ``run.json`` keeps it as it is.
        what: What the name is of, for the message.

    Raises:
        ExperimentNameError: It is no text, or has nothing to show.
    """
    if not isinstance(name, str):
        msg = f"{what} must be a string. Got {type(name).__name__}"
        raise ExperimentNameError(msg)
    if not name.strip():
        msg = f"{what} must not be empty. Got {name[:80]!r}"
        raise ExperimentNameError(msg)
    kept = _safe(name)
    if kept == name:
        return name
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{_cut(kept, _MAX_BYTES - _DIGITS - 1)}~{digits}" if kept else digits


def _safe(name: str) -> str:
    """The name without what some system refuses or nobody sees."""
    visible = "".join(
        "-" if c in _FORBIDDEN or unicodedata.category(c) in _INVISIBLE else c for c in name
    )
    safe = _cut(re.sub(r"^[-.~\s]+|[.\s]+$", "", visible), _MAX_BYTES)
    if safe.split(".")[0].strip().lower() in _RESERVED:
        return f"_{safe}"
    return safe


def _cut(text: str, size: int) -> str:
    """At most so many bytes, without half a character."""
    return text.encode()[:size].decode("utf-8", "ignore").rstrip(". ")
