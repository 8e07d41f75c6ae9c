"""Batch norm over the whole batch of all processes.

On CUDA the layers become `torch.nn.SyncBatchNorm`, which takes no CPU tensors; elsewhere they
become a `SyncBatchNorm` of this module. A layer stays the same object, with its parameters,
buffers, names and hooks, and only its class changes: whoever holds it need not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from tt_parallel.errors import ParallelValueError

__all__ = ["SyncBatchNorm", "idle", "synchronise", "unsynchronise"]

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronise(model: nn.Module, device: torch.device) -> None:
    """Let the batch norms of a model take the statistics of all processes when they train.

    Raises:
        ParallelValueError: For a batch norm with a forward of its own.
    """
    kind = nn.SyncBatchNorm if device.type == "cuda" else SyncBatchNorm
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, kind):
            continue
        if type(module) not in (*_PLAIN, nn.SyncBatchNorm, SyncBatchNorm):
            msg = (
                f"sync_batchnorm knows PyTorch's BatchNorm1d, 2d and 3d, and {name!r} is a "
                f"{type(module).__name__}: make it one of them, or leave sync_batchnorm out."
            )
            raise ParallelValueError(msg)
        module.__dict__.setdefault("_plain_class", type(module))
        module.__dict__.setdefault("process_group", None)  # which torch's class has
        module.__class__ = kind


def unsynchronise(model: nn.Module) -> None:
    """Give the batch norms of a model the classes back that they had before `synchronise`."""
    for module in model.modules():
        plain = module.__dict__.pop("_plain_class", None)
        if plain is not None:
            module.__class__ = plain
            if plain is not nn.SyncBatchNorm:
                del module.process_group


@contextmanager
def idle(model: nn.Module) -> Iterator[None]:
    """Let a forward pass take part in what the batch norms compute together, and add nothing."""
    norms = [
        module
        for module in model.modules()
        if isinstance(module, SyncBatchNorm | nn.SyncBatchNorm) and module.training
    ]
    for norm in norms:
        vars(norm)["forward"] = partial(_forward_of_none, norm)
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"]


def _forward_of_none(norm: _BatchNorm, values: Tensor) -> Tensor:
    """The layer's forward pass of no samples; these are normalised by the running statistics."""
    of_none = type(norm).forward(norm, values[:0])
    known = (norm.running_mean, norm.running_var)
    batch_norm = nn.functional.batch_norm
    scaled = batch_norm(
        values, *known, norm.weight, norm.bias, training=None in known, eps=norm.eps
    )
    return scaled + of_none.sum()  # of nothing: its backward pass is made for the others


class SyncBatchNorm(_BatchNorm):
    """A batch norm whose statistics, in training, are those of the samples of all processes.

    As `torch.nn.SyncBatchNorm`, on any device; processes may have any number of samples, even none.
    Without other processes, and in evaluation, it is an ordinary batch norm. It is made of one by
    `synchronise`.
    """

    _plain_class: type[_BatchNorm]

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  # torch's own name
        self._plain_class._check_input_dim(self, input)  # type: ignore[no-untyped-call]  # torch's own

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        """Normalise; while training, every process must do it."""
        alone = not dist.is_initialized() or dist.get_world_size() == 1
        if alone or not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        output, mean, squares, count = _Normalise.apply(input, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]  # torch's own
        if self.track_running_stats:
            self._track(mean, squares / (count - 1))
        result: Tensor = output
        return result

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None  # noqa: S101  # it tracks them
        assert self.running_var is not None  # noqa: S101  # and this
        assert self.num_batches_tracked is not None  # noqa: S101  # and this
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


class _Normalise(torch.autograd.Function):
    """Input, weight, bias, eps -> output, mean, sum of squares about it, and number of values."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = values.to(torch.promote_types(values.dtype, torch.float32))
        mean, squares, count = _moments(exact)
        scale = (squares / count + eps).rsqrt()
        normal = (exact - _along(mean, values)) * _along(scale, values)
        output = normal if weight is None else normal * _along(weight, values)
        output = output if bias is None else output + _along(bias, values)
        ctx.save_for_backward(normal, weight, scale, count)
        ctx.bias_type = None if bias is None else bias.dtype
        ctx.mark_non_differentiable(mean, squares, count)
        return output.to(values.dtype), mean, squares, count

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor, *_: Any
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        normal, weight, scale, count = ctx.saved_tensors
        exact = gradient.to(normal.dtype)
        dims = _all_but_channels(exact)
        own = torch.stack([exact.sum(dims), (exact * normal).sum(dims)])
        to_input = None
        if ctx.needs_input_grad[0]:
            total = own.clone()
            dist.all_reduce(total)
            means = total / count
            centred = exact - _along(means[0], exact) - normal * _along(means[1], exact)
            factor = scale if weight is None else scale * weight
            to_input = (centred * _along(factor, exact)).to(gradient.dtype)
        to_weight = None if weight is None else own[1].to(weight.dtype)
        to_bias = None if ctx.bias_type is None else own[0].to(ctx.bias_type)
        return to_input, to_weight, to_bias, None


def _moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, sum of squares about it and number of values of each channel, over all processes.

    One message of each process's own; combined as Chan et al. (1979) do, without cancellation.
    """
    dims, channels = _all_but_channels(values), values.shape[1]
    own_count = values.numel() // max(channels, 1)
    mean = values.sum(dims) / max(own_count, 1)
    squares = (values - _along(mean, values)).square().sum(dims)
    own = torch.cat([mean, squares, mean.new_full((1,), own_count)])
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, own)
    means, all_squares, counts = torch.stack(gathered).split_with_sizes([channels, channels, 1], 1)
    count = counts.sum()
    if count <= 1:
        msg = "Batch norm in training needs more than one value per channel in all processes."
        raise ParallelValueError(msg)
    mean = (means * counts).sum(0) / count
    between = (counts * (means - mean).square()).sum(0)
    return mean, all_squares.sum(0) + between, count


def _all_but_channels(values: Tensor) -> list[int]:
    return [dim for dim in range(values.ndim) if dim != 1]


def _along(channels: Tensor, values: Tensor) -> Tensor:
    """Numbers of channels in the shape that spreads them over values."""
    return channels.view(1, -1, *[1] * (values.ndim - 2))
