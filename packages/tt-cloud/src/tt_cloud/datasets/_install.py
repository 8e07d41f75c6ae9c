"""From a store to a folder on this machine: fetched, unpacked, checked."""

from __future__ import annotations

import hashlib
import logging
import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tt_cloud._stored import Watch
from tt_cloud.datasets._entry import Entry
from tt_cloud.datasets._source import Source
from tt_cloud.datasets.archives import Limits, archive_name, extract

_log = logging.getLogger(__name__)


class Plan(NamedTuple):
    """How a dataset is installed.

    Attributes:
        extract: Whether archives are unpacked.
        full_check: Whether what is there is read, to be checked.
        limits: How much an archive may become.
        watch: Who looks on.
    """

    extract: bool = True
    full_check: bool = False
    limits: Limits | None = None
    watch: Watch = Watch()


def install(source: Source, entry: Entry, plan: Plan) -> None:
    """Make an entry hold this version of a dataset."""
    digest = digest_of(source, plan)
    with entry.locked(plan.watch.cancel):
        fault = entry.fault(digest, full=plan.full_check)
        if fault is None:
            return
        level = logging.INFO if entry.record() is None else logging.WARNING
        _log.log(level, "%s %s: fetching %s", entry.folder, fault, source.where)
        entry.fill(digest, partial(_made, source, plan))


def digest_of(source: Source, plan: Plan) -> str:
    """Another for each content of the folder."""
    what = f"{source.digest} {_unpacks(source, plan)}"
    return hashlib.sha256(what.encode()).hexdigest()


def file_name(source: Source, plan: Plan) -> str | None:
    """The one file in the folder, where the dataset is a file."""
    if not source.single:
        return None
    archive = archive_name(source.last_part) if plan.extract else None
    if archive is None:
        return source.last_part
    return archive.stem if archive.single else None


def _unpacks(source: Source, plan: Plan) -> bool:
    return source.single and plan.extract and archive_name(source.last_part) is not None


def _made(source: Source, plan: Plan, work: Path) -> Path:
    """The folder that becomes the entry, in one to work in."""
    fetched = work / "fetched"
    source.download(fetched, plan.watch)
    if not _unpacks(source, plan):
        return fetched
    unpacking = work / "unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)  # of a process that was killed
    made = unpacking / "content"
    extract(fetched / source.last_part, made, limits=plan.limits, cancel=plan.watch.cancel)
    return made
