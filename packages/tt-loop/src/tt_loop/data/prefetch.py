"""Batches read ahead by a thread, and copied to the device meanwhile."""

from __future__ import annotations

import atexit
import copy
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch

from tt_loop.data.copying import Copier
from tt_loop.errors import LoopStateError, LoopTypeError, LoopValueError
from tt_loop.protocols import Tree

__all__ = ["Prefetched"]

_EXIT_SECONDS = 5.0


class Prefetched:
    """A loader whose batches a background thread reads ahead.

    It pays where reading a batch waits (disk, network, a copy to an accelerator) or works outside
    Python's lock (decoding, large gathers) for some hundred microseconds or more, and a core is
    free. For a small model on data in memory it costs more than it saves: threads that take turns
    with Python's lock made such a step 100 microseconds, or 1.3 times, longer. Use a
    `TensorLoader` there.

    The loader's iterator is made in the thread that iterates, all its batches in the background.
    The first batch is waited for; what is drawn from the *global* random generators for later ones
    (random transforms) comes in between the draws of training (dropout) in no certain order. Give
    what draws a generator of its own, or have a `DataLoader`'s workers do it.

    The thread ends with the iteration, also with one that is broken off or forgotten, then as soon
    as the batch being read is there; the next iteration waits for that. An error of the loader is
    raised in the consumer with its traceback, after the batches read before it.

    Where the loader has a ``state_dict``, so has this: the loader's state after the batch that the
    consumer got last, whatever has been read ahead. That takes a deep copy of the loader's state
    for each batch. A loader that has none gets none.

    Args:
        loader: An iterable of batches; each iteration of this iterates it anew.
        depth: How many batches may be ready or being read.
        device: Where to move the tensors of each batch: through page-locked memory and in a stream
            of their own if it is a CUDA device. By default they stay where they are.

    Raises:
        LoopValueError: When ``depth`` is below 1.
        LoopTypeError: When the loader cannot be iterated.

    Example:
        >>> list(Prefetched([[1, 2], [3]]))
        [[1, 2], [3]]
    """

    def __init__(
        self, loader: Iterable[Any], depth: int = 2, *, device: torch.device | str | None = None
    ) -> None:
        if depth < 1:
            msg = f"depth must be at least 1, got {depth}."
            raise LoopValueError(msg)
        if not hasattr(loader, "__iter__"):
            msg = f"loader must be an iterable of batches, got {type(loader).__name__}."
            raise LoopTypeError(msg)
        self.loader, self.depth = loader, depth
        # "cuda" becomes "cuda:0": a new thread has its own idea of the current device
        self.device = None if device is None else torch.empty(0, device=device).device
        self._seen: Tree | None = None

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]  # its TypeError is the answer

    def __iter__(self) -> Iterator[Any]:
        _wait_for_stopped(self.loader)
        self._seen = None
        return _Consumer(self)

    @property
    def state_dict(self) -> Callable[[], Tree]:
        """The loader's state after the batch that the consumer got last."""
        own: Callable[[], Tree] = self.loader.state_dict  # type: ignore[attr-defined]  # its AttributeError is the answer
        return lambda: own() if self._seen is None else copy.deepcopy(self._seen)

    @property
    def load_state_dict(self) -> Callable[[Tree], None]:
        """Have the loader's next iteration begin at a state.

        Raises:
            LoopStateError: While an iteration goes on.
        """
        own: Callable[[Tree], None] = self.loader.load_state_dict  # type: ignore[attr-defined]  # its AttributeError is the answer

        def load(state: Tree) -> None:
            if any(not reader.stopped for reader in _readers_of(self.loader)):
                msg = "A state can be loaded between iterations of the loader, but one goes on."
                raise LoopStateError(msg)
            _wait_for_stopped(self.loader)
            self._seen = None
            own(state)

        return load


class _Read(NamedTuple):
    """A batch, what tells when it has arrived on its device, and the loader's state after it."""

    batch: Any
    arrival: Any
    state: Tree | None


class _Failed(NamedTuple):
    """What the loader raised."""

    error: BaseException


_END = object()


class _Consumer(Iterator[Any]):
    """What iterates; when it goes away, the reader stops."""

    def __init__(self, source: Prefetched) -> None:
        self._source = source
        self._reader = _Reader(source.loader, source.depth, source.device)
        self._stop = weakref.finalize(self, self._reader.stop)

    def __next__(self) -> Any:
        reader = self._reader
        if reader.stopped:
            raise StopIteration
        if reader.thread is None:
            reader.start()
        read = reader.ready.get()
        if isinstance(read, _Read):
            reader.free.put(True)
            self._source._seen = read.state
            if read.arrival is not None and reader.copier is not None:
                reader.copier.receive(read.batch, read.arrival)
            return read.batch
        self._stop()
        reader.wait()
        if isinstance(read, _Failed):
            try:
                raise read.error
            finally:
                del read  # else the error would hold itself by its traceback
        self._source._seen = None
        raise StopIteration


class _Reader:
    """Reads batches in a thread of its own. It must not refer to the consumer, which may go away.

    Both queues are of the kind whose ``put`` is safe in a finalizer, which may run at any moment in
    any thread. A token in ``free`` allows one batch to be read; ``False`` says to end.
    """

    def __init__(self, loader: Any, depth: int, device: torch.device | None) -> None:
        self.loader = loader
        self.batches: Iterator[Any] | None = iter(loader)
        self.free: SimpleQueue[bool] = SimpleQueue()
        self.ready: SimpleQueue[_Read | _Failed | object] = SimpleQueue()
        for _ in range(depth):
            self.free.put(True)
        self.stopped = False
        self.thread: threading.Thread | None = None
        self.copier = None if device is None else Copier(device)
        self.index = _device_index(device)
        _READERS.add(self)

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, name="tt-loop prefetch", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopped = True
        self.free.put(False)

    def wait(self, seconds: float | None = None) -> None:
        if self.thread is not None:
            self.thread.join(seconds)

    def _run(self) -> None:
        try:
            if self.index:  # a new thread has device 0, and would open a context there
                torch.accelerator.set_device_index(self.index)
            while self.free.get() and not self.stopped:
                self.ready.put(self._next())
        except StopIteration:
            self.ready.put(_END)
        except BaseException as error:
            self.ready.put(_Failed(error))
        finally:
            self.batches = None  # a generator's own clean-up runs where it ran

    def _next(self) -> _Read:
        assert self.batches is not None  # noqa: S101  # only the thread's end takes it away
        batch, arrival = next(self.batches), None
        if self.copier is not None:
            batch, arrival = self.copier.send(batch)
        get_state = getattr(self.loader, "state_dict", None)
        return _Read(batch, arrival, None if get_state is None else copy.deepcopy(get_state()))


_READERS: weakref.WeakSet[_Reader] = weakref.WeakSet()


def _readers_of(loader: Any) -> list[_Reader]:
    return [reader for reader in list(_READERS) if reader.loader is loader and reader.thread]


def _wait_for_stopped(loader: Any) -> None:
    """Two threads must not read one loader."""
    for reader in _readers_of(loader):
        if reader.stopped:
            reader.wait()


@atexit.register
def _end_threads() -> None:
    """A thread inside torch when the interpreter ends would abort the process."""
    for reader in list(_READERS):
        reader.stop()
        reader.wait(_EXIT_SECONDS)


def _device_index(device: torch.device | None) -> int:
    """The device that the reading thread has to take for the current one."""
    if device is not None and device.type != "cpu":
        return device.index or 0
    return torch.accelerator.current_device_index() if torch.accelerator.is_available() else 0
