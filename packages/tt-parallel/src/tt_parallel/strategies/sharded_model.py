"""A model whose parameters are sharded over the processes, with its loss and predictions.

FSDP gathers parameters before a module's ``forward`` and frees them after it. A model here computes
its loss in ``get_loss``, which may call any of its parts; so the root of what is sharded is a
module whose forward is whatever is to be computed with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from tt_parallel.strategies.delegation import MODEL_METHODS, Delegating
from tt_parallel.strategies.sharded_units import ShardModules, chosen_units
from tt_parallel.strategies.trees import map_tensors

__all__ = ["TTFullySharded", "root_of", "shard"]

_KEY = "_tt_parallel_root"


class _Computation(nn.Module):
    """The root of what is sharded; its forward computes something with the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.has_run = False

    def forward(self, compute: Callable[[], Any]) -> Any:
        self.has_run = True
        return compute()


class _Root:
    """Kept by each part of a sharded model, which outlives the strategy of one fit."""

    def __init__(self, module: Any = None) -> None:
        self.module = module

    def __deepcopy__(self, _: dict[int, Any]) -> _Root:
        return _Root()  # FSDP cannot copy it

    def __reduce__(self) -> tuple[type[_Root], tuple[()]]:
        return _Root, ()


class TTFullySharded(Delegating):
    """A sharded model, computing with whole parameters that are gathered from all processes.

    Every process must compute at the same time: in calls of the model, in its loss and predictions,
    and in the methods named. Attributes and other methods are the model's own.

    Args:
        module: The model, sharded by `shard`.
        default_model_methods: Further methods of the model that compute with its parameters.

    Raises:
        ParallelValueError: When the model has no such method.
    """

    def __init__(
        self, module: nn.Module, default_model_methods: Sequence[str] = MODEL_METHODS
    ) -> None:
        super().__init__()
        self.module = module
        self.__dict__["root"] = root_of(module)  # not as a submodule: the model is in both
        self.__dict__["units"] = [m for m in self.root.modules() if isinstance(m, FSDPModule)]
        self._stand_for("module", default_model_methods)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self._call("__call__", *inputs, **kwargs)

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's loss; its backward pass averages the gradients over the processes."""
        return self._call("get_loss", batch_data, criterion, device)

    def get_loss_eval(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's own."""
        return self._call("get_loss_eval", batch_data, criterion, device)

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        """The model's own."""
        return self._call("get_predictions", batch_data, device)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        result = self.root(partial(getattr(self.module, method), *args, **kwargs))
        if not torch.is_grad_enabled():  # no backward pass will free the parameters
            for unit in self.units:
                unit.reshard()
        return result

    def keep_gradients(self, keep: bool) -> None:
        """Whether the next backward passes leave their gradients in this process."""
        self.root.set_requires_gradient_sync(not keep)
        self.root.set_is_last_backward(not keep)

    def start_afresh(self) -> None:
        """Forget a forward or backward pass that was cut short."""
        reset = getattr(self.root, "reset_iter_state", None)  # since PyTorch 2.13
        if reset is not None and self.root.has_run:
            reset()
        for unit in self.units:
            _forget_kept_gradients(unit)
        self.keep_gradients(False)


def root_of(model: nn.Module) -> Any:
    """The root of what is sharded, if a model is."""
    kept = (vars(part)[_KEY].module for part in model.modules() if _KEY in vars(part))
    return next(kept, None)


def shard(
    model: nn.Module,
    device: torch.device,
    mesh: DeviceMesh,
    shard_modules: ShardModules | None,
    options: Mapping[str, Any],
) -> None:
    """Give every process its part of rank 0's parameters, in place.

    Only one unit at a time is whole on the device.

    Args:
        model: The model, whole and of the same parameters in each process.
        device: This process's device.
        mesh: The processes that share the parameters.
        shard_modules: What is sharded as units of their own, see `chosen_units`.
        options: Options of `torch.distributed.fsdp.fully_shard`.
    """
    root = _Computation(model)
    policy = options.get("mp_policy")
    for unit in (*chosen_units(root.model, shard_modules), root):
        _take_over(unit, device)
        if unit is root and policy is not None:
            _cast_inputs(root, policy)
        fully_shard(unit, mesh=mesh, **options)
    for part in model.modules():
        vars(part)[_KEY] = _Root(root)


@torch.no_grad()
def _take_over(unit: nn.Module, device: torch.device) -> None:
    """Move what is not sharded yet to the device, with the values of rank 0."""
    for tensor in (*unit.parameters(), *unit.buffers()):
        if not isinstance(tensor, DTensor):
            tensor.data = tensor.to(device)
            values = tensor.data.contiguous()  # NCCL sends no others
            dist.broadcast(values, 0)
            tensor.data.copy_(values)


def _forget_kept_gradients(unit: Any) -> None:
    """Drop what `TTFullySharded.keep_gradients` kept: no ``zero_grad`` reaches it."""
    state = unit._get_fsdp_state()  # FSDP has no public way
    groups = getattr(state, "_fsdp_param_groups", None)
    if groups is None:  # before PyTorch 2.12 there is one at most
        groups = [group for group in (state._fsdp_param_group,) if group is not None]
    for group in groups:
        for kept in group.fsdp_params:
            kept.unsharded_accumulated_grad = None
            if hasattr(kept, "_unsharded_param"):
                kept._unsharded_param.grad = None


def _cast_inputs(root: nn.Module, policy: MixedPrecisionPolicy) -> None:
    """Cast the inputs of modules whose parameters the root gathers in a lower precision.

    FSDP casts a unit's inputs; those of the root are not the model's, but a computation.
    """
    if policy.param_dtype is None or not policy.cast_forward_inputs:
        return

    def lowered(value: Tensor) -> Tensor:
        return value.to(policy.param_dtype) if value.is_floating_point() else value

    def cast(_: nn.Module, args: Any, kwargs: Any) -> Any:
        return map_tensors(args, lowered), map_tensors(kwargs, lowered)

    for part in root.modules():
        own = list(part.parameters(recurse=False))
        if own and not isinstance(own[0], DTensor):
            part.register_forward_pre_hook(cast, with_kwargs=True)
