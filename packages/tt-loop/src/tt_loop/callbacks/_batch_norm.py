"""Batch-norm statistics of the weights that a model holds now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tt_loop.data.batches import Batches
from tt_loop.data.torch_loader import kept_generators
from tt_loop.evaluation.evaluator import kept_modes
from tt_loop.rng import preserved_rng

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["recompute_statistics", "statistics"]


def statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running statistics of a model's batch-norm layers, by buffer name."""
    prefixes = tuple(f"{name}." for name, module in model.named_modules() if _has(module))
    buffers = model.named_buffers()
    return {name: buffer for name, buffer in buffers if f"{name.rpartition('.')[0]}." in prefixes}


@torch.no_grad()
def recompute_statistics(loop: TrainLoop) -> None:
    """Compute the running statistics anew, as means over the batches of one training epoch.

    What `torch.optim.swa_utils.update_bn` does, with the loop's device, precision and processes:
    each process reads its share, and the statistics are the mean over all of them. Modes, momenta
    and random states are put back. A layer that does not train (``eval()`` in the model's own
    ``train``) keeps its statistics.
    """
    strategy, prepared = loop.ready()
    model: Any = strategy.evaluable(prepared)
    comm, device = strategy.comm, strategy.device
    batches = Batches(
        loop.train_loader,
        "training",
        rank=comm.rank,
        world_size=comm.world_size,
        seed=loop.seed,
        limit=loop.settings.dry_run or loop.settings.overfit or None,
        repeat=bool(loop.settings.overfit),
    )
    with (
        kept_modes(model),
        preserved_rng(device),
        kept_generators(loop.train_loader),
        torch.compiler.set_stance("force_eager"),  # for these few batches, no graph of their own
    ):
        model.train()
        norms = [module for module in model.modules() if _has(module) and module.training]
        momenta = [norm.momentum for norm in norms]
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a mean over all batches, not an exponential average
            for batch in batches.epoch(loop.epoch):
                with strategy.forward():
                    model.get_loss(batch, loop.criterion, device)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    if comm.world_size > 1:
        for norm in norms:
            for buffer in (norm.running_mean, norm.running_var):
                buffer.copy_(comm.all_reduce(buffer.clone()) / comm.world_size)


def _has(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None
