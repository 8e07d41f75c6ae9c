"""What is done in a folder after each checkpoint: hints for people, and making room."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from tt_experiment._checkpoint.entries import Entry, scan
from tt_experiment._checkpoint.pins import read_pins
from tt_experiment._durable import remove_directory, remove_file, replace_file
from tt_experiment.errors import CheckpointError
from tt_experiment.retention import Retention

__all__ = ["Tidying"]

_log = logging.getLogger(__name__)

_PATIENCE = 3  # saves without a metric that others are kept by, before somebody is told


class Tidying:
    """Keeps a folder in order. Whatever fails in it is logged: the checkpoint is committed.

    Args:
        path: The folder.
        retention: Which checkpoints are kept.
        is_pending: Tells of a checkpoint whether it is still to be uploaded.
    """

    def __init__(
        self, path: Path, retention: Retention, is_pending: Callable[[Path], bool]
    ) -> None:
        self.path, self.retention, self._is_pending = path, retention, is_pending
        self._saves = 0

    def after(self, newest: Entry) -> None:
        """Bring hints up to date and delete what no rule keeps."""
        try:
            entries, _ = scan(self.path)
            current = [e for e in entries if e.step != newest.step or e.path == newest.path]
            self._hint(newest, current)
            self._look_for_metrics(current)
            kept = {entry.path for entry in self.retention.keep(current)}
            pinned = read_pins(self.path)
            for entry in entries:
                if entry.path not in kept and entry.path.name not in pinned:
                    self._delete(entry)
        except (OSError, CheckpointError) as error:
            _log.warning("tidying %s after step %d failed: %s", self.path, newest.step, error)

    def _hint(self, newest: Entry, entries: Sequence[Entry]) -> None:
        _write_hint(self.path / "LATEST", [newest])
        ranked = [policy.rank(entries) for policy in self.retention.policies]
        _write_hint(self.path / "BEST", [best[0] for best in ranked if best])

    def _delete(self, entry: Entry) -> None:
        try:
            if not self._is_pending(entry.path):
                remove_directory(entry.path)
        except OSError as error:  # the others can go all the same
            _log.warning("%s could not be deleted: %s", entry.path, error)

    def _look_for_metrics(self, entries: Sequence[Entry]) -> None:
        self._saves += 1
        unknown = self.retention.unknown(entries)
        if self._saves != _PATIENCE or not unknown:
            return
        _log.warning(
            "no checkpoint has %s, by which the best are kept, after %d saves: until one does, all "
            "of them stay, %d with %.1f MB as yet. Scores that there are: %s",
            " nor ".join(map(repr, unknown)),
            self._saves,
            len(entries),
            sum(entry.bytes for entry in entries) / 1e6,
            sorted({name for entry in entries for name in entry.scores}) or "none",
        )


def _write_hint(path: Path, entries: Sequence[Entry]) -> None:
    text = "".join(f"{entry.path.name}\n" for entry in entries)
    if not text:
        remove_file(path)
    elif not path.exists() or path.read_text() != text:
        replace_file(path, text.encode())
