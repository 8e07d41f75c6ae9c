"""``tt-cloud cat``, ``rm`` and ``presign``: single objects."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tt_cloud._command.console import Output
from tt_cloud._command.places import Place, place
from tt_cloud._command.progress import watching
from tt_cloud._command.reports import joined, told
from tt_cloud._command.status import OK
from tt_cloud._command.stores import Opener, absent, found, is_empty
from tt_cloud._stored import Watch
from tt_cloud.api import Failure, TransferReport, TreeStore
from tt_cloud.errors import InvalidURL, TransferFailed

if TYPE_CHECKING:
    from tt_cloud._command.arguments import Arguments
    from tt_cloud._command.console import Console

_CHUNK = 8 << 20


def cat(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    places = [place(text) for text in arguments.places]
    opener = Opener(arguments, *places)
    with watching(console) as watch:
        for each in places:
            if arguments.range is None:
                pour(opener.parent(each), each, watch)
            else:
                _pour_range(opener.parent(each), each, *arguments.range)
    return OK


def pour(store: TreeStore, source: Place, watch: Watch) -> None:
    """Write an object to standard output once all of it was verified."""
    with TemporaryDirectory(prefix="tt-cloud-") as folder:
        file = Path(folder) / "object"
        store.get(source.key, file, **watch._asdict())
        output = Output()
        with file.open("rb") as stream:
            shutil.copyfileobj(stream, output, _CHUNK)
        output.flush()


def _pour_range(store: TreeStore, source: Place, start: int, end: int | None) -> None:
    info = found(store, source)
    if info is None:
        raise absent(source)
    end = info.size if end is None else min(end, info.size)
    output = Output()
    for at in range(start, end, _CHUNK):
        upto = min(at + _CHUNK, end)
        output.write(store.read(source.key, start=at, end=upto, if_match=info.etag or None))
    output.flush()


def rm(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    places = [place(text) for text in arguments.places]
    opener = Opener(arguments, *places)
    removed = [_removed(arguments, opener, each) for each in places]
    return told(console, "deleted", lambda: joined(removed), dry_run=arguments.dry_run)


def _removed(arguments: Arguments, opener: Opener, target: Place) -> TransferReport:
    """What became of one place; the others go on whatever it is."""
    began = time.monotonic()
    try:
        if arguments.recursive:
            report = _remove_tree(arguments, opener.parent(target), target)
        else:
            _remove(arguments, opener, target)
            report = TransferReport(deleted=(target.text,))
    except TransferFailed as error:
        report = error.report
    except Exception as error:
        report = TransferReport(failures=(Failure(target.text, error),))
    return joined([report], seconds=time.monotonic() - began)


def _remove(arguments: Arguments, opener: Opener, target: Place) -> None:
    store = opener.parent(target)
    if target.is_folder or found(store, target) is None:
        if not target.is_folder and is_empty(opener.inside(target)):
            raise absent(target)
        msg = f"a single object is deleted: {target.text} has some below it; add -r for those"
        raise InvalidURL(msg)
    if not arguments.dry_run:
        store.delete(target.key)


def _remove_tree(arguments: Arguments, store: TreeStore, target: Place) -> TransferReport:
    if not target.key and not arguments.everything:
        msg = (
            f"a whole bucket is deleted with --everything only: got {target.text}; add it, or a key"
        )
        raise InvalidURL(msg)
    everything, dry_run = arguments.everything and not target.key, arguments.dry_run
    report = store.delete_tree(target.key, everything=everything, dry_run=dry_run)
    if target.key and found(store, target) is not None:
        if not dry_run:
            store.delete(target.key)
        return joined([TransferReport(deleted=(target.key,)), report])
    if target.key and not report.deleted:
        raise absent(target)
    return report


def presign(arguments: Arguments, console: Console) -> int:
    """Run the subcommand."""
    target = place(arguments.place)
    store = Opener(arguments, target).parent(target)
    url = store.presign(target.key, method=arguments.method, expires=arguments.expires)
    console.result(url.reveal())
    console.document({"url": url.reveal(), "method": url.method, "expires": url.expires})
    return OK
