"""Losses, predictions and metrics of a model over a loader.

Evaluation is neutral: the modules' training flags and every random state are put back, and nothing
is drawn from the generators that training uses. On several processes each takes one contiguous
part of the dataset, so that what comes together in rank order is every sample once, in the
dataset's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tt_loop.data import Batches, batch_weight, empty_message
from tt_loop.errors import EmptyLoaderError, LoopTypeError, LoopValueError
from tt_loop.protocols import Metric, Strategy
from tt_loop.rng import preserved_rng

__all__ = [
    "Evaluator",
    "append_predictions",
    "keep_list_transf",
    "kept_modes",
    "split_loss",
    "torch_cat_transf",
    "weighted_mean",
]

AfterBatch = Callable[[Any, Any, Any], None]


def append_predictions(y_batch: Any, predictions: list[Any]) -> list[Any]:
    """Collect a batch's predictions: append them to the list."""
    predictions.append(y_batch)
    return predictions


def torch_cat_transf(predictions: list[Any]) -> Any:
    """Join the batches' predictions: tensors along their first dimension, lists end to end."""
    if predictions and isinstance(predictions[0], Tensor):
        return torch.cat(predictions)
    if predictions and isinstance(predictions[0], np.ndarray):
        return np.concatenate(predictions)
    return [item for batch in predictions for item in batch]


def keep_list_transf(predictions: list[Any]) -> list[Any]:
    """Keep the list of batches as it is."""
    return predictions


def split_loss(returned: Any, batch: Any) -> tuple[Tensor, Any]:
    """A loss and its weight from what ``get_loss`` returned.

    Raises:
        LoopTypeError: When it is neither a scalar tensor nor a pair of one and its weight.
    """
    loss, weight = returned if type(returned) is tuple and len(returned) == 2 else (returned, None)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else None
        got = shape or type(loss).__name__
        msg = f"get_loss must return a scalar tensor, or a pair of one and its weight, got {got}."
        raise LoopTypeError(msg)
    if weight is None:
        return loss, batch_weight(batch)
    return loss, weight.reshape(()).to(loss.device) if isinstance(weight, Tensor) else weight


def weighted_mean(losses: Sequence[Tensor], weights: Sequence[Any], strategy: Strategy) -> float:
    """Mean of losses over all samples of all processes, in double precision."""
    device = strategy.device
    sums = torch.zeros(2, dtype=torch.float64, device="cpu" if device.type == "mps" else device)
    if losses:
        values = torch.stack([loss.reshape(()) for loss in losses]).to(sums)
        counts = torch.stack([torch.as_tensor(weight).to(sums) for weight in weights])
        sums[0] = torch.where(counts == 0, 0.0, values * counts).sum()
        sums[1] = counts.sum()
    total, count = strategy.comm.all_reduce(sums).tolist()
    return float(total / count) if count else float("nan")


class Evaluator:
    """Evaluates one prepared model under one strategy.

    Args:
        strategy: Where and how the model computes.
        model: The model that the strategy prepared.
        criterion: Passed to the model's ``get_loss_eval``.
    """

    def __init__(self, strategy: Strategy, model: nn.Module, criterion: Any) -> None:
        self.strategy = strategy
        self.model: Any = strategy.evaluable(model)
        self.criterion = criterion

    def loss(self, loader: Iterable[Any], name: str) -> float:
        """Mean loss over the loader's samples."""
        losses: list[Tensor] = []
        weights: list[Any] = []

        def visit(batch: Any) -> None:
            returned = self.model.get_loss_eval(batch, self.criterion, self.strategy.device)
            loss, weight = split_loss(returned, batch)
            losses.append(loss)
            weights.append(weight)

        self._visit(loader, name, visit)
        return weighted_mean(losses, weights, self.strategy)

    def predictions(
        self,
        loader: Iterable[Any],
        name: str,
        *,
        collate: Callable[[Any, list[Any]], list[Any]],
        transform: Callable[[list[Any]], Any],
        after_batch: AfterBatch | None = None,
    ) -> tuple[Any, Any, dict[str, Any]] | None:
        """Predictions, targets and metadata of the whole set, on rank 0's CPU; else ``None``."""
        y_pred: list[Any] = []
        y_test: list[Any] = []
        metadata: list[Mapping[str, Any]] = []

        def visit(batch: Any) -> None:
            nonlocal y_pred, y_test
            predicted, true, extra = self._predict(batch)
            if after_batch is not None:
                after_batch(predicted, true, extra)
            y_pred = collate(_to_cpu(predicted), y_pred)
            y_test = collate(_to_cpu(true), y_test)
            metadata.append({key: _to_cpu(value) for key, value in (extra or {}).items()})

        self._visit(loader, name, visit)
        parts = self.strategy.comm.gather_objects((y_pred, y_test, metadata))
        if parts is None:
            return None
        return (
            transform([item for part in parts for item in part[0]]),
            transform([item for part in parts for item in part[1]]),
            _joined_metadata([item for part in parts for item in part[2]]),
        )

    def metrics(self, loader: Iterable[Any], name: str, metric: Metric) -> dict[str, Any]:
        """The numbers of a mergeable metric over the loader, the same in every process."""
        metric.reset()

        def visit(batch: Any) -> None:
            predicted, true, _ = self._predict(batch)
            metric.update(true, predicted)

        self._visit(loader, name, visit)
        comm = self.strategy.comm
        if comm.world_size > 1:
            states = comm.gather_objects(metric.state)
            metric.reset()
            for state in states or ():
                metric.merge(state)
        return comm.broadcast_object(dict(metric.compute()) if comm.rank == 0 else {})

    def _predict(self, batch: Any) -> tuple[Any, Any, Any]:
        predicted: tuple[Any, Any, Any] = self.model.get_predictions(batch, self.strategy.device)
        return predicted

    def _visit(self, loader: Iterable[Any], name: str, visit: Callable[[Any], None]) -> None:
        """Show this process's batches to ``visit``, inside everything that evaluation needs."""
        strategy = self.strategy
        batches = Batches(
            loader, name, rank=strategy.comm.rank, world_size=strategy.comm.world_size, seed=None
        )
        count = 0
        batch: Any = None
        with kept_modes(self.model), preserved_rng(strategy.device), torch.no_grad():
            self.model.eval()
            for batch in batches.epoch(0):
                with strategy.forward():
                    visit(batch)
                count += 1
            for _ in range(strategy.eval_rounds(count) - count):
                with strategy.forward():  # another process needs us in its forward
                    self._predict(batch)
        if count == 0 and strategy.comm.world_size == 1:
            raise EmptyLoaderError(empty_message(name))


@contextmanager
def kept_modes(model: nn.Module) -> Iterator[None]:
    """Put each module back afterwards into the mode, training or evaluation, it was found in."""
    found = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in found:
            module.training = training


def _to_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _joined_metadata(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One dict of joined values from the metadata of all batches.

    Raises:
        LoopValueError: When a key is missing in some of the batches, so that its values would not
            stand beside the right predictions.
    """
    keys = {key for batch in batches for key in batch}
    for key in sorted(keys, key=str):
        missing = sum(key not in batch for batch in batches)
        if missing:
            msg = (
                f"get_predictions must return the same metadata keys for every batch; {key!r} is "
                f"missing in {missing} of {len(batches)} batches."
            )
            raise LoopValueError(msg)
    return {
        key: torch_cat_transf([batch[key] for batch in batches]) for key in sorted(keys, key=str)
    }
