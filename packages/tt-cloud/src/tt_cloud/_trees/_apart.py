"""Places: where a store or a folder is, and that two of them do not lie in each other."""

from __future__ import annotations

from pathlib import Path

from tt_cloud._files import folder_of
from tt_cloud._keys import check_key
from tt_cloud._trees._manifest import joined
from tt_cloud.api import ObjectStore
from tt_cloud.errors import InvalidURL


def below(prefix: str) -> str:
    """What the keys below a prefix begin with."""
    if not prefix:
        return ""
    check_key(prefix)
    return prefix + "/"


def address(store: ObjectStore, prefix: str = "") -> str:
    """A place, for messages and names."""
    return joined(store.url, prefix).rstrip("/")


def refuse_nested(source: Path | ObjectStore, store: ObjectStore, prefix: str) -> None:
    """Refuse to copy between two places when one is or holds the other."""
    ours, theirs = _parts(store, prefix), _parts(source)
    length = min(len(ours), len(theirs))
    if ours[:length] == theirs[:length]:
        came = source if isinstance(source, Path) else source.url
        msg = (
            "what is copied lies apart from where it goes: "
            f"{came} and {address(store, prefix)} do not; name another place"
        )
        raise InvalidURL(msg)


def _parts(place: Path | ObjectStore, prefix: str = "") -> tuple[str, ...]:
    """The way there, from the service down."""
    if isinstance(place, Path):
        return ("", "file:", *place.resolve().parts)
    if (root := folder_of(place.url)) is not None:
        return _parts(root.joinpath(*prefix.split("/")))
    return (getattr(place, "service", ""), *address(place, prefix).split("/"))
