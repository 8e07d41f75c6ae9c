"""Keeps the callbacks of a loop in order and calls their hooks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tt_loop.callbacks.base import Callback, overrides
from tt_loop.errors import LoopTypeError
from tt_loop.protocols import Tree

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["CallbacksHandler"]

Hook = Callable[..., None]


class CallbacksHandler:
    """The callbacks of a loop, each once, sorted by ``execution_order``."""

    def __init__(self, train_loop_obj: TrainLoop) -> None:
        self.train_loop_obj = train_loop_obj
        self.callbacks: list[Callback] = []

    def register_callbacks(self, callbacks: Sequence[Callback] | None) -> None:
        """Add the callbacks that are not there yet and hand them the loop.

        Raises:
            LoopTypeError: For an object that is no `Callback`, or has a hook that nobody calls.
        """
        for callback in _checked(callbacks):
            if not any(callback is known for known in self.callbacks):
                callback.register_train_loop_object(self.train_loop_obj)
                self.callbacks.append(callback)
                self.callbacks.sort(key=lambda known: known.execution_order)

    def hooks(self, name: str) -> list[Hook]:
        """The bound methods of those callbacks that override a hook and run in this process."""
        rank = self.train_loop_obj.rank
        return [
            method if callback.device_idx_execution is None else _Alone(method, callback)
            for callback in self.callbacks
            if callback.device_idx_execution in (None, rank) and overrides(callback, name)
            for method in [getattr(callback, name)]
        ]

    def execute(self, name: str, *args: Any) -> None:
        """Call a hook that is not in the step; an error tells whose hook it came from."""
        lending = self.train_loop_obj.lending
        for hook in self.hooks(name):
            if lending.waits and getattr(_owner(hook), "may_change_weights", True):
                lending.end()
            try:
                hook(*args)
            except BaseException as error:
                owner = type(_owner(hook)).__name__
                error.add_note(f"Raised in the hook {name} of the callback {owner}.")
                raise

    def execute_on_exception(self, exception: BaseException) -> None:
        """Call every ``on_exception``; one that fails neither stops the others nor hides why."""
        self.train_loop_obj.lending.end()
        for hook in self.hooks("on_exception"):
            try:
                hook(exception)
            except Exception as error:  # the first exception is what has to be told
                owner = type(_owner(hook)).__name__
                exception.add_note(f"The hook on_exception of {owner} failed too: {error!r}")

    def may_measure_later(self) -> bool:
        """Whether something is evaluated only every so many epochs, and has not come yet."""
        loop = self.train_loop_obj
        every = [getattr(callback, "eval_frequency", 1) for callback in self.callbacks]
        return loop.epochs_done < max([*every, int(loop.end_auto_eval)])

    def state_dict(self) -> Tree:
        """The callbacks' states by class name and number."""
        states = {key: callback.state_dict() for key, callback in self._keyed()}
        return {key: state for key, state in states.items() if state}

    def load_state_dict(self, state: Tree) -> None:
        """Give each callback its state back; a callback that is new gets none."""
        for key, callback in self._keyed():
            if key in state:
                callback.load_state_dict(state[key])

    def _keyed(self) -> list[tuple[str, Callback]]:
        counts: dict[str, int] = {}
        keyed = []
        for callback in self.callbacks:
            name = type(callback).__name__
            counts[name] = counts.get(name, -1) + 1
            keyed.append((f"{name}.{counts[name]}", callback))
        return keyed


class _Alone:
    """A hook that runs in one process, which must not wait for others."""

    def __init__(self, hook: Hook, callback: Callback) -> None:
        self._hook, self.__self__ = hook, callback

    def __call__(self, *args: Any) -> None:
        loop = self.__self__.train_loop_obj
        loop.alone = self.__self__ if loop.num_processes > 1 else None
        try:
            self._hook(*args)
        finally:
            loop.alone = None


def _owner(hook: Hook) -> Any:
    return getattr(hook, "__self__", hook)


def _checked(callbacks: Sequence[Callback] | None) -> list[Callback]:
    once: dict[int, Callback] = {}
    for callback in callbacks or ():
        if not isinstance(callback, Callback):
            hint = "pass an instance of it" if isinstance(callback, type) else "subclass it"
            msg = (
                f"A callback must be an instance of tt_loop.api.Callback, got {callback!r}: {hint}."
            )
            raise LoopTypeError(msg)
        _check_hooks(callback)
        once[id(callback)] = callback
    return list(once.values())


def _check_hooks(callback: Callback) -> None:
    """A method that is called like a hook but is none is a slip of the pen."""
    hooks = [name for name in dir(Callback) if name.startswith("on_")]
    for name in dir(type(callback)):
        if name.startswith("on_") and name not in hooks and callable(getattr(callback, name)):
            near = difflib.get_close_matches(name, hooks, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(hooks)}."
            msg = f"{type(callback).__name__} has a hook {name}, which nobody calls: {hint}"
            raise LoopTypeError(msg)
