"""What a command did, told to people and to programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from tt_cloud._command.console import counted, size
from tt_cloud._command.status import FAILED, OK, status_of
from tt_cloud.api import Failure, ObjectInfo, TransferReport
from tt_cloud.errors import TransferFailed

if TYPE_CHECKING:
    from tt_cloud._command.console import Console


def told(
    console: Console, verb: str, work: Callable[[], TransferReport], *, dry_run: bool = False
) -> int:
    """Do the work, tell what came of it, and give the exit status.

    The verb is what was done with the objects, like "copied".
    """
    try:
        report = work()
    except TransferFailed as error:
        report = error.report
    console.document(as_json(report, dry_run=dry_run))
    for failure in report.failures:
        console.error(f"{failure.key}: {failure.error}")
    would = "would be " if dry_run else ""
    tell = console.result if dry_run else console.detail
    for info in report.done:
        tell(f"{would}{verb}: {info.key} ({size(info.size)})")
    for key in report.deleted:
        tell(f"{would}deleted: {key}")
    if not console.json and (line := _summary(report, f"{would}{verb}", f"{would}deleted")):
        console.note(line)
    return _status(report)


def timed(work: Callable[[], ObjectInfo]) -> TransferReport:
    """The report on a single object."""
    began = time.monotonic()
    info = work()
    return TransferReport((info,), size=info.size, seconds=time.monotonic() - began)


def joined(reports: Sequence[TransferReport], seconds: float | None = None) -> TransferReport:
    """Several reports as one."""
    return TransferReport(
        tuple(chain.from_iterable(report.done for report in reports)),
        tuple(chain.from_iterable(report.skipped for report in reports)),
        tuple(chain.from_iterable(report.deleted for report in reports)),
        tuple(chain.from_iterable(report.failures for report in reports)),
        sum(report.size for report in reports),
        sum(report.seconds for report in reports) if seconds is None else seconds,
    )


def as_json(report: TransferReport, *, dry_run: bool) -> dict[str, Any]:
    """A report as a document."""
    return {
        "dry_run": dry_run,
        "done": [object_as_json(info) for info in report.done],
        "skipped": report.skipped,
        "deleted": report.deleted,
        "failures": [_failure_as_json(failure) for failure in report.failures],
        "size": report.size,
        "seconds": round(report.seconds, 3),
    }


def object_as_json(info: ObjectInfo) -> dict[str, Any]:
    """What is known of an object, without what is not."""
    facts = {
        "key": info.key,
        "size": info.size,
        "modified": info.modified,
        "sha256": info.sha256,
        "etag": info.etag,
        "version": info.version,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _failure_as_json(failure: Failure) -> dict[str, str]:
    error = failure.error
    return {"key": failure.key, "error": type(error).__name__, "message": str(error)}


def _summary(report: TransferReport, verb: str, deleted: str) -> str:
    """One line, like ``12 objects copied, 3.0 MiB in 1.2 s; 4 left alone``."""
    parts = []
    if not (report.done or report.skipped or report.deleted) and len(report.failures) == 1:
        return ""  # its own line has said all
    if report.done or not (report.deleted or report.failures):
        what = f"{counted(len(report.done), 'object')} {verb}"
        parts.append(f"{what}, {size(report.size)} in {report.seconds:.1f} s")
    if report.skipped:
        parts.append(f"{len(report.skipped):,} left alone")
    if report.deleted:
        parts.append(f"{counted(len(report.deleted), 'object')} {deleted}")
    if report.failures:
        parts.append(f"{len(report.failures):,} failed")
    return "; ".join(parts)


def _status(report: TransferReport) -> int:
    """What all failures have in common if nothing was done, else that some failed."""
    if not report.failures:
        return OK
    common = {status_of(failure.error) for failure in report.failures}
    return FAILED if report.done or report.deleted or len(common) > 1 else common.pop()
