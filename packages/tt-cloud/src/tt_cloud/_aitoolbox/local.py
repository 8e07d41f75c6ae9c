"""Local savers and loaders, from whichever package brings them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from tt_cloud.errors import MissingDependency

GROUP = "tt_cloud.local_savers"


def local_part(given: Any, name: str, *arguments: Any, **options: Any) -> Any:
    """What the caller gave, or else a new one of what is registered under a name.

    Raises:
        MissingDependency: When no package that is installed brings one.
    """
    if given is not None:
        return given
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        msg = (
            f"files are made before they are uploaded: no installed package has a {name!r} "
            f"(entry points {GROUP!r}); pip install tt-experiment, or give your own"
        )
        raise MissingDependency(msg)
    return found[name].load()(*arguments, **options)
