"""Ending the instance once the work is provably elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from tt_cloud.api import Cancel, TransferReport
from tt_cloud.errors import Cancelled, CloudError, InstanceError
from tt_cloud.instance.api import Action, Instance

_log = logging.getLogger(__name__)
_LOST = {"stop": ("memory://",), "terminate": ("memory://", "file://")}


class Verifying(Protocol):
    """What of a store is needed to know that a set is there."""

    @property
    def url(self) -> str:
        """Where it is, for messages."""
        ...

    def verify(self, prefix: str = "", /, *, read_back: bool = False) -> TransferReport:
        """Check a committed set, or raise."""
        ...


Commit: TypeAlias = "tuple[Verifying, str]"


def finish(
    instance: Instance | None,
    /,
    *,
    after: Sequence[Commit] = (),
    action: Action = "stop",
    delay: float = 60.0,
    unverified: bool = False,
    read_back: bool = False,
    dry_run: bool = False,
    cancel: Cancel | None = None,
) -> tuple[TransferReport, ...]:
    """End an instance after the sets that matter were verified; the process goes with it.

    The sets are verified twice: at once, so that a fault is known early, and again right before
    the end.

    Args:
        instance: Which, as `current_instance` gives it.
        after: Committed sets that must be whole: pairs of a store and a prefix. Those in memory
            are refused, and before ``"terminate"`` those in folders, too.
        action: ``"stop"`` or ``"terminate"``.
        delay: Seconds to wait, in which ``cancel`` or Ctrl-C keep it running.
        unverified: End it although ``after`` is empty, or names what may be lost with it (a folder
            may be a network's).
        read_back: Verify by fetching everything; see `tt_cloud.api.TreeStore.verify`.
        dry_run: Only verify, and log what would be done.
        cancel: Keeps it running when it is set in time.

    Returns:
        What was verified.

    Raises:
        InstanceError: When there is no instance, nothing to verify, a set that is not whole, or
            the service refused. The instance goes on.
        Cancelled: When ``cancel`` was set.
    """
    _check(instance, after, action, unverified=unverified, dry_run=dry_run)
    reports = _verify(after, read_back=read_back)
    if dry_run or instance is None:
        _log.warning("dry run: would %s %s in %g seconds", action, instance, delay)
        return reports
    _wait(instance, action, delay, cancel)
    if delay > 0:
        reports = _verify(after, read_back=read_back)
    _log.warning("%s: %s, now", instance, action)
    if action == "stop":
        instance.stop()
    else:
        instance.terminate()
    return reports


def _check(
    instance: Instance | None,
    after: Sequence[Commit],
    action: str,
    *,
    unverified: bool,
    dry_run: bool,
) -> None:
    if action not in ("stop", "terminate"):
        msg = f"an instance is ended by 'stop' or 'terminate': got {action!r}; correct it"
        raise ValueError(msg)
    if not after and not unverified:
        msg = (
            "an instance is ended after a committed set was verified: 'after' names none; give "
            "[(store, prefix)], or unverified=True if nothing on it matters"
        )
        raise InstanceError(msg)
    if not unverified:
        _refuse_own(after, action)
    if instance is None and not dry_run:
        msg = "this process must run on the instance: it runs on none that is known; end it by hand"
        raise InstanceError(msg)


def _refuse_own(after: Sequence[Commit], action: str) -> None:
    """Refuse sets that end with the instance, however whole they are."""
    for store, prefix in after:
        if store.url.startswith(_LOST[action]):
            msg = (
                f"what matters lies elsewhere before an instance is ended: {store.url}/{prefix} is "
                f"lost by {action!r}; commit it to a bucket, or give unverified=True if it is not"
            )
            raise InstanceError(msg)


def _verify(after: Sequence[Commit], *, read_back: bool) -> tuple[TransferReport, ...]:
    return tuple(_verified(store, prefix, read_back=read_back) for store, prefix in after)


def _verified(store: Verifying, prefix: str, *, read_back: bool) -> TransferReport:
    where = f"{store.url}/{prefix}".rstrip("/")
    try:
        report = store.verify(prefix, read_back=read_back)
    except (CloudError, OSError) as error:
        msg = f"the instance goes on until {where} is verified: {error}; commit it again"
        raise InstanceError(msg) from error
    if report.failures:
        msg = (
            f"the instance goes on until {where} is verified: {report.failures[0]}; commit it again"
        )
        raise InstanceError(msg)
    _log.info("%s is whole", where)
    return report


def _wait(instance: Instance, action: Action, delay: float, cancel: Cancel | None) -> None:
    if delay > 0:
        _log.warning(
            "%s: %s in %g seconds, unless this process is interrupted", instance, action, delay
        )
    if (cancel or threading.Event()).wait(max(delay, 0)):
        msg = f"{instance} is ended unless that is cancelled: it was; it goes on"
        raise Cancelled(msg)
