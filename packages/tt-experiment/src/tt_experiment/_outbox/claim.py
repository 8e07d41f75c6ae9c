"""Which process may write a run into a store: the one whose claim is the newest.

A claim is the object ``.claims/0001.json`` below the run, ``0002.json`` for whoever went on with
the run on another disk, and so on; each is created only if it is absent. Its number and its writer
are noted beside the run before that, so a process that starts again on the same disk finds its own.
Who fetches a run notes the next number: of two that do so at the same moment one gets it, and the
other, like the process that was believed dead, is told that the run goes on elsewhere.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment._clock import now
from tt_experiment._durable import make_directory, replace_file
from tt_experiment.errors import RunLockedError, UploadError
from tt_experiment.ports import BlobStore

__all__ = ["Claim", "next_number", "read_object"]

FOLDER = ".claims"


class Claim:
    """The right to write a run into a store.

    Args:
        run: The run's folder.
        store: Where to.
        prefix: Key of the run in the store.
        note: Where it is noted which claim is that of this disk.
    """

    def __init__(self, run: Path, store: BlobStore, prefix: str, note: Path) -> None:
        self.run, self.store, self.prefix, self.note = run, store, prefix, note
        self._mine: dict[str, Any] = {}

    def take(self) -> None:
        """Take the claim, or find that it has been taken; twice is fine.

        Raises:
            RunLockedError: The run goes on elsewhere.
            UploadError: The store has another run of this name.
        """
        if not self._mine:
            self._mine = self._noted() or self._new()
        key = self._key(self._mine["number"])
        try:
            self.store.put(key, _json.dumps(self._mine), if_absent=True)
        except FileExistsError:  # an earlier process of this disk, or somebody else
            theirs = read_object(self.store, key)
            if theirs is None or theirs.get("writer") != self._mine["writer"]:
                raise self._lost(theirs or {}) from None
        self.check()

    def check(self) -> None:
        """Make sure that nobody else has gone on with the run.

        Raises:
            RunLockedError: Somebody has.
        """
        key = self._key(self._mine["number"] + 1)
        if self.store.head(key) is not None:
            raise self._lost(read_object(self.store, key) or {})

    def prepare(self, number: int) -> None:
        """Note which claim to take, before anything is written to the store."""
        facts = {"number": number, "writer": secrets.token_hex(8), "host": socket.gethostname()}
        make_directory(self.note.parent, exist_ok=True)
        replace_file(self.note, _json.dumps({**facts, "noted": now()}))

    def _noted(self) -> dict[str, Any] | None:
        try:
            noted = _json.load_object(self.note.read_bytes())
        except FileNotFoundError:
            return None
        return noted

    def _new(self) -> dict[str, Any]:
        self._check_run()
        self.prepare(next_number(self.store, self.prefix))
        noted = self._noted()
        assert noted is not None  # noqa: S101  # it has just been written
        return noted

    def _check_run(self) -> None:
        theirs = read_object(self.store, f"{self.prefix}/run.json")
        mine = _json.load_object((self.run / "run.json").read_bytes())
        if theirs is not None and theirs.get("id") != mine.get("id"):
            msg = f"{self.store.url} has a run {self.prefix} already, of another id: start again."
            raise UploadError(msg)

    def _key(self, number: int) -> str:
        return f"{self.prefix}/{FOLDER}/{number:04d}.json"

    def _lost(self, theirs: Mapping[str, Any]) -> RunLockedError:
        who = f"on {theirs.get('host', 'another machine')} since {theirs.get('noted', 'later')}"
        msg = (
            f"one process writes a run into a store. {self.store.url}/{self.prefix} goes on {who}; "
            f"{self.run} is an older copy: fetch the run into another folder to go on with it"
        )
        return RunLockedError(msg)


def next_number(store: BlobStore, prefix: str) -> int:
    """The claim that the next writer takes."""
    below = f"{prefix}/{FOLDER}/"
    names = [info.key.removeprefix(below).removesuffix(".json") for info in store.list(below)]
    return 1 + max((int(name) for name in names if name.isdecimal()), default=0)


def read_object(store: BlobStore, key: str) -> dict[str, Any] | None:
    """A small JSON object; ``None`` where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "object")
        try:
            store.get(key, target)
        except FileNotFoundError:
            return None
        return _json.load_object(target.read_bytes())
