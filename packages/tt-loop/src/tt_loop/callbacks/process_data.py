"""Loaders that are built in the process that reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tt_loop.callbacks.base import Callback

__all__ = ["ALONE", "DistributedSamplerSetEpoch", "InMultiProcessDataLoad"]

ALONE = ("single", "dp")
"""Modes whose only process is the one that calls ``fit``."""


class DistributedSamplerSetEpoch(Callback):
    """Tells samplers the epoch; a `TrainLoop` tells those of its own loaders without it.

    Args:
        train_sampler: Of the training set, or ``None``.
        validation_sampler: Of the validation set, or ``None``.
        test_sampler: Of the test set, or ``None``.
    """

    may_change_weights = False

    def __init__(
        self, train_sampler: Any, validation_sampler: Any = None, test_sampler: Any = None
    ) -> None:
        super().__init__("Epochs of distributed samplers", execution_order=-100)
        samplers = (train_sampler, validation_sampler, test_sampler)
        self.samplers = [sampler for sampler in samplers if sampler is not None]

    def on_epoch_begin(self) -> None:
        """Call each sampler's ``set_epoch``."""
        for sampler in self.samplers:
            sampler.set_epoch(self.train_loop_obj.epoch)


class InMultiProcessDataLoad(Callback):
    """Builds the loop's loaders in each process of a fit, so that no data travels there.

    Pass functions, or override the methods. What is not built stays as the loop has it. On one
    process the loaders are built when the callback joins the loop.

    Args:
        train_loader_build_fn: Builds the training loader.
        val_loader_build_fn: Builds the validation loader.
        test_loader_build_fn: Builds the test loader.
    """

    def __init__(
        self,
        train_loader_build_fn: Callable[[], Any] | None = None,
        val_loader_build_fn: Callable[[], Any] | None = None,
        test_loader_build_fn: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__("Loaders of each process", execution_order=-200)
        self.train_loader_build_fn = train_loader_build_fn
        self.val_loader_build_fn = val_loader_build_fn
        self.test_loader_build_fn = test_loader_build_fn

    def build_train_dataloader(self) -> Any:
        """The training loader, or ``None``."""
        return self.train_loader_build_fn() if self.train_loader_build_fn else None

    def build_val_dataloader(self) -> Any:
        """The validation loader, or ``None``."""
        return self.val_loader_build_fn() if self.val_loader_build_fn else None

    def build_test_dataloader(self) -> Any:
        """The test loader, or ``None``."""
        return self.test_loader_build_fn() if self.test_loader_build_fn else None

    def on_train_loop_registration(self) -> None:
        """Build the loaders here, where this process trains alone."""
        if self.train_loop_obj.gpu_mode in ALONE:
            self.on_multiprocess_start()

    def on_multiprocess_start(self) -> None:
        """Build this process's loaders."""
        loop = self.train_loop_obj
        built = {
            "train_loader": self.build_train_dataloader(),
            "validation_loader": self.build_val_dataloader(),
            "test_loader": self.build_test_dataloader(),
        }
        for name, loader in built.items():
            if loader is not None:
                setattr(loop, name, loader)
