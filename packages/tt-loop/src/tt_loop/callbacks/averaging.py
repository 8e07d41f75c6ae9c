"""Averaged weights: evaluated and kept in place of those that the last step left."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tt_loop.callbacks._batch_norm import recompute_statistics, statistics
from tt_loop.callbacks._weight_averaging import AtEnd, WeightAveraging
from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree

__all__ = ["EMA", "SWA"]


class EMA(WeightAveraging):
    """Evaluate and end with an exponential moving average of the weights.

    After each update, ``average = decay * average + (1 - decay) * weights``: the arithmetic of
    `torch.optim.swa_utils.AveragedModel` with ``get_ema_multi_avg_fn``, equal bit for bit. The
    first average is a copy of the weights after the first update. Buffers (batch-norm statistics)
    are not averaged: the averages are evaluated with the model's newest ones.

    During evaluation and at the end the averages are copied into the model's own tensors, which
    needs memory for a second copy of the trainable parameters beside the average. Weights that are
    put aside at the end are where the next ``fit`` goes on.

    Args:
        decay: Share of the old average that stays; 0.999 averages over about 1000 updates.
        update_every: Average after every so many optimizer updates.
        warmup: Begin with a smaller decay, ``min(decay, (1 + n) / (10 + n))`` after n averages (as
            TensorFlow's ``ExponentialMovingAverage``), so that the first weights are forgotten.
        dtype: What averages are kept in; give ``torch.float32`` for a model in half precision,
            where small changes would be rounded away.
        use_buffers: Average floating-point buffers too and copy the others.
        at_end: What the model has after ``fit``: ``'averaged'`` or ``'trained'`` weights.

    Raises:
        LoopValueError: For a setting that cannot work.

    Example:
        >>> from torch import nn
        >>> from tt_loop.api import TrainLoop
        >>> model = nn.Linear(2, 1)
        >>> batches = [[torch.ones(4, 2), torch.ones(4, 1)]] * 3
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> ema = EMA(decay=0.9)
        >>> model = loop.fit(num_epochs=2, callbacks=[ema])
        >>> ema.averages.count, torch.equal(model.weight, ema.averages.values["weight"])
        (6, True)
    """

    def __init__(
        self,
        decay: float = 0.999,
        *,
        update_every: int = 1,
        warmup: bool = False,
        dtype: torch.dtype | None = None,
        use_buffers: bool = False,
        at_end: AtEnd = "averaged",
    ) -> None:
        super().__init__("Exponential moving average", at_end, dtype)
        if not 0 <= decay < 1:
            msg = f"decay must be at least 0 and below 1, got {decay}."
            raise LoopValueError(msg)
        if update_every < 1:
            msg = f"update_every must be at least 1, got {update_every}."
            raise LoopValueError(msg)
        self.decay = decay
        self.update_every = update_every
        self.warmup = warmup
        self.use_buffers = use_buffers
        self._updates = 0

    def averaged_tensors(self) -> dict[str, Tensor]:
        """The parameters by name, and the buffers if they are to be averaged."""
        buffers = self.train_loop_obj.model.named_buffers() if self.use_buffers else ()
        return {**super().averaged_tensors(), **dict(buffers)}

    def on_after_optimizer_step(self) -> None:
        """Average, if it is this update's turn."""
        self._updates += 1
        if self._updates % self.update_every == 0:
            self.averages.update(1 - self._present_decay())

    def _present_decay(self) -> float:
        count = self.averages.count
        return min(self.decay, (1 + count) / (10 + count)) if self.warmup else self.decay

    def state_dict(self) -> Tree:
        """The averages by parameter name, and how many updates there were."""
        return {**super().state_dict(), "updates": self._updates}

    def load_state_dict(self, state: Tree) -> None:
        """Go on averaging."""
        super().load_state_dict(state)
        self._updates = state["updates"]


class SWA(WeightAveraging):
    """Evaluate and end with the mean of the weights after each of the last epochs.

    Stochastic weight averaging (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and
    Better Generalization"), with the arithmetic of `torch.optim.swa_utils.AveragedModel`. A
    constant or cyclic learning rate in these epochs is the scheduler's matter.

    The running statistics of batch-norm layers belong to the weights: they are computed anew from
    one pass over the training set whenever a new average is about to be evaluated or to stay, as
    ``update_bn`` does; modes and random states are kept. In a model with batch norm an epoch thus
    costs one more forward pass per batch; with ``evaluate=False``, the whole fit costs one pass.

    Args:
        start_epoch: The first epoch, counted from 0, after which weights are averaged.
        every_epochs: Average after every so many epochs from then on.
        update_bn: Compute batch-norm statistics anew; otherwise the newest are used.
        evaluate: Evaluate the averages during training; otherwise the trained weights, also for
            the test loss at the end.
        dtype: What averages are kept in, such as ``torch.float32`` for a model in half precision.
        at_end: What the model has after ``fit``: ``'averaged'`` or ``'trained'`` weights.

    Raises:
        LoopValueError: For a setting that cannot work.

    Example:
        >>> from torch import nn
        >>> from tt_loop.api import TrainLoop
        >>> model = nn.Linear(2, 1)
        >>> batches = [[torch.ones(4, 2), torch.ones(4, 1)]] * 3
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> swa = SWA(start_epoch=2)
        >>> model = loop.fit(num_epochs=5, callbacks=[swa])
        >>> swa.averages.count
        3
    """

    def __init__(
        self,
        start_epoch: int,
        *,
        every_epochs: int = 1,
        update_bn: bool = True,
        evaluate: bool = True,
        dtype: torch.dtype | None = None,
        at_end: AtEnd = "averaged",
    ) -> None:
        super().__init__("Stochastic weight averaging", at_end, dtype)
        if start_epoch < 0 or every_epochs < 1:
            msg = (
                "start_epoch must be at least 0 and every_epochs at least 1, got "
                f"{start_epoch} and {every_epochs}."
            )
            raise LoopValueError(msg)
        self.start_epoch = start_epoch
        self.every_epochs = every_epochs
        self.update_bn = update_bn
        self.evaluate = evaluate
        self._newest_epoch = -1
        self._statistics_of = 0

    def averaged_tensors(self) -> dict[str, Tensor]:
        """The parameters by name, and the statistics of batch-norm layers that go with them."""
        norms = statistics(self.train_loop_obj.model) if self.update_bn else {}
        return {**super().averaged_tensors(), **norms}

    def on_evaluate_begin(self, dataset_info: Any) -> None:
        """Put the averages in, the newest epoch's weights among them."""
        if self.evaluate:
            self._average()
            super().on_evaluate_begin(dataset_info)

    def on_evaluate_end(self, dataset_info: Any) -> None:
        """Put the trained weights back when the outermost evaluation has ended."""
        if self.evaluate:
            super().on_evaluate_end(dataset_info)

    def on_epoch_end(self) -> None:
        """Average, unless an evaluation of this epoch has asked for it already."""
        self._average()

    def _average(self) -> None:
        loop = self.train_loop_obj
        epoch = loop.epochs_done - 1
        between_epochs = epoch == loop.epoch
        since = epoch - self.start_epoch
        due = since >= 0 and since % self.every_epochs == 0
        if self._fitting and between_epochs and due and epoch != self._newest_epoch:
            self._newest_epoch = epoch
            self.averages.update(1 / (self.averages.count + 1))

    def put_in(self) -> None:
        """Let the averages stand in for the model's weights, with statistics of their own."""
        self.averages.put_in()
        norms = statistics(self.train_loop_obj.model) if self.update_bn else {}
        if norms and self._statistics_of != self.averages.count:
            recompute_statistics(self.train_loop_obj)
            self.averages.take(norms)
            self._statistics_of = self.averages.count

    def state_dict(self) -> Tree:
        """The averages by parameter name, and which epoch is the newest in them."""
        own = {"newest_epoch": self._newest_epoch, "statistics_of": self._statistics_of}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Tree) -> None:
        """Go on averaging."""
        super().load_state_dict(state)
        self._newest_epoch = state["newest_epoch"]
        self._statistics_of = state["statistics_of"]
