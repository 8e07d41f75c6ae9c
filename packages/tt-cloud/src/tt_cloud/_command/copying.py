"""``tt-cloud cp``: one file or object, or all below one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tt_cloud._command.objects import pour
from tt_cloud._command.places import STREAM, Place, place
from tt_cloud._command.progress import watching
from tt_cloud._command.relay import Relay, copy_missing
from tt_cloud._command.reports import timed, told
from tt_cloud._command.status import OK
from tt_cloud._command.stores import Opener, absent, is_empty
from tt_cloud._stored import Watch
from tt_cloud.api import ObjectInfo, TransferReport
from tt_cloud.errors import AlreadyExists, InvalidURL

if TYPE_CHECKING:
    from tt_cloud._command.arguments import Arguments
    from tt_cloud._command.console import Console


def cp(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    if arguments.target == STREAM:
        return _to_output(arguments, console)
    target = place(arguments.target)
    if arguments.source == STREAM:
        return _from_input(arguments, console, target)
    source = place(arguments.source)
    opener = Opener(arguments, source, target)
    if arguments.recursive and _is_tree(opener, source):
        into = target / source.name if target.slash and source.name else target
        work = _tree(arguments, opener, source, into)
    elif source.is_folder:
        opener.inside(source)  # which tells what is wrong with an address that leads nowhere
        msg = f"a file or an object is copied: {source.text} is a folder; add -r"
        raise InvalidURL(msg)
    else:
        into = target / source.name if target.is_folder else target
        work = _object(arguments, opener, source, into)
    return _told(arguments, console, work)


def _told(
    arguments: Arguments,
    console: Console,
    work: Callable[[Watch], TransferReport],
    *,
    reads: bool = False,
) -> int:
    def watched() -> TransferReport:
        with watching(console, reads=reads) as watch:
            return work(watch)

    return told(console, "copied", watched, dry_run=arguments.dry_run)


def _is_tree(opener: Opener, source: Place) -> bool:
    """Whether something lies below the place, or must."""
    if source.path is not None:
        return source.is_folder
    if not is_empty(opener.inside(source)):
        return True
    if source.is_folder:
        raise absent(source)
    return False


def _tree(
    arguments: Arguments, opener: Opener, source: Place, target: Place
) -> Callable[[Watch], TransferReport]:
    dry_run = arguments.dry_run

    def work(watch: Watch) -> TransferReport:
        if arguments.no_clobber:
            links = arguments.symlinks
            return copy_missing(opener, source, target, watch, symlinks=links, dry_run=dry_run)
        if source.path is not None:
            keywords = {"symlinks": arguments.symlinks, "dry_run": dry_run, **watch._asdict()}
            return opener.inside(target).upload_tree(source.path, **keywords)
        if target.path is not None:
            store = opener.inside(source)
            return store.download_tree("", target.path, dry_run=dry_run, **watch._asdict())
        store = opener.inside(target)
        return store.sync(opener.inside(source), dry_run=dry_run, **watch._asdict())

    return work


def _object(
    arguments: Arguments, opener: Opener, source: Place, target: Place
) -> Callable[[Watch], TransferReport]:
    absent_only = arguments.no_clobber

    def copied(watch: Watch) -> ObjectInfo:
        if arguments.dry_run:
            return _planned(opener, source, target, absent_only=absent_only)
        if source.path is not None:
            store = opener.parent(target)
            return store.put(target.key, source.path, if_absent=absent_only, **watch._asdict())
        if target.path is not None and not absent_only:
            return opener.parent(source).get(source.key, target.path, **watch._asdict())
        if source.root == target.root:
            return opener.parent(source).copy(source.key, target.key, if_absent=absent_only)
        came, goes = opener.parent(source), opener.parent(target)
        relay = Relay(came, goes, attributes=target.path is None, if_absent=absent_only)
        return relay(source.key, target.key, watch)

    return lambda watch: timed(lambda: copied(watch))


def _planned(opener: Opener, source: Place, target: Place, *, absent_only: bool) -> ObjectInfo:
    """What would be copied, if it can be."""
    info = opener.parent(source).head(source.key)
    if info is None:
        raise absent(source)
    if absent_only and opener.parent(target).exists(target.key):
        msg = f"with --no-clobber nothing is replaced: {target.text} is there; name another"
        raise AlreadyExists(msg)
    return info


def _from_input(arguments: Arguments, console: Console, target: Place) -> int:
    if target.is_folder or arguments.recursive or arguments.dry_run:
        msg = f"standard input is copied to one object: got {target.text}; name it, without -r, -n"
        raise InvalidURL(msg)
    store = Opener(arguments, target).parent(target)

    def work(watch: Watch) -> TransferReport:
        keywords = {**watch._asdict(), "if_absent": arguments.no_clobber}
        return timed(lambda: store.put(target.key, sys.stdin.buffer, **keywords))

    return _told(arguments, console, work, reads=True)


def _to_output(arguments: Arguments, console: Console) -> int:
    if arguments.recursive or arguments.dry_run or arguments.json:
        msg = "standard output gets one object and nothing else: leave out -r, -n and --json"
        raise InvalidURL(msg)
    source = place(arguments.source)
    with watching(console) as watch:
        pour(Opener(arguments, source).parent(source), source, watch)
    return OK
