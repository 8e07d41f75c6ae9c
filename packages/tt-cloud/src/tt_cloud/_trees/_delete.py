"""Removing many objects."""

from __future__ import annotations

from collections.abc import Sequence

from tt_cloud._stored import Watch
from tt_cloud._trees._apart import address, below
from tt_cloud._trees._manifest import is_manifest
from tt_cloud._trees._work import Outcome, each
from tt_cloud.api import Cancel, ObjectStore, TransferReport
from tt_cloud.errors import TransferFailed

_BATCH = 1000  # keys that S3 takes in one request


def delete(store: ObjectStore, prefix: str, *, everything: bool, dry_run: bool) -> TransferReport:
    """Remove what is below a prefix."""
    start = below(prefix)
    if not prefix and not everything:
        msg = (
            "the empty prefix means all objects of a store: got it without everything=True for "
            f"{address(store)}; give a prefix, or that"
        )
        raise ValueError(msg)
    outcome = Outcome()
    keys = [info.key for info in store.list(start)]
    first = [key for key in keys if is_manifest(key)]  # no reader shall find half a set
    rest = [key for key in keys if not is_manifest(key)]
    remove(store, first, outcome, Watch(), dry_run=dry_run)
    if not outcome.failures:
        remove(store, rest, outcome, Watch(), dry_run=dry_run)
    return outcome.finished()


def remove(
    store: ObjectStore, keys: Sequence[str], outcome: Outcome, watch: Watch, *, dry_run: bool
) -> None:
    """Remove objects in batches, as far as they can be removed."""

    def work(batch: Sequence[str], stop: Cancel) -> None:  # noqa: ARG001 - batches are short
        try:
            store.delete(*batch)
        except TransferFailed as error:
            failures = error.report.failures
            outcome.failures.extend(failures)
            outcome.deleted.extend(set(batch) - {failure.key for failure in failures})
        except Exception as error:
            for key in batch:
                outcome.fail(key, error)
        else:
            outcome.deleted.extend(batch)

    if dry_run:
        outcome.deleted.extend(keys)
        return
    batches = [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
    each(batches, work, store, watch.cancel)
