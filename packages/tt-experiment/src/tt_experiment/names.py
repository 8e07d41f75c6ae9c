"""Names of projects and experiments, that become folder names as they are."""

from __future__ import annotations

import unicodedata

from tt_experiment.errors import ExperimentNameError

__all__ = ["check_name"]

_FORBIDDEN = frozenset('/\\<>:"|?*')
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)
_MAX_CHARACTERS = 150
_MAX_BYTES = 220  # a file name has at most 255, and the time stamp takes its part


def check_name(name: str, what: str = "experiment name") -> str:
    """Return a name that is safe as a folder name on every system, verbatim.

    Args:
        name: Any script and emoji are fine; separators and what Windows refuses are not.
        what: What the name is of, for the message.

    Raises:
        ExperimentNameError: It would leave its folder, or not be a folder name everywhere.
    """
    if not isinstance(name, str):
        msg = f"{what} must be a string. Got {type(name).__name__}"
        raise ExperimentNameError(msg)
    if problem := _problem(name):
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        msg = f"{what} {problem}. Got {shown!r}"
        raise ExperimentNameError(msg)
    return name


def _problem(name: str) -> str | None:
    if not name.strip():
        return "must not be empty"
    if len(name) > _MAX_CHARACTERS or len(name.encode("utf-8", "replace")) > _MAX_BYTES:
        return f"must have at most {_MAX_CHARACTERS} characters and {_MAX_BYTES} bytes in UTF-8"
    if bad := sorted(set(name) & _FORBIDDEN):
        return f"must not contain any of {' '.join(bad)}"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        return "must not contain control characters, line breaks or half surrogates"
    if name[-1] in ". " or name[0] == " " or name.startswith(".tmp-"):
        return "must not begin with a space or '.tmp-', nor end with a dot or space"
    if name.split(".")[0].strip().lower() in _RESERVED:
        return "must not be a device name of Windows, like CON or LPT1"
    return None
