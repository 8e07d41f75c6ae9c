"""Several losses, several optimizers.

Each loss belongs to one optimizer. In a step all losses are differentiated at the same weights,
each with respect to its own optimizer's parameters only, and then the optimizers step: the
generator's loss of a GAN flows through the discriminator without leaving gradients there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tt_loop.errors import LoopTypeError, LoopValueError
from tt_loop.training.gradients import parameters_of

__all__ = ["MultiLoss", "MultiOptimizer"]


class MultiLoss(MutableMapping[str, Tensor]):
    """Losses by name, as a model's ``get_loss`` may return them.

    A batch may bring only some of the losses: optimizers without one do not step then. So a model
    that returns one loss at a time trains in alternation.

    Args:
        loss_dict: Scalar losses by name.
        loss_optimizer_map: Number of the optimizer that each loss belongs to; several losses may
            share one, which then follows their sum. By default the only optimizer, or with
            several the one in the loss's place.
        retain_graph_until_last: Keep the graph of the forward pass until the last loss is
            differentiated; losses that share nothing can do without.

    Example:
        >>> a, b = torch.ones(2, requires_grad=True).unbind()
        >>> losses = MultiLoss({"reconstruction": a * 2, "prior": b * 3})
        >>> losses.item()
        {'reconstruction': 2.0, 'prior': 3.0}
    """

    def __init__(
        self,
        loss_dict: Mapping[str, Tensor],
        loss_optimizer_map: Mapping[str, int] | None = None,
        retain_graph_until_last: bool = True,
    ) -> None:
        if not loss_dict:
            msg = "MultiLoss needs at least one loss, got none."
            raise LoopValueError(msg)
        for name, loss in loss_dict.items():
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
                msg = f"Each loss of a MultiLoss must be a scalar tensor; {name!r} is {got}."
                raise LoopTypeError(msg)
        if loss_optimizer_map is not None:
            _check_mapped(loss_dict, loss_optimizer_map)
        self.loss_dict = {name: loss.reshape(()) for name, loss in loss_dict.items()}
        self.loss_optimizer_map = None if loss_optimizer_map is None else dict(loss_optimizer_map)
        self.retain_graph_until_last = retain_graph_until_last

    def optimizer_of(self, name: str, optimizers: int) -> int:
        """Number of the optimizer that a loss belongs to, of so many.

        Raises:
            LoopValueError: When there is no such optimizer, or the map has to say which.
        """
        if self.loss_optimizer_map is not None:
            _check_mapped([name], self.loss_optimizer_map)
            number = self.loss_optimizer_map[name]
        else:
            number = 0 if optimizers == 1 else list(self.loss_dict).index(name)
            if 1 < optimizers != len(self.loss_dict):
                msg = (
                    f"{len(self.loss_dict)} losses and {optimizers} optimizers need a "
                    "loss_optimizer_map that says which belongs to which."
                )
                raise LoopValueError(msg)
        if not 0 <= number < optimizers:
            msg = f"The loss {name!r} is of optimizer {number}, but there are {optimizers}."
            raise LoopValueError(msg)
        return number

    def backward(
        self, optimizer_idx: int = 0, iteration: int | None = None, amp_grad_scaler: Any = None
    ) -> None:
        """Differentiate the losses of one optimizer, in a loop written by hand.

        Every parameter that they depend on gets gradients; a `TrainLoop` gives them to those of
        the optimizer only.

        Args:
            optimizer_idx: Number of the optimizer; there are as many as the losses name.
            iteration: For subclasses that alternate; not used here.
            amp_grad_scaler: A ``torch.amp.GradScaler`` that scales the loss.
        """
        del iteration
        count = 1 + max(self.loss_optimizer_map.values()) if self.loss_optimizer_map else len(self)
        by_optimizer = self.by_optimizer(count)
        if optimizer_idx not in by_optimizer:
            return
        loss = by_optimizer[optimizer_idx]
        loss = loss if amp_grad_scaler is None else amp_grad_scaler.scale(loss)
        last = optimizer_idx == max(by_optimizer)
        loss.backward(retain_graph=self.retain_graph_until_last and not last)

    def by_optimizer(self, optimizers: int) -> dict[int, Tensor]:
        """The sum of each optimizer's losses, by its number."""
        sums: dict[int, Tensor] = {}
        for name, loss in self.loss_dict.items():
            number = self.optimizer_of(name, optimizers)
            sums[number] = sums[number] + loss if number in sums else loss
        return sums

    def __getitem__(self, name: str) -> Tensor:
        return self.loss_dict[name]

    def __setitem__(self, name: str, loss: Tensor) -> None:
        self.loss_dict[name] = loss

    def __delitem__(self, name: str) -> None:
        del self.loss_dict[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loss_dict)

    def __len__(self) -> int:
        return len(self.loss_dict)

    def _each(self, change: Callable[[Tensor], Tensor]) -> MultiLoss:
        losses = {name: change(loss) for name, loss in self.loss_dict.items()}
        return type(self)(losses, self.loss_optimizer_map, self.retain_graph_until_last)

    def __truediv__(self, divisor: Any) -> MultiLoss:
        return self._each(lambda loss: loss / divisor)

    def __mul__(self, factor: Any) -> MultiLoss:
        return self._each(lambda loss: loss * factor)

    __rmul__ = __mul__

    def detach(self) -> MultiLoss:
        """The losses without their graphs."""
        return self._each(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> MultiLoss:
        """The losses, moved as by `torch.Tensor.to`."""
        return self._each(lambda loss: loss.to(*args, **kwargs))

    def cpu(self) -> MultiLoss:
        """The losses on the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> MultiLoss:
        """The losses on a CUDA device."""
        return self._each(lambda loss: loss.cuda(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        """Where the losses are."""
        return next(iter(self.loss_dict.values())).device

    def item(self) -> dict[str, float]:
        """The losses as numbers; this waits for an accelerator."""
        return {name: loss.item() for name, loss in self.loss_dict.items()}

    def numpy(self) -> dict[str, Any]:
        """The losses as NumPy arrays."""
        return {name: loss.detach().cpu().numpy() for name, loss in self.loss_dict.items()}

    def get_loss_dict(self) -> dict[str, Tensor]:
        """The losses by name."""
        return self.loss_dict


class MultiOptimizer:
    """Several optimizers, which a `TrainLoop` takes in place of one.

    Args:
        optimizer_list: Optimizers of different parameters.
        every: How often each steps, in updates: ``[1, 5]`` lets the second step in every fifth.
            Where it does not step, its losses are not differentiated.

    Raises:
        LoopTypeError: For anything but optimizers.
        LoopValueError: For a parameter in two of them, or a frequency below 1.
    """

    def __init__(
        self, optimizer_list: Iterable[Optimizer], *, every: Sequence[int] | None = None
    ) -> None:
        self.optimizer_list = list(optimizer_list)
        if not self.optimizer_list:
            msg = "MultiOptimizer needs at least one optimizer, got none."
            raise LoopValueError(msg)
        for optimizer in self.optimizer_list:
            if not isinstance(optimizer, Optimizer):
                got = type(optimizer).__name__
                msg = f"MultiOptimizer needs torch.optim.Optimizers, got {got}."
                raise LoopTypeError(msg)
        self.every = [1] * len(self.optimizer_list) if every is None else list(every)
        if len(self.every) != len(self.optimizer_list) or min(self.every) < 1:
            msg = (
                "every must have a frequency of at least 1 for each of the "
                f"{len(self.optimizer_list)} optimizers, got {every}."
            )
            raise LoopValueError(msg)
        self._check_disjoint()

    def _check_disjoint(self) -> None:
        owners: dict[int, int] = {}
        for number, optimizer in enumerate(self.optimizer_list):
            for parameter in parameters_of(optimizer):
                owner = owners.setdefault(id(parameter), number)
                if owner != number:
                    shape = tuple(parameter.shape)
                    msg = (
                        "A parameter must be in one optimizer only; one of shape "
                        f"{shape} is in optimizers {owner} and {number}."
                    )
                    raise LoopValueError(msg)

    def __len__(self) -> int:
        return len(self.optimizer_list)

    def __getitem__(self, number: int) -> Optimizer:
        return self.optimizer_list[number]

    def __iter__(self) -> Iterator[Optimizer]:
        return iter(self.optimizer_list)

    def is_due(self, number: int, update: int) -> bool:
        """Whether an optimizer steps in an update, counted from 0."""
        return (update + 1) % self.every[number] == 0

    def step(
        self, optimizer_idx: int = 0, iteration: int | None = None, amp_grad_scaler: Any = None
    ) -> None:
        """Step with one optimizer, in a loop written by hand."""
        del iteration
        optimizer = self.optimizer_list[optimizer_idx]
        if amp_grad_scaler is None:
            optimizer.step()
        else:
            amp_grad_scaler.step(optimizer)

    def zero_grad(self, optimizer_idx: int | None = None, iteration: int | None = None) -> None:
        """Forget the gradients of one optimizer, or of all."""
        del iteration
        chosen = self.optimizer_list if optimizer_idx is None else [self[optimizer_idx]]
        for optimizer in chosen:
            optimizer.zero_grad()

    def state_dict(self) -> list[dict[str, Any]]:
        """The optimizers' states in order."""
        return [optimizer.state_dict() for optimizer in self.optimizer_list]

    def load_state_dict(self, state_dict_list: Sequence[Mapping[str, Any]]) -> None:
        """Load the optimizers' states.

        Raises:
            LoopValueError: When there are not as many states as optimizers.
        """
        if len(state_dict_list) != len(self):
            msg = f"There are {len(self)} optimizers, but {len(state_dict_list)} states."
            raise LoopValueError(msg)
        for optimizer, state in zip(self.optimizer_list, state_dict_list, strict=True):
            optimizer.load_state_dict(dict(state))


def _check_mapped(names: Iterable[str], loss_optimizer_map: Mapping[str, int]) -> None:
    missing = sorted(set(names) - set(loss_optimizer_map))
    if missing:
        msg = f"loss_optimizer_map must name the optimizer of every loss; it lacks {missing}."
        raise LoopValueError(msg)
