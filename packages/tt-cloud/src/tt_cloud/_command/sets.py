"""``tt-cloud sync``, ``commit``, ``verify`` and ``sweep``: all below a place."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tt_cloud._command.places import Place, place
from tt_cloud._command.progress import watching
from tt_cloud._command.reports import told
from tt_cloud._command.stores import Opener, absent, is_empty
from tt_cloud.api import TransferReport

if TYPE_CHECKING:
    from tt_cloud._command.arguments import Arguments
    from tt_cloud._command.console import Console


def sync(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    source, target = place(arguments.source), place(arguments.target)
    opener = Opener(arguments, source, target)
    _must_be_there(opener, source)
    delete, dry_run = arguments.delete, arguments.dry_run

    def work() -> TransferReport:
        came = source.path or opener.inside(source)
        with watching(console) as watch:
            keywords = {"delete": delete, "dry_run": dry_run, **watch._asdict()}
            return opener.inside(target).sync(came, **keywords)

    return told(console, "copied", work, dry_run=dry_run)


def commit(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    target = place(arguments.place)
    store = Opener(arguments, target).inside(target)

    def work() -> TransferReport:
        with watching(console) as watch:
            keywords = {"symlinks": arguments.symlinks, **watch._asdict()}
            return store.commit(Path(arguments.folder), **keywords)

    return told(console, "stored", work)


def verify(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    target = place(arguments.place)
    store = Opener(arguments, target).inside(target)
    return told(console, "verified", lambda: store.verify(read_back=arguments.read_back))


def sweep(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    target = place(arguments.place)
    store = Opener(arguments, target).inside(target)
    swept = partial(store.sweep, older_than=arguments.older_than, dry_run=arguments.dry_run)
    return told(console, "deleted", swept, dry_run=arguments.dry_run)


def _must_be_there(opener: Opener, source: Place) -> None:
    """With --delete, a typo in the source's name would empty the target."""
    if source.path is not None:
        if not source.path.is_dir():
            raise absent(source)
    elif is_empty(opener.inside(source)):
        raise absent(source)
