"""What went wrong in a process, in the order in which it matters."""

from __future__ import annotations

import json
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch.distributed as dist

from tt_parallel.errors import NotTransferable

__all__ = ["Failure", "of_death", "of_error", "read_failures", "write_failure"]

Kind = Literal["own", "communication", "interrupt", "transfer"]

_TALK = ("/gloo/", "NCCL", "Connection closed by peer", "Connection reset by peer")
_KILLED = getattr(signal, "SIGKILL", 9)
_INTERRUPTS = {128 + signal.SIGINT, 128 + signal.SIGTERM}


@dataclass(frozen=True)
class Failure:
    """What went wrong in a process.

    Args:
        number: The process's number on its node.
        kind: ``'communication'`` failed because of another process or the network, ``'interrupt'``
            is no failure of the program.
        at: When, on the machine's monotonic clock.
        text: Traceback, or how the process ended.
        timed_out: Other processes did not take part in time.
    """

    number: int
    kind: Kind
    at: float
    text: str
    timed_out: bool = False

    @property
    def order(self) -> tuple[bool, bool, float]:
        """What failed of itself first, then who waited in vain, then those that were left alone."""
        talk = self.kind == "communication"
        return talk, talk and not self.timed_out, self.at


def of_error(number: int, error: BaseException) -> Failure:
    """The failure that an exception is."""
    messages = " ".join(str(each) for each in _chain(error))
    timed_out = "timed out" in messages.lower() or "timeout" in messages.lower()
    text = str(error) if isinstance(error, NotTransferable) else traceback.format_exc()
    return Failure(number, _kind(error), time.monotonic(), text, timed_out)


def of_death(number: int, status: int, crash: str = "") -> Failure:
    """The failure of a process that ended without a word.

    Args:
        number: The process's number on its node.
        status: Its exit status, negative for a signal.
        crash: What it wrote while it crashed.
    """
    how = f"exit status {status}" if status >= 0 else _name(-status)
    aborted = status == -signal.SIGABRT  # how NCCL ends a process whose peers do not answer
    kind: Kind = "communication" if aborted else "own"
    text = f"It ended by {how}, without a traceback."
    if status == -_KILLED:
        text += " The system does that when memory runs out."
    return Failure(number, kind, time.monotonic(), f"{text}\n{crash}".rstrip(), aborted)


def write_failure(failure: Failure, folder: Path) -> None:
    """Leave word of a failure."""
    path = folder / f"failure-{failure.number}"
    path.with_suffix(".new").write_text(json.dumps(asdict(failure)))
    path.with_suffix(".new").rename(path)


def read_failures(folder: Path) -> list[Failure]:
    """All that processes have left word of."""
    notes = [path for path in folder.glob("failure-*") if path.suffix != ".new"]
    return [Failure(**json.loads(path.read_text())) for path in notes]


def _kind(error: BaseException) -> Kind:
    if isinstance(error, SystemExit):
        return "interrupt" if error.code in _INTERRUPTS else "own"
    if isinstance(error, KeyboardInterrupt):
        return "interrupt"
    if isinstance(error, NotTransferable):
        return "transfer"
    return "communication" if any(_is_talk(each) for each in _chain(error)) else "own"


def _is_talk(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _TALK)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
