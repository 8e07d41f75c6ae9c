"""A state tree on its way into host memory, while training goes on.

Taking the tree apart, and copying what is small, is done at once. Large tensors on the CPU are
copied later, by the thread that writes them, into memory that every save uses again; those on a GPU
are copied by a stream of their own. Until then they must not change: a state that is half old and
half new looks like any other, so whoever changes one too early makes the save fail.
"""

from __future__ import annotations

import threading
from typing import Any

from torch import Tensor

from tt_experiment._checkpoint.host_buffer import HostBuffer, StreamCopies, copy_on_cpu
from tt_experiment._tree import host_copy, split
from tt_experiment.errors import CheckpointError, StateTreeError
from tt_loop.api import Tree

__all__ = ["PARTS", "Staging"]

PARTS = ("model", "optimizers")
"""Branches of a tree that are kept apart from the rest, ``extra``."""

_SMALL = 16 << 10  # bytes of a tensor that is copied at once
_SHORT = 1 << 20  # bytes of a whole state that is: another thread takes longer to wake up


class _Late:
    """A tensor that is copied later, and what its copy is called in the files."""

    def __init__(self, source: Tensor) -> None:
        self.source = source
        self.homes: list[tuple[dict[str, Tensor], str]] = []

    def settle(self, target: Tensor) -> None:
        """Put its copy, or the place where that will be, where it belongs."""
        for home, name in self.homes:
            home[name] = target


class _Guard:
    """Notices tensors that change in place before they may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: list[tuple[str, Tensor, int]] = []
        self._changed: list[str] = []

    def watch(self, place: str, tensor: Tensor) -> None:
        """Remember a tensor as it is now."""
        if not tensor.is_inference():  # nobody counts what happens to those
            self._watched.append((place, tensor, tensor._version))

    def release(self) -> None:
        """From now on they may change; it counts what happened until the first call."""
        with self._lock:
            self._changed += [
                place for place, tensor, version in self._watched if tensor._version != version
            ]
            self._watched.clear()

    def check(self) -> None:
        """Raise if one changed before `release`."""
        self.release()
        if self._changed:
            msg = (
                "a tensor must not change between save() and the return of the ticket's "
                f"wait_staged(). Got {len(self._changed)} that did, of them {self._changed[0]}: "
                "call wait_staged() before the next optimizer step. Nothing was kept of this save"
            )
            raise CheckpointError(msg)


class Staging:
    """A state tree that is being copied into host memory.

    Args:
        tree: The state.
        buffer: Where large tensors are copied to; no other save may be under way in it.

    Raises:
        StateTreeError: The tree holds what cannot be written exactly.
    """

    def __init__(self, tree: Tree, buffer: HostBuffer) -> None:
        self._buffer = buffer
        self._guard = _Guard()
        self._late: dict[Any, _Late] = {}
        self._streams: StreamCopies | None = None
        self._pairs: list[tuple[Tensor, Tensor]] | None = None
        self.tensors: dict[str, dict[str, Tensor]] = {}
        self.structure: dict[str, Any] = {}
        self.bytes = 0
        for part, value in _parts(tree).items():
            self._take(part, value)
        if any(late.source.is_cuda for late in self._late.values()):
            self._start_streams()
        elif sum(late.source.nbytes for late in self._late.values()) <= _SHORT:
            self.copy()
            self._guard.release()

    def _take(self, part: str, value: Any) -> None:
        found = split(value)
        home = self.tensors[part] = dict(found.arrays)
        self.structure[part] = found.structure
        self.bytes += sum(t.nbytes for t in (*found.arrays.values(), *found.tensors.values()))
        for name, tensor in found.tensors.items():
            if _can_wait(tensor):
                self._postpone(home, part, name, tensor)
            else:
                home[name] = host_copy(tensor)

    def _postpone(self, home: dict[str, Tensor], part: str, name: str, tensor: Tensor) -> None:
        key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        known = (*key, tensor.is_conj(), tensor.is_neg())
        if known not in self._late:  # tied weights are copied once
            self._late[known] = _Late(tensor)
            self._guard.watch(f"tree[{part!r}] {name}", tensor)
        self._late[known].homes.append((home, name))

    def _pair(self, *, pinned: bool) -> list[tuple[Tensor, Tensor]]:
        """Find a place in the buffer for each tensor that is still to be copied."""
        late = list(self._late.values())
        self._late.clear()
        sources = [item.source for item in late]
        targets = self._buffer.like(sources, pinned=pinned)
        for item, target in zip(late, targets, strict=True):
            item.settle(target)
        return list(zip(sources, targets, strict=True))

    def _start_streams(self) -> None:
        pairs = self._pair(pinned=True)
        self._streams = StreamCopies(pair for pair in pairs if pair[0].is_cuda)
        self._pairs = [pair for pair in pairs if not pair[0].is_cuda]

    def copy(self) -> None:
        """Copy what is left of it, in whichever thread."""
        pairs = self._pair(pinned=False) if self._pairs is None else self._pairs
        for source, target in pairs:
            copy_on_cpu(source, target)
        self._pairs = []

    def release(self) -> None:
        """Training may change the tensors from now on; after `copy`, in the training's thread."""
        if self._streams is not None:
            self._streams.hold_back()
        self._guard.release()

    def arrive(self) -> None:
        """Wait for what a GPU still has to send."""
        if self._streams is not None:
            self._streams.wait()

    def check(self) -> None:
        """See that it is the state of one moment.

        Raises:
            CheckpointError: A tensor changed before `release`.
        """
        self._guard.check()


def _can_wait(tensor: Tensor) -> bool:
    if tensor.is_cuda:
        return tensor.nbytes > 0
    return tensor.device.type == "cpu" and tensor.nbytes > _SMALL


def _parts(tree: Tree) -> Tree:
    if not isinstance(tree, dict):
        msg = f"a state tree is a dict. Got {type(tree).__name__}"
        raise StateTreeError(msg)
    parts: Tree = {key: tree[key] for key in PARTS if key in tree}
    parts["extra"] = {key: value for key, value in tree.items() if key not in parts}
    return parts
