"""The batches that a fit trains with, from wherever it goes on."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import torch

from tt_loop.data.agreement import Agreement
from tt_loop.data.batches import Batches, empty_message, is_driven
from tt_loop.data.sharing import kept_global_batch
from tt_loop.data.torch_loader import generator_states, set_generator_states, unwrapped
from tt_loop.errors import EmptyLoaderError
from tt_loop.protocols import Collective, Tree
from tt_loop.rng import rng_state, set_rng_state

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["TrainingData"]

_log = logging.getLogger(__name__)


class TrainingData:
    """Reads a loop's training loader for one process.

    Args:
        loop: The loop; its loader may be replaced by a callback.
        comm: The processes that share the loader.
        device: Where the model is; its generator is part of what a loader may draw from.
        inside: Training goes on inside an epoch.
    """

    def __init__(
        self, loop: TrainLoop, comm: Collective, device: torch.device, *, inside: bool
    ) -> None:
        self.loop, self.comm, self.device, self._inside = loop, comm, device, inside
        self._batches = self._made()
        self._began_epoch: Tree | None = None  # random states, for a loader that we do not drive
        self._position: Tree | None = None  # that such a loader gave itself

    def _made(self) -> Batches:
        loop, settings = self.loop, self.loop.settings
        return Batches(
            loop.train_loader,
            "training",
            rank=self.comm.rank,
            world_size=self.comm.world_size,
            seed=loop.seed,
            limit=settings.dry_run or settings.overfit or None,
            repeat=bool(settings.overfit),
            agreement=Agreement(self.comm, self.device, self._kept_global_batch()),
        )

    def _kept_global_batch(self) -> int | None:
        """The global batch of the run that is gone on from, if more or fewer processes made it."""
        loop, loader = self.loop, self.loop.train_loader
        if loop.shared is None or not is_driven(loader):
            return None
        size = unwrapped(loader).batch_size
        return kept_global_batch(loop.shared, size, self.comm.world_size, inside=self._inside)

    def shared(self) -> Tree:
        """What a run with another number of processes has to know of this one."""
        return {"processes": self.comm.world_size, "global_batch": self.batches.global_batch}

    @property
    def batches(self) -> Batches:
        """The batches of the loop's training loader, as it is now."""
        if self._batches.loader is not self.loop.train_loader:
            self._batches.close()
            self._batches = self._made()
        return self._batches

    def begin_epoch(self) -> None:
        """Note where an epoch begins."""
        self._began_epoch = None
        if not is_driven(self.loop.train_loader):
            generators = generator_states(self.loop.train_loader)
            self._began_epoch = {"rng": rng_state(self.device), "generators": generators}

    def epoch(self, start: int) -> Generator[Any]:
        """The present epoch's batches, from one on."""
        number = self.loop.epoch
        if not start or self.batches.driven:
            if start and self._began_epoch is not None:  # a sampler draws from its own once more
                set_generator_states(self.loop.train_loader, self._began_epoch["generators"])
            yield from self.batches.epoch(number, start)
            return
        # A loader that we do not drive: it goes to its own position, or draws from the global
        # generators what it drew before and gives the batches that are behind us once more.
        now = rng_state(self.device)
        if self._began_epoch is not None:
            set_rng_state(self._began_epoch["rng"], self.device)
            set_generator_states(self.loop.train_loader, self._began_epoch["generators"])
        if self._position is not None:
            self.batches.go_to(self._position)
        read = self.batches.epoch(number)
        for _ in range(start if self._position is None else 0):
            next(read, None)
        set_rng_state(now, self.device)
        yield from read

    def check_end(self, read: int) -> None:
        """Look at an epoch that its loader has ended, after so many batches.

        A loader whose length is not the number of its batches is told of.

        Raises:
            EmptyLoaderError: When there were none.
        """
        promised, whole = self.batches.sized, self.loop.iteration + 1
        if not whole:
            raise EmptyLoaderError(empty_message("training", self.loop.train_loader))
        if read and promised is not None and whole != promised:
            _log.warning("the training loader has length %d and gave %d batches", promised, whole)

    def close(self) -> None:
        """End the loader's workers."""
        self._batches.close()

    def state_dict(self) -> Tree:
        """What has to be known to go on inside the epoch."""
        return {"began_epoch": self._began_epoch, "loader": self.batches.position()}

    def load_state_dict(self, state: Tree) -> None:
        """Go on inside an epoch."""
        self._began_epoch, self._position = state["began_epoch"], state["loader"]
