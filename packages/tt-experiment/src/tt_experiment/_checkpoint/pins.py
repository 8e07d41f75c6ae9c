"""``PINNED.json``: the checkpoints of a folder that nothing deletes, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tt_experiment import _json
from tt_experiment._durable import replace_file
from tt_experiment.errors import CheckpointError

__all__ = ["read_pins", "write_pins"]

_NAME = "PINNED.json"
_FORMAT = "tt-pins/1"


def read_pins(folder: Path) -> dict[str, str]:
    """Names of pinned checkpoints with the reason of each.

    Raises:
        CheckpointError: The file cannot be read, or is not one that `write_pins` makes.
    """
    path = folder / _NAME
    try:
        document = _json.load_object(path.read_bytes())
        pinned = document["pinned"]
        if not all(isinstance(reason, str) for reason in pinned.values()):
            msg = "a reason is a text"
            raise ValueError(msg)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        msg = f"{path} must say what is pinned. Got {error!r}: pin them again after removing it"
        raise CheckpointError(msg) from error
    return dict(pinned)


def write_pins(folder: Path, pinned: Mapping[str, str]) -> None:
    """Replace the list; names that are no longer there are left out."""
    there = {name: reason for name, reason in sorted(pinned.items()) if (folder / name).is_dir()}
    replace_file(folder / _NAME, _json.dumps({"format": _FORMAT, "pinned": there}))
