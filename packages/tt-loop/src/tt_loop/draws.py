"""Quick copies of the global random generators' states, to see whether anything drew from them.

Asked before and after every batch, so speed counts: NumPy takes 30 microseconds for a copy of its
state, Python 6. The states of their Mersenne Twisters (Matsumoto and Nishimura 1998), a position
and 624 words, are copied as memory here: NumPy publishes their address, and CPython keeps them
behind the object's header. Whether it does is tried out once; elsewhere the slow copies are made.

A normal number that NumPy's legacy functions still hold from an earlier pair is drawn unseen.
"""

from __future__ import annotations

import ctypes
import random
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["Generators"]

_WORDS = 624
_SIZE = 4 * (1 + _WORDS)
_HEADER = object.__basicsize__  # of every CPython object
_PYTHON: Any = random.random.__self__  # type: ignore[attr-defined]  # what the module's functions are methods of


class Generators(NamedTuple):
    """The states of Python's, NumPy's and torch's global generators; equal while nobody draws."""

    python: Any
    numpy: Any
    torch: bytes

    @classmethod
    def now(cls) -> Generators:
        """The present states."""
        return cls(_python(), _numpy(), torch.default_generator.get_state().numpy().tobytes())

    def restore(self) -> None:
        """Put the generators back."""
        _restore_python(self.python)
        _restore_numpy(self.numpy)
        state = torch.frombuffer(bytearray(self.torch), dtype=torch.uint8)
        torch.default_generator.set_state(state)


def _python() -> Any:
    if not _layout_is_known():
        return random.getstate()
    return ctypes.string_at(id(_PYTHON) + _HEADER, _SIZE), _PYTHON.gauss_next


def _restore_python(state: Any) -> None:
    if not _layout_is_known():
        random.setstate(state)
        return
    words, _PYTHON.gauss_next = state
    ctypes.memmove(id(_PYTHON) + _HEADER, words, _SIZE)


@cache
def _layout_is_known() -> bool:
    """Whether a generator's position and words are where CPython's lie."""
    trial: Any = random.Random(0)  # a trial, not a secret
    base: Any = random.Random.__base__
    if base.__basicsize__ < _HEADER + _SIZE:
        return False
    for _ in range(2):
        *words, position = trial.getstate()[1]
        expected = np.array([position, *words], np.uint32).tobytes()
        if ctypes.string_at(id(trial) + _HEADER, _SIZE) != expected:
            return False
        trial.random()
    return True


def _numpy() -> Any:
    address = _numpy_address()
    return np.random.get_state() if address is None else ctypes.string_at(address, _SIZE)


def _restore_numpy(state: Any) -> None:
    address = _numpy_address()
    if address is None:
        np.random.set_state(state)
    else:
        ctypes.memmove(address, state, _SIZE)


def _numpy_address() -> int | None:
    """Where NumPy's words and position are, if its generator is a Mersenne Twister."""
    generator: Any = np.random.get_bit_generator()  # type: ignore[attr-defined]  # its stubs forgot it
    if type(generator) is not np.random.MT19937:
        return None
    address: int = generator.ctypes.state_address
    return address
