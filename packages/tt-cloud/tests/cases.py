"""What a row of the fault tables is, and what holds after every one of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeAlias, TypeVar

import pytest

from tt_cloud import (
    CloudError,
    RetryPolicy,
    TransferOptions,
    TreeStore,
    Unavailable,
    open_store,
)

from .proxy import Action, Aside, FaultProxy, Instead
from .sides import Side

T = TypeVar("T")

LEAST_PART = 1 << 20  # bytes that the first parts have on any side
REST = 640 << 10  # bytes of the last part
INSIDE = 300_000  # a byte in the middle of every part
SMALL = Random(1).randbytes(3000)
STALLED = 0.3  # seconds of patience for rows where nothing comes
OLD = b"what was there before"
OTHER = Random(3).randbytes(4000)


What: TypeAlias = "Action | str | Callable[[Case], Action]"
Error: TypeAlias = "type[CloudError] | Mapping[str, type[CloudError] | None] | None"


@dataclass(frozen=True)
class Fault:
    """What happens to some requests of one kind.

    ``what`` is an action, the name of an answer (see `Side.answer`), or a function that makes an
    action for the case.
    """

    where: str
    what: What
    skip: int = 0
    times: int | None = 1

    def action(self, case: Case) -> Action:
        if isinstance(self.what, str):
            return Instead(case.side.answer(self.what))
        return self.what if isinstance(self.what, Action) else self.what(case)


@dataclass(frozen=True)
class Row:
    """Faults, and what must come of them: success, or exactly that error.

    Attributes:
        name: For people.
        faults: In this order.
        error: ``None`` for success; may differ by side.
        on: Which sides have such a fault.
        patience: Seconds until a stalled connection is given up.
    """

    name: str
    faults: tuple[Fault, ...]
    error: Error = None
    on: tuple[str, ...] = ("s3", "gcs")
    patience: float = 20.0

    def expected(self, side: Side) -> type[CloudError] | None:
        if isinstance(self.error, Mapping):
            return self.error[side.name]
        return self.error


@dataclass
class Case:
    """A store behind a proxy, with a prefix and a folder of its own."""

    side: Side
    proxy: FaultProxy
    scratch: Path
    prefix: str

    def __post_init__(self) -> None:
        self.folder.mkdir()

    @property
    def folder(self) -> Path:
        """For the test's own files."""
        return self.scratch / "files"

    @property
    def journal(self) -> Path:
        return self.scratch / "journal"

    @property
    def part(self) -> int:
        """Bytes of a part."""
        return self.side.part

    @property
    def large(self) -> bytes:
        """The content of an object in two parts."""
        return _content(2, self.part + REST)

    @property
    def larger(self) -> bytes:
        """The content of an object in three parts."""
        return _content(2, 2 * self.part + REST)

    @property
    def other(self) -> bytes:
        """The content of another object in two parts."""
        return _content(3, self.part + REST - 1000)

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def key(self) -> str:
        """The object's whole key, as the service has it."""
        return f"{self.prefix}/object"

    def store(self, *, patience: float = 20.0, direct: bool = False) -> TreeStore:
        """A new store, which knows of nothing; directly, past the proxy."""
        store = open_store(
            f"{self.side.scheme}://{self.side.bucket}/{self.prefix}",
            endpoint_url=self.side.endpoint if direct else self.proxy.url,
            retry=RetryPolicy(attempts=6, base=0.001, cap=0.01, read_timeout=patience),
            transfer=TransferOptions(concurrency=3, part_size=self.part, journal=self.journal),
            **self.side.options,
        )
        assert isinstance(store, TreeStore)
        return store

    def run(self, row: Row, call: Callable[[TreeStore], T]) -> T | None:
        """Do something under the row's faults; ``None`` when it failed as it must."""
        rules = [
            self.side.inject(self.proxy, f.where, f.action(self), skip=f.skip, times=f.times)
            for f in row.faults
        ]
        store = self.store(patience=row.patience)
        expected = row.expected(self.side)
        if expected is None:
            result = call(store)
        else:
            result = None
            with pytest.raises(CloudError) as caught:
                call(store)
            check_error(caught.value, expected)
        assert [rule.fired > 0 for rule in rules] == [True] * len(rules), "a fault did not happen"
        return result

    def again(self) -> TreeStore:
        """What another process would open when all faults are over."""
        self.proxy.forget()
        return self.store()

    def left(self) -> list[str]:
        """Files in the folder beside the target."""
        return sorted(path.name for path in self.folder.rglob("*") if path != self.target)

    def check_nothing_left(self) -> None:
        """No temporary file, no unfinished upload, no note of one."""
        assert self.left() == []
        assert self.side.unfinished(self.prefix) == []
        assert self.notes() == []

    def notes(self) -> list[Path]:
        """Notes from which an upload could go on."""
        return [path for path in self.journal.rglob("*") if path.is_file()]


@cache
def _content(seed: int, size: int) -> bytes:
    return Random(seed).randbytes(size)


def once(name: str, where: str, what: What, **more: Any) -> Row:
    """A row with one fault that happens once."""
    return Row(name, (Fault(where, what),), **more)


def always(name: str, where: str, what: What, error: Error, **more: Any) -> Row:
    """A row with one fault that never ends."""
    return Row(name, (Fault(where, what, times=None),), error, **more)


def early(name: str) -> What:
    """An answer before the body was read."""
    return lambda case: Instead(case.side.answer(name), early=True)


def after_work(name: str) -> What:
    """An answer of another after the server did its work."""
    return lambda case: Instead(case.side.answer(name), asked=True)


def replaced(data: bytes, *, key: str = "object") -> What:
    """Somebody else writes the object just before the request."""
    return lambda case: Aside("before", lambda: case.side.write(f"{case.prefix}/{key}", data))


def replaced_large(case: Case) -> Action:
    """Somebody else writes the object just before the request, as large as it was."""
    return Aside("before", lambda: case.side.write(case.key, case.other))


def removed(case: Case) -> Action:
    """Somebody else deletes the object just before the request."""
    return Aside("before", lambda: case.side.remove(case.key))


def check_error(error: CloudError, expected: type[CloudError]) -> None:
    """The right class, and nothing in it that nobody may see."""
    text = "".join(traceback.format_exception(error))
    assert type(error) is expected, text
    for secret in ("TESTSECRET", "Signature=", "X-Amz-Signature", "upload_id="):
        assert secret not in text


def table(*rows: Row) -> pytest.MarkDecorator:
    """Run a test for every row on every side that has it."""
    names = [row.name for row in rows]
    assert len(names) == len(set(names)), "two rows have one name"
    params = [pytest.param(side, row, id=f"{side}: {row.name}") for row in rows for side in row.on]
    return pytest.mark.parametrize(("case", "row"), params, indirect=["case"])


def is_transient(row: Row, case: Case) -> bool:
    """Whether the same call may work later."""
    expected = row.expected(case.side)
    return expected is not None and issubclass(expected, Unavailable)
