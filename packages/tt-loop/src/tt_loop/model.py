"""Models that say how a batch becomes a loss and predictions.

A `TrainLoop` trains anything that has the three methods of `TTModel`. `as_trainable` gives them to
a `ModelWrap` and to a plain module that comes with a criterion.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tt_loop.data.batches import to_device
from tt_loop.errors import LoopTypeError, LoopValueError

__all__ = [
    "AbstractModelFeedDefinition",
    "ModelWrap",
    "MultiGPUModelWrap",
    "TTBasicModel",
    "TTBasicMultiGPUModel",
    "TTModel",
    "as_trainable",
    "bound_loss",
    "bound_predictions",
]

Criterion = Callable[..., Tensor]


class TTModel(nn.Module, ABC):
    """A module that computes its own loss and predictions from a batch.

    Example:
        >>> class Classifier(TTModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(4, 3)
        ...     def forward(self, x):
        ...         return self.layer(x)
        ...     def get_loss(self, batch_data, criterion, device):
        ...         x, y = batch_data
        ...         return criterion(self(x.to(device)), y.to(device))
        ...     def get_predictions(self, batch_data, device):
        ...         x, y = batch_data
        ...         return self(x.to(device)).argmax(dim=1), y, {}
    """

    @abstractmethod
    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """Compute the training loss of one batch.

        Returns:
            The mean loss as a scalar tensor; or a pair of it and its weight, the number of samples
            or tokens that it is a mean over. Without a weight, the batch size counts.
        """

    def get_loss_eval(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """Compute the loss of one batch for evaluation; by default the training loss."""
        return self.get_loss(batch_data, criterion, device)

    @abstractmethod
    def get_predictions(self, batch_data: Any, device: torch.device) -> tuple[Any, Any, Any]:
        """Predict one batch.

        Returns:
            Predictions, true targets, and a dict of further values of each sample (or ``None``).
        """


class TTBasicModel(TTModel):
    """A model for batches of the form ``(*inputs, target)``: its output goes to the criterion."""

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """Apply the criterion to the model's output and the last element of the batch."""
        *inputs, target = to_device(batch_data, device)
        return criterion(self(*inputs), target)

    def get_predictions(self, batch_data: Any, device: torch.device) -> tuple[Any, Any, Any]:
        """Return the model's output and the last element of the batch."""
        *inputs, target = to_device(batch_data, device)
        return self(*inputs), target, {}


class TTBasicMultiGPUModel(TTBasicModel):
    """A `TTBasicModel` whose ``forward`` computes the loss when it is given a criterion.

    So each device of a DataParallel model computes the loss of its own part. Write
    ``forward(self, *inputs, targets=None, criterion=None)``: the loss with a criterion, else the
    predictions.
    """

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """Have ``forward`` compute the loss; the devices' losses are averaged."""
        *inputs, target = to_device(batch_data, device)
        loss = self(*inputs, targets=target, criterion=criterion)
        return loss.mean() if isinstance(loss, Tensor) and loss.ndim else loss


class MultiGPUModelWrap(TTBasicMultiGPUModel):
    """Any module as a `TTBasicMultiGPUModel`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *input_data: Any, targets: Any = None, criterion: Any = None) -> Any:
        """The criterion's loss, or without a criterion the model's output."""
        output = self.model(*input_data)
        return output if criterion is None else criterion(output, targets)


class AbstractModelFeedDefinition(ABC):
    """The methods of `TTModel` apart from the model: how to feed a module written elsewhere."""

    @abstractmethod
    def get_loss(
        self, model: nn.Module, batch_data: Any, criterion: Any, device: torch.device
    ) -> Any:
        """Compute the training loss of one batch; see `TTModel.get_loss`."""

    def get_loss_eval(
        self, model: nn.Module, batch_data: Any, criterion: Any, device: torch.device
    ) -> Any:
        """Compute the loss of one batch for evaluation; by default the training loss."""
        return self.get_loss(model, batch_data, criterion, device)

    @abstractmethod
    def get_predictions(
        self, model: nn.Module, batch_data: Any, device: torch.device
    ) -> tuple[Any, Any, Any]:
        """Predict one batch; see `TTModel.get_predictions`."""


class ModelWrap:
    """A module and the feed definition that says how to train it."""

    def __init__(self, model: nn.Module, batch_model_feed_def: AbstractModelFeedDefinition) -> None:
        if not isinstance(model, nn.Module):
            msg = f"ModelWrap needs a torch.nn.Module as model, got {type(model).__name__}."
            raise LoopTypeError(msg)
        if not isinstance(batch_model_feed_def, AbstractModelFeedDefinition):
            got = type(batch_model_feed_def).__name__
            msg = f"ModelWrap needs an AbstractModelFeedDefinition, got {got}: subclass it."
            raise LoopTypeError(msg)
        self.model = model
        self.batch_model_feed_def = batch_model_feed_def


class _FedModel(TTModel):
    """A module trained by a feed definition."""

    def __init__(self, wrap: ModelWrap) -> None:
        super().__init__()
        self.model = wrap.model
        self.feed = wrap.batch_model_feed_def

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        return self.feed.get_loss(self.model, batch_data, criterion, device)

    def get_loss_eval(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        return self.feed.get_loss_eval(self.model, batch_data, criterion, device)

    def get_predictions(self, batch_data: Any, device: torch.device) -> tuple[Any, Any, Any]:
        return self.feed.get_predictions(self.model, batch_data, device)


class _PlainModel(TTModel):
    """A plain module whose output goes to the criterion."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        return self.bound_loss(criterion, device)(batch_data)

    def bound_loss(self, criterion: Any, device: torch.device) -> Callable[[Any], Any]:
        """`get_loss` without the lookups that a module makes at every access."""
        model = self.model

        def loss_of(batch: Any) -> Any:
            *inputs, target = to_device(batch, device)
            return criterion(model(*inputs), target)

        return loss_of

    def get_predictions(self, batch_data: Any, device: torch.device) -> tuple[Any, Any, Any]:
        return self.bound_predictions(device)(batch_data)

    def bound_predictions(self, device: torch.device) -> Callable[[Any], tuple[Any, Any, Any]]:
        """`get_predictions` without the lookups that a module makes at every access."""
        model = self.model

        def predictions_of(batch: Any) -> tuple[Any, Any, Any]:
            *inputs, target = to_device(batch, device)
            return model(*inputs), target, None

        return predictions_of


def bound_predictions(model: Any, device: torch.device) -> Callable[[Any], tuple[Any, Any, Any]]:
    """The predictions of a batch, for an evaluation's step."""
    if type(model) is _PlainModel:  # not wrapped for several devices
        return model.bound_predictions(device)
    get_predictions = model.get_predictions
    return lambda batch: get_predictions(batch, device)


def bound_loss(model: Any, criterion: Any, device: torch.device) -> Callable[[Any], Any]:
    """The loss of a batch, for a loop's step."""
    if type(model) is _PlainModel:  # not wrapped for several devices
        return model.bound_loss(criterion, device)
    get_loss = model.get_loss
    return lambda batch: get_loss(batch, criterion, device)


def as_trainable(model: Any, criterion: Criterion | None) -> tuple[nn.Module, nn.Module]:
    """Return the user's module and a module with `TTModel`'s methods that trains it.

    Raises:
        LoopTypeError: When the model is no module and no `ModelWrap`.
        LoopValueError: When a module has no ``get_loss`` and there is no criterion.
    """
    if isinstance(model, ModelWrap):
        return model.model, _FedModel(model)
    if not isinstance(model, nn.Module):
        msg = (
            "The model must be a torch.nn.Module (a TTModel, or any module together with a "
            f"criterion) or a ModelWrap, got {type(model).__name__}."
        )
        raise LoopTypeError(msg)
    if callable(getattr(model, "get_loss", None)):
        return model, model
    if criterion is None:
        msg = (
            f"{type(model).__name__} has no get_loss and there is no criterion: subclass TTModel "
            "and write get_loss and get_predictions, or pass a criterion to the TrainLoop."
        )
        raise LoopValueError(msg)
    return model, _PlainModel(model)
