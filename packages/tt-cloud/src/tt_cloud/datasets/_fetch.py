"""Datasets from a store, once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Literal

from tt_cloud._cache_dir import cache_dir as users_cache_dir
from tt_cloud._stored import Watch
from tt_cloud._transfer.files import store_file
from tt_cloud.api import Cancel, Progress, TreeStore
from tt_cloud.datasets._entry import NOTES, Entry
from tt_cloud.datasets._install import Plan, digest_of, file_name, install
from tt_cloud.datasets._source import Source, find
from tt_cloud.datasets.archives import Limits
from tt_cloud.errors import Changed, Unavailable

_log = logging.getLogger(__name__)
_TRIES = 3  # a dataset that is another one each time is being written, not read
_DIGITS = 16
_LABEL = 200  # bytes of the 255 that a file's name may have


def fetch_dataset(
    store: TreeStore,
    name: str,
    /,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    extract: bool = True,
    full_check: bool = False,
    offline: Literal["allowed", "refused", "only"] = "allowed",
    limits: Limits | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Path:
    """Fetch a dataset from a store, unless this version of it is on this machine already.

    Several processes may ask for the same dataset at once: one fetches it, the others wait. What
    is there is compared with what was fetched before it is used, and is fetched again when it
    differs: so treat it as read-only. An interrupted call goes on where it was the next time.

    Args:
        store: Where it is.
        name: The key of an object, or what lies before the ``/`` of several: a committed set, or
            any folder.
        cache_dir: Where to keep it; else ``tt-cloud/datasets`` in the user's cache directory.
        extract: Unpack an object whose name is that of an archive: see
            `tt_cloud.datasets.archives`.
        full_check: Read all of what is there already, instead of comparing sizes and times.
        offline: Whether the version that was fetched last will do when the store cannot be
            reached, with a warning in the log. ``"only"`` does not ask the store at all.
        limits: How much an archive may become.
        progress: Told of the bytes fetched.
        cancel: Stops it when it is set.

    Returns:
        The file where the dataset is one, as it is or compressed by itself; else the folder that
        holds all of it.

    Raises:
        NotFound: When there is nothing under the name.
        Unavailable: When the store cannot be reached, and nothing is there instead.
        UnsafeArchive: When an archive was refused; nothing is left of it.
        Changed: When the dataset is replaced again and again.
    """
    root = Path(cache_dir).expanduser() if cache_dir is not None else users_cache_dir("datasets")
    plan = Plan(extract, full_check, limits, Watch(progress, cancel))
    latest = _Latest(root, store.url, name, plan)
    if offline == "only":
        return latest.path()
    for _ in range(_TRIES):
        try:
            source = find(store, name)
        except Unavailable as error:
            if offline == "refused":
                raise
            return latest.instead(error)
        try:
            return latest.install(source)
        except Changed as error:
            changed = error
    raise changed


class _Latest:
    """Which entry of the cache was fetched last for a name."""

    def __init__(self, root: Path, url: str, name: str, plan: Plan) -> None:
        asked = json.dumps([url, name, plan.extract])
        number = hashlib.sha256(asked.encode()).hexdigest()[:_DIGITS]
        self._root = root
        self._where = f"{url}/{name}"
        self._plan = plan
        self._note = root / NOTES / f"{number}.latest"

    def install(self, source: Source) -> Path:
        """Have this version there, and remember that it is the latest."""
        digest = digest_of(source, self._plan)
        label = source.last_part.encode()[:_LABEL].decode(errors="ignore")
        entry = Entry(self._root, f"{label}-{digest[:_DIGITS]}")
        install(source, entry, self._plan)
        path = entry.folder / (file_name(source, self._plan) or "")
        self._remember(path.relative_to(self._root).as_posix())
        return path

    def instead(self, error: Unavailable) -> Path:
        """What was fetched last, because the store cannot be asked."""
        path = self._usable()
        if path is None:
            raise error
        _log.warning("%s: using %s, which was fetched before", error, path)
        return path

    def path(self) -> Path:
        """What was fetched last, whatever is in the store."""
        path = self._usable()
        if path is None:
            msg = (
                f"with offline='only' a dataset must have been fetched before: {self._where} was "
                "not, or is damaged; fetch it while its store can be reached"
            )
            raise Unavailable(msg)
        return path

    def _usable(self) -> Path | None:
        try:
            path = self._root / self._note.read_text("utf-8")
        except FileNotFoundError:
            return None
        name = path.relative_to(self._root).parts[0]
        entry = Entry(self._root, name)
        return None if entry.fault(None, full=self._plan.full_check) else path

    def _remember(self, text: str) -> None:
        if self._note.exists() and self._note.read_text("utf-8") == text:
            return
        store_file(self._note, text.encode())
