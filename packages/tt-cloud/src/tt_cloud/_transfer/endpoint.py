"""What all calls of this process to one service share: their patience, and how many go at once."""

from __future__ import annotations

import os
import threading

from tt_cloud._transfer.clock import Clock, Halt

TOKENS = 500.0  # of the budget
COST = 5.0  # of one retry
REFILL = 1.0  # per second, for processes that call rarely
POLL = 0.02  # seconds between looks at a crowded gate


class Endpoint:
    """The budget of retries, the gate that throttling closes, and the threads that move parts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = TOKENS
        self._looked = 0.0  # at the clock, for the refill
        self._running = 0
        self._busy = 0
        self._opens = 0.0  # when the next call may begin
        self._limit: int | None = None  # of calls at once, while the service is not at ease
        self._peak = 0
        self._credit = 0
        self._round = 0  # counts the times that the limit was halved

    def enter(self, halt: Halt, clock: Clock, patience: float) -> int:
        """Begin a call, once the service may be called; gives what `throttle` needs.

        Nobody is kept longer than ``patience`` seconds: the service may ask for days, and a call
        that is counted as running may wait for this one.
        """
        end = clock.now() + patience
        while True:
            left = end - clock.now()
            with self._lock:
                wait = min(self._delay(clock), left)
                if wait <= 0:
                    self._running += 1
                    return self._round
            halt.pause(wait, clock)

    def leave(self) -> None:
        """End a call."""
        with self._lock:
            self._running -= 1

    def succeed(self, began: int, *, retried: bool) -> None:
        """A call was answered: the budget grows, and so does what may run at once."""
        with self._lock:
            self._tokens = min(TOKENS, self._tokens + (COST if retried else 1.0))
            if self._limit is not None and began == self._round:
                self._recover()

    def throttle(self, began: int, until: float) -> None:
        """Let everybody wait, and then only half as many go on."""
        with self._lock:
            self._opens = max(self._opens, until)
            if began != self._round:
                return  # it began before the last halving: no news
            self._round += 1
            self._peak = max(self._peak, self._running)
            self._limit = max(1, min(self._running, self._limit or self._running) // 2)
            self._credit = 0

    def spend(self, clock: Clock) -> bool:
        """Pay for a retry; false when too many were made lately."""
        with self._lock:
            now = clock.now()
            self._tokens = min(TOKENS, self._tokens + REFILL * max(0.0, now - self._looked))
            self._looked = now
            if self._tokens < COST:
                return False
            self._tokens -= COST
            return True

    def hire(self, most: int) -> bool:
        """Take one more thread for parts, if fewer than that are busy."""
        with self._lock:
            if self._busy >= most:
                return False
            self._busy += 1
            return True

    def take_one(self) -> None:
        """Take a thread in any case: a call that waits for another's parts would be stuck."""
        with self._lock:
            self._busy += 1

    def give_back(self) -> None:
        """A thread for parts has ended."""
        with self._lock:
            self._busy -= 1

    def _delay(self, clock: Clock) -> float:
        """How long the next call has to wait at least."""
        if self._opens:
            wait = self._opens - clock.now()
            if wait > 0:
                return wait
            self._opens = 0.0
        return POLL if self._limit is not None and self._running >= self._limit else 0.0

    def _recover(self) -> None:
        """One more at once after as many successes as may run at once."""
        limit = self._limit or 1
        self._credit += 1
        if self._credit < limit:
            return
        self._credit = 0
        self._limit = limit + 1
        if self._limit >= self._peak:
            self._limit = None
            self._peak = 0


_endpoints: dict[str, Endpoint] = {}


def endpoint_of(name: str) -> Endpoint:
    """The one of this process."""
    found = _endpoints.get(name)
    return found if found is not None else _endpoints.setdefault(name, Endpoint())


if hasattr(os, "register_at_fork"):
    # another thread of the parent may have held a lock, and its calls do not end here
    os.register_at_fork(after_in_child=_endpoints.clear)
