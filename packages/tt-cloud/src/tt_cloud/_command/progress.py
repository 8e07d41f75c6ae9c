"""How far a transfer is, for those who wait; and how they stop it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from tt_cloud._stored import Watch
from tt_cloud.api import Cancel, Progress

if TYPE_CHECKING:
    from tt_cloud._command.console import Console


@contextmanager
def watching(console: Console, *, reads: bool = False) -> Iterator[Watch]:
    """A bar where somebody may see it, and Ctrl-C that lets what is under way end in order.

    A call that reads standard input may wait there for ever: Ctrl-C ends that by force.
    """
    with _interruptible(forced=reads) as cancel, _bar(console) as progress:
        yield Watch(progress, cancel)


@contextmanager
def _bar(console: Console) -> Iterator[Progress | None]:
    if console.quiet or not sys.stderr.isatty():
        yield None
        return
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield None
        return
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=0.5) as bar:
        yield _Meter(bar)


class _Meter:
    """Sums up what the threads of a transfer tell."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}

    def __call__(self, key: str, moved: int, size: int) -> None:
        with self._lock:
            if key not in self._sizes:
                self._sizes[key] = size
                self._bar.total = sum(self._sizes.values())
                self._bar.set_description_str(key[-40:], refresh=False)
            self._bar.update(moved)


@contextmanager
def _interruptible(*, forced: bool) -> Iterator[Cancel]:
    """The first Ctrl-C asks to stop, the second one insists."""
    cancel = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    here = threading.current_thread() is threading.main_thread()
    if forced or not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield cancel  # somebody else decides what an interrupt means
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
