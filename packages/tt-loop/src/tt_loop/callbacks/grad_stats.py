"""Log statistics of the gradients of chosen layers.

Gradients are gone when an epoch ends, and after each step. They are looked at where they are
complete and of true size: right after the backward pass, before they are clipped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopTypeError, LoopValueError

__all__ = ["GradientStatsPrint", "LayerGradients", "Layers"]

_log = logging.getLogger(__name__)

Layers = Callable[[Any], Sequence[nn.Module]]
"""Takes a model and gives the layers to look at; each has a ``weight``."""


class LayerGradients(Callback):
    """Base of what looks at gradients: finds the layers, and their gradients when they are ready.

    Args:
        callback_name: As of each `Callback`.
        model_layers_extract_def: Takes the model and gives the layers to look at.
    """

    def __init__(self, callback_name: str, model_layers_extract_def: Layers) -> None:
        super().__init__(callback_name, device_idx_execution=0)
        self.model_layers_extract_def = model_layers_extract_def
        self._layers: dict[str, Any] = {}

    def on_train_begin(self) -> None:
        """Find the layers.

        Raises:
            LoopTypeError: When one has no ``weight``.
        """
        model = self.train_loop_obj.model
        names = {id(module): name for name, module in model.named_modules()}
        self._layers = {}
        for number, layer in enumerate(self.model_layers_extract_def(model)):
            if not isinstance(getattr(layer, "weight", None), Tensor):
                msg = (
                    "model_layers_extract_def must give layers with a weight, such as nn.Linear, "
                    f"got {layer!r}."
                )
                raise LoopTypeError(msg)
            self._layers[names.get(id(layer)) or f"layer {number}"] = layer

    def gradients(self, optimizer_idx: int) -> dict[str, Tensor]:
        """Gradients of the layers that an optimizer updates; those of others are not ready."""
        groups = self.train_loop_obj.optimizers[optimizer_idx].param_groups
        ready = {id(parameter) for group in groups for parameter in group["params"]}
        return {
            name: _dense(layer.weight.grad)
            for name, layer in self._layers.items()
            if layer.weight.grad is not None and id(layer.weight) in ready
        }


class GradientStatsPrint(LayerGradients):
    """Log mean, standard deviation and share of zeros of layers' weight gradients.

    They go to the log at level INFO. Each time, an accelerator is waited for. Layers that no
    optimizer updates are left out; of a sharded weight, this process's part is looked at.

    Args:
        model_layers_extract_def: Takes the model and gives the layers to look at.
        stats_eval_freq: Look at every so many updates.

    Example:
        >>> stats = GradientStatsPrint(lambda model: [model.encoder, model.head], 100)
    """

    def __init__(self, model_layers_extract_def: Layers, stats_eval_freq: int = 1) -> None:
        super().__init__("Gradient statistics", model_layers_extract_def)
        if stats_eval_freq < 1:
            msg = f"stats_eval_freq must be at least 1, got {stats_eval_freq}."
            raise LoopValueError(msg)
        self.stats_eval_freq = stats_eval_freq

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        """Log the statistics, if it is this update's turn."""
        update = self.train_loop_obj.updates_done + 1
        if update % self.stats_eval_freq:
            return
        gradients = self.gradients(optimizer_idx)
        if not gradients:
            return
        statistics = torch.stack([_statistics(each) for each in gradients.values()]).tolist()
        for name, (mean, std, zeros) in zip(gradients, statistics, strict=True):
            _log.info(
                "gradient of %s at update %d: mean %.3e, standard deviation %.3e, zeros %.1f%%",
                name,
                update,
                mean,
                std,
                100 * zeros,
            )


def _dense(gradient: Any) -> Tensor:
    """A gradient, or this process's part of it, as a dense tensor in single precision or better."""
    if hasattr(gradient, "to_local"):  # a DTensor: to compute with the whole would communicate
        gradient = gradient.to_local()
    dense: Tensor = gradient.to_dense()  # the same tensor, unless it is sparse
    return dense.float() if dense.element_size() < 4 else dense


def _statistics(gradient: Tensor) -> Tensor:
    """Mean, population standard deviation and share of zeros; shape ``(3,)``."""
    zeros = (gradient == 0).to(gradient.dtype).mean()
    return torch.stack([gradient.mean(), gradient.std(correction=0), zeros]).float()
