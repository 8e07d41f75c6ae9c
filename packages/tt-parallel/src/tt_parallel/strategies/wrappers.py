"""Wrapped models whose loss is computed inside the wrapper, so that its gradient hooks fire."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from tt_parallel.errors import ParallelStateError, ParallelValueError, UnusedParameters
from tt_parallel.strategies.delegation import MODEL_METHODS, ByMethod, Delegating

__all__ = ["TTDataParallel", "TTDistributedDataParallel"]


Context = Callable[[], AbstractContextManager[Any]]


class _PerReplica(ByMethod):
    """As `ByMethod`, for a replica that finds out its own device and how much data it has.

    Args:
        model: The model.
        context: Makes the context that every replica, in its own thread, computes in.
    """

    _context: Context
    _criterion: nn.Module | None
    _returned: list[Any]

    def __init__(self, model: nn.Module, context: Context) -> None:
        super().__init__(model)
        self.__dict__.update(_context=context, _criterion=None, _returned=[])  # never the model's

    def begin(self, criterion: nn.Module | None) -> list[Any]:
        """Be ready for a loss; the list will have what each replica's model returned.

        Args:
            criterion: A criterion that is to be on each device, as the model is.
        """
        self._criterion, self._returned = criterion, []
        return self._returned

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with self._context():
            if method != "get_loss":
                return super().forward(method, *args, **kwargs)
            return self._weighted_losses(*args)

    def _weighted_losses(self, batch: Any, criterion: Any) -> tuple[dict[str, Tensor], Tensor]:
        """Each loss times its weight, by name, and the weight: vectors of length 1."""
        data = _first_tensor(batch)
        if data is None:
            msg = "DataParallel shares out tensors along their first dimension; the batch has none."
            raise ParallelValueError(msg)
        criterion = criterion if self._criterion is None else self._criterion
        returned = self.model.get_loss(batch, criterion, data.device)  # type: ignore[operator]  # a module's method
        self._returned.append(returned)
        loss, weight = returned if isinstance(returned, tuple) else (returned, data.shape[0])
        losses = {name: _exact(value) for name, value in _by_name(loss).items()}
        weight = torch.as_tensor(weight, dtype=torch.float64, device=data.device)
        weight = weight.detach().reshape(1)
        return {name: value * weight.to(value) for name, value in losses.items()}, weight


class TTDataParallel(Delegating, DataParallel[_PerReplica]):
    """`torch.nn.DataParallel` for models with ``get_loss``: each device computes its part's loss.

    Attributes and methods of the model are reached, and set, through the wrapper, but for those of
    PyTorch's wrapper itself (``device``, ``module``).

    Args:
        module: The model.
        default_model_methods: Further methods of the model that are computed on all devices.
        add_model_attributes: Not needed; AIToolbox copied these attributes of the model.
        context: Makes the context in which each device, in a thread of its own, computes.
        **kwargs: Options of `torch.nn.DataParallel`, such as ``device_ids``.

    Raises:
        ParallelValueError: When the model has no such method or attribute.
    """

    def __init__(
        self,
        module: nn.Module,
        default_model_methods: Sequence[str] = MODEL_METHODS,
        *,
        add_model_attributes: Sequence[str] | None = None,
        context: Context = nullcontext,
        **kwargs: Any,
    ) -> None:
        super().__init__(_PerReplica(module, context), **kwargs)
        self._stand_for("module", [*default_model_methods, *(add_model_attributes or ())])

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the model, on all devices."""
        return self._call("__call__", *inputs, **kwargs)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return super().forward(method, *args, **kwargs)

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """What the model returns, for the whole batch: means over the parts' weights.

        A part weighs as much as the model says, else as it has samples.
        """
        parts = self.module
        if len(self.device_ids) < 2:
            return parts.model.get_loss(batch_data, criterion, device)  # type: ignore[operator]  # a module's method
        is_module = isinstance(criterion, nn.Module)
        returned = parts.begin(criterion if is_module else None)
        try:
            totals, weights = self._call("get_loss", batch_data, None if is_module else criterion)
        finally:
            parts.begin(None)
        weight = weights.sum()
        return _of_form(returned[0], {k: v.sum() / weight.to(v) for k, v in totals.items()}, weight)

    def get_loss_eval(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's own."""
        return self.module.model.get_loss_eval(batch_data, criterion, device)  # type: ignore[operator]  # a module's method

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        """The model's own."""
        return self.module.model.get_predictions(batch_data, device)  # type: ignore[operator]  # a module's method


class _Found(NamedTuple):
    """Losses where PyTorch's wrapper finds them, and what the model returned."""

    losses: dict[str, Tensor]
    returned: Any


class _Findable(ByMethod):
    """As `ByMethod`, for a wrapper that looks for tensors in dicts, and in no other mapping."""

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        returned = super().forward(method, *args, **kwargs)
        loss = returned[0] if isinstance(returned, tuple) and returned else returned
        if isinstance(loss, Tensor) or type(loss) is dict or not isinstance(loss, Mapping):
            return returned
        return _Found(dict(loss), returned)


class TTDistributedDataParallel(Delegating, DistributedDataParallel):
    """`DistributedDataParallel` for models with ``get_loss``.

    Attributes and methods of the model are reached, and set, through the wrapper, but for those of
    PyTorch's wrapper itself (``device``, ``module``). Gradients are averaged of what is computed by
    calling the wrapper, by ``get_loss`` and by the methods named.

    Args:
        module: The model, on its device.
        default_model_methods: Further methods of the model whose gradients are averaged.
        add_model_attributes: Not needed; AIToolbox copied these attributes of the model.
        **kwargs: Options of `torch.nn.parallel.DistributedDataParallel`.

    Raises:
        ParallelValueError: When the model has no such method or attribute.
    """

    def __init__(
        self,
        module: nn.Module,
        default_model_methods: Sequence[str] = MODEL_METHODS,
        *,
        add_model_attributes: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        by_method = _Findable(module)
        super().__init__(by_method, **kwargs)
        self._reduced = [
            name.removeprefix("model.")
            for name, parameter in by_method.named_parameters()
            if parameter.requires_grad and name not in self.parameters_to_ignore
        ]
        self._will_average = False  # the next backward pass, for it has seen the forward pass
        self._stand_for("module", [*default_model_methods, *(add_model_attributes or ())])

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the model and prepare the gradients' reduction."""
        return self._call("__call__", *inputs, **kwargs)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            returned = super().forward(method, *args, **kwargs)  # type: ignore[no-untyped-call]  # torch's own
        except RuntimeError as error:
            self._explain(error)
            raise
        if torch.is_grad_enabled() and self.require_backward_grad_sync:
            self._will_average = True
        return returned

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's loss; its backward pass averages the gradients over the processes."""
        returned = self._call("get_loss", batch_data, criterion, device)
        if not isinstance(returned, _Found):
            return returned
        losses, whole = returned
        return _of_form(whole, losses, whole[1] if isinstance(whole, tuple) else None)

    def get_loss_eval(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's own, without communication."""
        return self.module.model.get_loss_eval(batch_data, criterion, device)

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        """The model's own, without communication."""
        return self.module.model.get_predictions(batch_data, device)

    def check_reduced(self) -> None:
        """Check that the backward pass just made has averaged all gradients.

        Raises:
            ParallelStateError: When the loss was not computed by the wrapper, which did not see it.
            UnusedParameters: When parameters took no part in the loss; PyTorch itself complains
                in the next forward pass, when a step has been made.
        """
        if self._delay_all_reduce_all_params:
            return
        will_average, self._will_average = self._will_average, False
        if not will_average:
            msg = (
                "Gradients are averaged of a loss that the prepared model computes, inside micro("
                "model, sync=True): by a call, by get_loss, or by a method that is named in "
                "ddp_model_args={'default_model_methods': [...]}. This one was computed otherwise."
            )
            raise ParallelStateError(msg)
        try:
            self._check_reducer_finalized()  # type: ignore[no-untyped-call]  # torch's own
        except RuntimeError as error:
            self._explain(error)
            raise

    def _explain(self, error: RuntimeError) -> None:
        """Raise the error that names the parameters, if it is about unused ones."""
        if self.find_unused_parameters or "Expected to have finished reduction" not in str(error):
            return
        found = re.search(r"did not receive grad for rank (\d+): ([\d ]+)", str(error))
        if found is not None:
            names = [repr(self._reduced[int(number)]) for number in found[2].split()]
            shown = ", ".join(names[:10]) + (f" and {n} more" if (n := len(names) - 10) > 0 else "")
            msg = (
                "Every parameter must take part in the loss, for the processes average its "
                f"gradient; in process {found[1]} these did not: {shown}. Where that is meant, "
                "pass ddp_model_args={'find_unused_parameters': True}; to train without them, "
                "call requires_grad_(False) on them before."
            )
            raise UnusedParameters(msg) from error


def _first_tensor(batch: Any) -> Tensor | None:
    """The first tensor of a nested batch that has a dimension."""
    if isinstance(batch, Tensor):
        return batch if batch.ndim else None
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, list | tuple):
        return None
    return next((found for item in batch if (found := _first_tensor(item)) is not None), None)


def _by_name(loss: Any) -> Mapping[str, Tensor]:
    """One loss or several as several."""
    losses = loss if isinstance(loss, Mapping) else {"": loss}
    if not all(isinstance(value, Tensor) and value.numel() == 1 for value in losses.values()):
        msg = (
            "get_loss must return a scalar tensor or several by name, or a pair of one of them and "
            f"its weight, got {type(loss).__name__}."
        )
        raise ParallelValueError(msg)
    return losses


def _exact(loss: Tensor) -> Tensor:
    """A loss as vector, in a type in which its product with a weight is exact enough."""
    return loss.reshape(1).to(torch.promote_types(loss.dtype, torch.float32))


def _of_form(returned: Any, losses: dict[str, Tensor], weight: Tensor | None) -> Any:
    """Losses, and their weight, in the form in which a model returned others."""
    form = returned[0] if isinstance(returned, tuple) else returned
    if isinstance(form, Mapping):
        whole: Any = form  # nobody else has it
        for name, loss in losses.items():
            whole[name] = loss
    else:
        whole = losses[""]
    return (whole, weight) if isinstance(returned, tuple) else whole
