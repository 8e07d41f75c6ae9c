"""Making a request again, when that may help and does no harm."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tt_cloud._options import RetryPolicy
from tt_cloud._transfer.clock import Clock, Halt
from tt_cloud._transfer.endpoint import Endpoint, endpoint_of
from tt_cloud._transfer.threads import aside
from tt_cloud.errors import ChecksumMismatch, SourceChanged, Throttled, Unavailable

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class Retrying:
    """Runs requests under a policy.

    Args:
        policy: When to make a request again.
        endpoint: Name of the service; calls to the same one share budget and gate.
        clock: For tests.
    """

    def __init__(self, policy: RetryPolicy, endpoint: str, clock: Clock | None = None) -> None:
        self.policy = policy
        self.name = endpoint
        self.clock = clock or Clock()

    @property
    def endpoint(self) -> Endpoint:
        """What is shared in this process."""
        return endpoint_of(self.name)

    def run(
        self,
        attempt: Callable[[], _T],
        halt: Halt,
        mark: Callable[[], object] | None = None,
        *,
        here: bool = False,
    ) -> _T:
        """Call until it succeeds, fails for good, or there is no more patience.

        Args:
            attempt: One request.
            halt: Ends it.
            mark: Tells how far it got: an attempt that got further counts as the first one.
            here: Whether this thread can be left alone with a stalled attempt.
        """
        if halt.cancel is not None and not here:
            attempt = partial(aside, attempt, halt)
        endpoint = self.endpoint
        tries: _Tries | None = None
        while True:
            began = endpoint.enter(halt, self.clock, self.policy.deadline)
            before = self.clock.now() if tries is None else 0.0
            try:
                result = attempt()
            except (Unavailable, ChecksumMismatch) as error:
                if isinstance(error, SourceChanged):
                    raise
                tries = tries or _Tries(self.policy, endpoint, self.clock, before)
                wait = tries.wait(error, began, mark() if mark else None)
            else:
                endpoint.succeed(began, retried=tries is not None)
                return result
            finally:
                endpoint.leave()
            halt.pause(wait, self.clock)


class _Tries:
    """The tries of one request that failed at least once."""

    def __init__(self, policy: RetryPolicy, endpoint: Endpoint, clock: Clock, began: float) -> None:
        self._policy = policy
        self._endpoint = endpoint
        self._clock = clock
        self._all = self._since = 0
        self._first = self._began = began
        self._mark: object = None

    def wait(self, error: Unavailable | ChecksumMismatch, began: int, mark: object) -> float:
        """How long to wait after a failure; raises it when that was the last one."""
        if mark != self._mark:
            self._mark = mark
            self._since, self._began = 0, self._clock.now()
        self._all += 1
        self._since += 1
        wait = self._backoff(error)
        then = self._clock.now() + wait
        if isinstance(error, Throttled):  # which concerns the others, too, if this one gives up
            self._endpoint.throttle(began, then)
        if self._since >= self._policy.attempts:
            raise self._last(error, "that is all") from error
        if then - self._began > self._policy.deadline:
            late = f"the next would begin after the deadline of {self._policy.deadline:g} s"
            raise self._last(error, late) from error
        if not self._endpoint.spend(self._clock):
            raise self._last(error, "too many requests to this service failed lately") from error
        logger.info("try %d failed, next in %.1f s: %s", self._all, wait, error)
        return wait

    def _backoff(self, error: Exception) -> float:
        """Full jitter, and what the service asks for."""
        policy = self._policy
        jitter = self._clock.random() * min(policy.cap, policy.base * 2.0 ** min(self._since, 64))
        asked = error.retry_after if isinstance(error, Throttled) else None
        return max(jitter, asked or 0.0)

    def _last(self, error: Unavailable | ChecksumMismatch, why: str) -> Exception:
        spent = self._clock.now() - self._first
        count = "1 attempt" if self._all == 1 else f"{self._all} attempts"
        again = type(error)(f"{error} ({count} in {spent:.1f} s; {why})")
        vars(again).update(vars(error))
        return again
