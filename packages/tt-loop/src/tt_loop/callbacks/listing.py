"""Tell in the log which callbacks a fit has."""

from __future__ import annotations

import logging

from tt_loop.callbacks.base import Callback

__all__ = ["ListRegisteredCallbacks"]

_log = logging.getLogger(__name__)


class ListRegisteredCallbacks(Callback):
    """Log, at level INFO when training begins, the loop's callbacks in the order they run in."""

    def __init__(self) -> None:
        super().__init__("List of the registered callbacks", device_idx_execution=0)

    def on_train_begin(self) -> None:
        """Log the list."""
        lines = [_line(callback) for callback in self.train_loop_obj.callbacks]
        _log.info("the callbacks, in the order in which they run:\n%s", "\n".join(lines))


def _line(callback: Callback) -> str:
    rank = callback.device_idx_execution
    where = "" if rank is None else f", rank {rank} only"
    name = f"{type(callback).__name__} ({callback.callback_name})"
    return f"  {callback.execution_order:5d}  {name}{where}"
