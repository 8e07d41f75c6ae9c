"""What is changed about a request when its answer tells what was wrong, once each."""

from __future__ import annotations

import logging
from email.utils import parsedate_to_datetime
from time import time
from typing import NamedTuple, Protocol

from tt_cloud._s3._account import Account
from tt_cloud._s3._faults import EXPIRED, SKEWED, Fault, fault_of
from tt_cloud._s3._request import Request
from tt_cloud._s3._sign import Keys
from tt_cloud._s3._way import Way

_MOVED = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "Redirect",
        "TemporaryRedirect",
    }
)
_UNWANTED = frozenset({"", "InvalidArgument", "InvalidRequest", "NotImplemented"})

_log = logging.getLogger(__name__)


class Attempt(NamedTuple):
    """One that failed."""

    way: Way
    keys: Keys | None
    fault: Fault


class Movable(Protocol):
    """What corrections change beside the request: a bucket's way and account."""

    @property
    def account(self) -> Account: ...
    def move(self, region: str) -> None: ...


class Corrections:
    """Those of one call.

    Attributes:
        request: What to ask next.
    """

    def __init__(self, bucket: Movable, request: Request) -> None:
        self.request = request
        self._bucket = bucket
        self._left = [self._region, self._clock, self._keys, self._checks]
        self._plain = False

    def made(self, attempt: Attempt) -> bool:
        """Change what the answer complains of; false when that is nothing, or was changed."""
        for correct in self._left:
            if correct(attempt):
                self._left.remove(correct)
                return True
        return False

    def worked(self, way: Way) -> None:
        """The request was accepted: remember how."""
        if self._plain:
            way.learnt.checks = False

    def _region(self, attempt: Attempt) -> bool:
        fault = attempt.fault
        if fault.code not in _MOVED and fault.status not in (301, 307):
            return False
        region = fault.region or _region_of(attempt)
        if region is None or region == attempt.way.location.scope.region:
            return False
        self._bucket.move(region)
        return True

    def _clock(self, attempt: Attempt) -> bool:
        if attempt.fault.code != SKEWED:
            return False
        try:
            theirs = parsedate_to_datetime(attempt.fault.date).timestamp()
        except (TypeError, ValueError):
            return False
        ahead = attempt.way.learnt.clock = theirs - time()
        origin = attempt.way.location.origin
        _log.warning("the clock of %s is %.0f s ahead of this one; set this one", origin, ahead)
        return True

    def _keys(self, attempt: Attempt) -> bool:
        return attempt.fault.code in EXPIRED and self._bucket.account.renew(attempt.keys)

    def _checks(self, attempt: Attempt) -> bool:
        """Leave out the headers that some servers do not know, and then refuse."""
        refused = attempt.fault.status in (400, 501) and attempt.fault.code in _UNWANTED
        if not self.request.checks or not refused or attempt.way.learnt.crc:
            return False
        self.request = self.request._replace(checks={})
        self._plain = True
        return True


def _region_of(attempt: Attempt) -> str | None:
    """What the bucket itself says, also to those whom it lets do nothing else."""
    asked = Request("HEAD", None)
    with attempt.way.send(asked, attempt.keys) as answer:
        return fault_of(answer, asked).region
