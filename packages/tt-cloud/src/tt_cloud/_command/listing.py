"""``tt-cloud ls``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from tt_cloud._command.console import size
from tt_cloud._command.places import Place, place
from tt_cloud._command.reports import object_as_json
from tt_cloud._command.status import OK
from tt_cloud._command.stores import Opener, absent, found
from tt_cloud.api import ObjectInfo, TreeStore

if TYPE_CHECKING:
    from tt_cloud._command.arguments import Arguments
    from tt_cloud._command.console import Console

_PATIENCE = 1000  # a page of a listing: reading on costs less than asking anew
_LAST = "\U0010ffff"  # no name sorts behind it


def ls(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    target = place(arguments.place)
    opener = Opener(arguments, target)
    show = _long if arguments.long else _short
    empty = True
    for entry in _entries(arguments, opener, target):
        empty = False
        console.result(show(entry))
        console.document(_as_json(entry))
    is_folder = target.path is not None and target.path.is_dir()
    if empty and target.key and arguments.glob is None and not is_folder:
        raise absent(target)
    return OK


def _entries(arguments: Arguments, opener: Opener, target: Place) -> Iterator[ObjectInfo | str]:
    """Objects, and names of folders; of a place that is an object, that alone."""
    empty = True
    if target.path is None or not target.path.is_file():
        for entry in _below(arguments, opener.inside(target)):
            empty = False
            yield entry
    if empty and target.key and not target.slash and arguments.glob is None:
        alone = found(opener.parent(target), target)
        if alone is not None:
            yield replace(alone, key=target.name)


def _below(arguments: Arguments, store: TreeStore) -> Iterator[ObjectInfo | str]:
    if arguments.recursive or arguments.glob is not None:
        return store.list(glob=arguments.glob)
    return _level(store)


def _level(store: TreeStore) -> Iterator[ObjectInfo | str]:
    """Names of the first level: what lies deeper is read over, or jumped over."""
    behind: str | None = None
    while True:
        folder, seen = "", 0
        for info in store.list(start_after=behind):
            if folder and info.key.startswith(folder):
                seen += 1
                if seen < _PATIENCE:
                    continue
                break
            name, slash, _ = info.key.partition("/")
            folder, seen = name + slash if slash else "", 0
            yield folder or info
        else:
            return
        behind = folder + _LAST


def _short(entry: ObjectInfo | str) -> str:
    return entry if isinstance(entry, str) else entry.key


def _long(entry: ObjectInfo | str) -> str:
    if isinstance(entry, str):
        return f"{'':>10}  {'':20}  {entry}"
    when = f"{entry.modified.astimezone(UTC):%FT%TZ}" if entry.modified else ""
    return f"{size(entry.size):>10}  {when:20}  {entry.key}"


def _as_json(entry: ObjectInfo | str) -> dict[str, Any]:
    return {"prefix": entry} if isinstance(entry, str) else object_as_json(entry)
