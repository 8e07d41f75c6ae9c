"""When a request is made again, how long that waits, and what the calls of a process share."""

import threading
import time
from collections.abc import Callable
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_cloud import (
    AccessDenied,
    Cancelled,
    ChecksumMismatch,
    CloudError,
    RetryPolicy,
    SourceChanged,
    Throttled,
    Unavailable,
)
from tt_cloud._transfer.clock import Clock, Halt
from tt_cloud._transfer.endpoint import COST, REFILL, TOKENS, Endpoint, endpoint_of
from tt_cloud._transfer.retry import Retrying

from .fake import FastClock

_names = (f"retry-{number}" for number in count())


DEFAULT = RetryPolicy()


class Failing:
    """Fails so many times, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def retrying(clock: Clock, policy: RetryPolicy = DEFAULT) -> Retrying:
    return Retrying(policy, next(_names), clock)


def throttled(seconds: float | None = None) -> Throttled:
    error = Throttled("slow down")
    error.retry_after = seconds
    return error


def test_what_may_pass_is_tried_again() -> None:
    attempt = Failing(Unavailable("one"), ChecksumMismatch("two"), throttled())
    assert retrying(FastClock()).run(attempt, Halt("key")) == "done"
    assert attempt.calls == 4


@pytest.mark.parametrize("kind", [AccessDenied, SourceChanged, CloudError, OSError])
def test_what_is_final_is_not(kind: type[Exception]) -> None:
    attempt = Failing(kind("no"))
    with pytest.raises(kind, match=r"^no$"):
        retrying(FastClock()).run(attempt, Halt("key"))
    assert attempt.calls == 1


@given(st.lists(st.floats(0, 0.999), min_size=8, max_size=8))
def test_waits_are_between_nothing_and_the_growing_bound(chances: list[float]) -> None:
    clock = FastClock()
    drawn = iter(chances)
    clock.random = lambda: next(drawn)  # type: ignore[method-assign]  # one after the other
    policy = RetryPolicy(base=0.2, cap=5, deadline=1e6)
    retry = retrying(clock, policy)
    begun: list[float] = []

    def attempt() -> None:
        begun.append(clock.now())
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        retry.run(attempt, Halt("key"))
    waits = [after - before for before, after in pairwise(begun)]
    bounds = [0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    assert waits == pytest.approx(
        [chance * bound for chance, bound in zip(chances, bounds, strict=False)], abs=1e-6
    )


def test_a_service_may_ask_for_more_patience() -> None:
    clock = FastClock()
    assert retrying(clock).run(Failing(throttled(17)), Halt("key")) == "done"
    assert clock.now() >= 1017


def test_nobody_waits_beyond_the_deadline() -> None:
    clock = FastClock()
    attempt = Failing(throttled(17), throttled(300))
    with pytest.raises(Throttled, match=r"2 attempts in 17.0 s.*deadline of 120 s"):
        retrying(clock).run(attempt, Halt("key"))
    assert clock.now() == pytest.approx(1017, abs=1)


def test_giving_up_tells_of_all_tries_and_keeps_the_last() -> None:
    last = throttled(1)
    last.status, last.code, last.request_id = 503, "SlowDown", "id-1"
    attempt = Failing(Unavailable("first"), last)
    with pytest.raises(Throttled, match=r"slow down \(2 attempts in \d") as caught:
        retrying(FastClock(), RetryPolicy(attempts=2)).run(attempt, Halt("key"))
    assert caught.value.__cause__ is last
    assert caught.value.status == 503
    assert (caught.value.code, caught.value.request_id) == ("SlowDown", "id-1")


def test_progress_is_a_new_beginning() -> None:
    done = iter(range(100))
    retry = retrying(FastClock(), RetryPolicy(attempts=2))
    attempt = Failing(*[Unavailable(str(number)) for number in range(9)])
    assert retry.run(attempt, Halt("key"), lambda: next(done)) == "done"


def test_the_budget_of_retries_is_shared() -> None:
    clock = FastClock(chance=0)
    one = Retrying(RetryPolicy(attempts=1000, base=0, deadline=1e9), next(_names), clock)
    two = Retrying(RetryPolicy(base=0), one.name, clock)
    attempt = Failing(*[Unavailable(str(number)) for number in range(1000)])
    with pytest.raises(Unavailable, match="too many requests"):
        one.run(attempt, Halt("key"))
    assert attempt.calls == TOKENS // COST + 1
    failing = Failing(Unavailable("down"))
    with pytest.raises(Unavailable, match="too many requests"):
        two.run(failing, Halt("key"))
    for _ in range(int(COST)):
        assert two.run(Failing(), Halt("key")) == "done"  # successes pay in
    assert two.run(Failing(Unavailable("down")), Halt("key")) == "done"
    clock.time += TOKENS / REFILL
    assert two.run(Failing(*[Unavailable("down")] * 7), Halt("key")) == "done"


def test_other_services_have_budgets_of_their_own() -> None:
    clock = FastClock(chance=0)
    policy = RetryPolicy(attempts=1000, base=0, deadline=1e9)
    with pytest.raises(Unavailable):
        retrying(clock, policy).run(Failing(*[Unavailable("down")] * 999), Halt("key"))
    assert retrying(clock, policy).run(Failing(Unavailable("down")), Halt("key")) == "done"


def test_all_wait_when_one_is_asked_to() -> None:
    clock = FastClock()
    endpoint = Endpoint()
    began = endpoint.enter(Halt("one"), clock, 1000)
    endpoint.throttle(began, clock.now() + 30)
    endpoint.leave()
    endpoint.enter(Halt("two"), clock, 1000)
    assert clock.now() >= 1030


def test_who_gives_up_has_told_the_others() -> None:
    clock = FastClock()
    one = retrying(clock, RetryPolicy(attempts=1))
    with pytest.raises(Throttled):
        one.run(Failing(throttled(30)), Halt("one"))
    assert clock.now() == 1000
    assert Retrying(RetryPolicy(), one.name, clock).run(Failing(), Halt("two")) == "done"
    assert clock.now() >= 1030


def test_no_call_waits_longer_than_its_deadline() -> None:
    clock = FastClock()
    one = retrying(clock, RetryPolicy(deadline=120))
    with pytest.raises(Throttled):
        one.run(Failing(throttled(86_400)), Halt("one"))
    assert one.run(Failing(), Halt("two")) == "done"
    assert 1120 <= clock.now() < 1130


def test_a_call_that_never_ends_does_not_hold_up_the_others_for_ever() -> None:
    clock = FastClock()
    one = retrying(clock, RetryPolicy(deadline=120))
    began = one.endpoint.enter(Halt("lost"), clock, 1000)
    one.endpoint.throttle(began, clock.now())
    assert one.run(Failing(), Halt("other")) == "done"
    assert clock.now() < 1130


def test_half_as_many_go_on_and_more_with_each_success() -> None:
    clock = FastClock()
    endpoint = Endpoint()
    began = [endpoint.enter(Halt("key"), clock, 1000) for _ in range(8)]
    for each in began:  # of which only the first is news
        endpoint.throttle(each, clock.now())
    for each in began[:4]:  # begun before, these say nothing of what is possible now
        endpoint.succeed(each, retried=False)
    for _ in range(5):
        endpoint.leave()
    assert _may_enter(endpoint)
    assert not _may_enter(endpoint)  # four are running
    for _ in range(4):
        endpoint.succeed(1, retried=False)
    assert _may_enter(endpoint)
    assert not _may_enter(endpoint)
    for _ in range(5 + 6 + 7):
        endpoint.succeed(1, retried=False)
    for _ in range(8):
        assert _may_enter(endpoint)


def _may_enter(endpoint: Endpoint) -> bool:
    """Enter, if there is no wait; the gate has no other way to tell."""

    class FullError(Exception):
        pass

    class Impatient(FastClock):
        def sleep(self, seconds: float) -> None:
            raise FullError

    try:
        endpoint.enter(Halt("key"), Impatient(), 1000)
    except FullError:
        return False
    return True


def test_cancelling_ends_a_wait() -> None:
    cancel = threading.Event()

    class Setting(FastClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            cancel.set()

    clock = Setting()
    with pytest.raises(Cancelled, match="key"):
        retrying(clock).run(Failing(throttled(100)), Halt("key", cancel))
    assert clock.now() < 1001


def test_cancelling_leaves_a_stalled_request_alone() -> None:
    cancel, going, over = threading.Event(), threading.Event(), threading.Event()

    def stall() -> None:
        going.set()
        over.wait(30)

    def later() -> None:
        going.wait(30)
        cancel.set()

    threading.Thread(target=later).start()
    with pytest.raises(Cancelled):
        retrying(Clock()).run(stall, Halt("key", cancel))
    assert not over.is_set()
    over.set()


def test_a_call_in_another_thread_gives_what_it_gives() -> None:
    halt = Halt("key", threading.Event())
    retry = retrying(FastClock())
    caller = threading.get_ident()
    assert retry.run(threading.get_ident, halt) != caller
    assert retry.run(threading.get_ident, halt, here=True) == caller
    with pytest.raises(AccessDenied):
        retry.run(Failing(AccessDenied("no")), halt)


def test_the_machine_s_clock_goes() -> None:
    clock = Clock()
    before = clock.now()
    clock.sleep(0)
    assert before <= clock.now() <= time.monotonic()
    assert 0 <= clock.random() < 1


def test_an_endpoint_is_the_same_for_all() -> None:
    found: list[Endpoint] = []
    work: Callable[[], None] = lambda: found.append(endpoint_of("shared"))  # noqa: E731 - typed
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
