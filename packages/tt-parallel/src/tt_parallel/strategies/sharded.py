"""One process per device, parameters, gradients and optimizer states sharded over the processes.

It is PyTorch's ``fully_shard`` (FSDP2). Each process keeps its part of every parameter and gathers
a unit's parameters when its forward or backward pass needs them, so that a model may be larger than
the memory of one device. A hand-written loop is that of `tt_parallel.api.DistributedStrategy`, but
evaluates with the prepared model in all processes at once, as many times in each.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import ParallelStateError, ParallelValueError
from tt_parallel.precision.protocol import Precision
from tt_parallel.strategies.base import Wrapped, check_owned
from tt_parallel.strategies.batch_norm import synchronise
from tt_parallel.strategies.buffers import send_buffers
from tt_parallel.strategies.delegation import MODEL_METHODS
from tt_parallel.strategies.sharded_units import ShardModules
from tt_parallel.strategies.step import Step

if TYPE_CHECKING:
    from tt_parallel.strategies.sharded_model import TTFullySharded

# What imports torch.distributed.fsdp takes half a second; who does not shard need not wait for it.

__all__ = ["ShardedStrategy", "check_sharding"]

_NOT_AVERAGED = (
    "The gradients of a sharded model are averaged in a backward pass: make the last one of a step "
    "inside micro(model, sync=True)."
)


class ShardedStrategy(Wrapped):
    """One process per device, everything sharded over the processes of the default group.

    Args:
        device: This process's device.
        precision: Autocast; half-precision parameters are the matter of ``mp_policy``.
        shard_modules: Parts of the model whose parameters are gathered and freed together:
            classes, their names, or a function that tells of a module whether it is one. By
            default the blocks that the model repeats, if they have a million parameters or more;
            what is in none is gathered for the whole step. All processes must use each of them in
            every batch.
        default_model_methods: Further methods of the model that compute with its parameters.
        mesh: A ``DeviceMesh`` or its shape: ``(8,)`` shards over eight processes, ``(2, 4)`` over
            four, with two replicas. By default all processes.
        sync_batchnorm: Let batch norms take the statistics of all processes' samples.
        **options: Further options of `torch.distributed.fsdp.fully_shard`, such as
            ``reshard_after_forward``, ``mp_policy`` and ``offload_policy``. They count when a
            model is first prepared.

    Raises:
        ParallelValueError: For an option that ``fully_shard`` does not have, or a precision that
            replaces parameters.
    """

    def __init__(
        self,
        device: torch.device,
        precision: Precision | None = None,
        *,
        shard_modules: ShardModules | None = None,
        default_model_methods: Sequence[str] = MODEL_METHODS,
        mesh: DeviceMesh | Sequence[int] | None = None,
        sync_batchnorm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(device, precision)
        check_sharding(self.precision, options)
        self.shard_modules, self.mesh, self.options = shard_modules, mesh, options
        self.default_model_methods = default_model_methods
        self.sync_batchnorm = sync_batchnorm
        self.comm = ProcessGroup()
        self._in_window = self._keeps = self._kept = False

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> TTFullySharded:
        """Shard the model in place, and what the optimizers know of its parameters.

        Every process gets its part of what rank 0 has. The optimizers may have been made before:
        they get the sharded parameters in place of the old ones, and keep their state. A model
        that is sharded stays as it is.

        Raises:
            ParallelValueError: For several optimizers, or one with parameters that are not the
                model's.
        """
        from tt_parallel.strategies.sharded_model import TTFullySharded, root_of, shard
        from tt_parallel.strategies.sharded_state import move_optimizer

        _check_optimizers(model, optimizers)
        names = {parameter: name for name, parameter in model.named_parameters()}
        if self.sync_batchnorm:
            synchronise(model, self.device)
        if root_of(model) is None:
            shard(model, self.device, self._device_mesh(), self.shard_modules, self.options)
            sharded = dict(model.named_parameters())
            new = {old: sharded[name] for old, name in names.items()}
            for optimizer in optimizers:
                move_optimizer(optimizer, new, self.comm)
        self.precision.prepare(model, optimizers)
        prepared = TTFullySharded(model, self.default_model_methods)
        prepared.start_afresh()
        self._in_window = self._keeps = self._kept = False
        return prepared

    def _device_mesh(self) -> DeviceMesh:
        if isinstance(self.mesh, DeviceMesh):
            return self.mesh
        shape = (self.comm.world_size,) if self.mesh is None else tuple(self.mesh)
        names = ("replicas", "shards")[-len(shape) :]
        return init_device_mesh(self.device.type, shape, mesh_dim_names=names)

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:
        """Without ``sync`` the gradients stay in this process until a later backward pass."""
        return nullcontext() if sync else self._keeping_gradients(model)

    @contextmanager
    def _keeping_gradients(self, model: Any) -> Iterator[None]:
        model.keep_gradients(True)
        self._in_window = self._keeps = True
        try:
            yield
        finally:
            model.keep_gradients(False)
            self._keeps = False

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the loss's gradients; options are those of `torch.Tensor.backward`.

        Raises:
            ParallelValueError: For ``inputs``: the graph has gathered parameters in their place.
        """
        if options.get("inputs") is not None:
            msg = "A sharded model has gradients of one loss of all parameters; got inputs=."
            raise ParallelValueError(msg)
        super().backward(loss, **options)
        self._kept = self._keeps

    def reduce_gradients(self, optimizer: Optimizer, /) -> None:  # noqa: ARG002  # of none
        """Not possible: gradients that `micro` keeps are not with the optimizer's parameters.

        Raises:
            ParallelStateError: Always.
        """
        raise ParallelStateError(_NOT_AVERAGED)

    def apply(self, optimizer: Optimizer, /, **options: Any) -> Step:
        """See `apply_step`; the norm is that of the whole gradients, the same in every process."""
        skipped, norm = super().apply(optimizer, **options)
        return Step(_plain(skipped), _plain(norm))

    def _check_averaged(self, optimizer: Optimizer) -> None:  # noqa: ARG002  # there is one
        if self._kept:
            raise ParallelStateError(_NOT_AVERAGED)

    def _stepped(self) -> None:
        self._in_window = False

    def evaluable(self, model: nn.Module, /) -> nn.Module:
        """The prepared model: its forward needs all processes, with rank 0's batch statistics."""
        norms = (part for part in model.modules() if isinstance(part, _BatchNorm))
        send_buffers(buffer for norm in norms for buffer in norm.buffers(recurse=False))
        return model

    def eval_rounds(self, batches: int, /) -> int:
        """As many forward passes as the process with most batches makes; all must ask."""
        return int(self.comm.all_reduce(torch.tensor(batches, device=self.device), "max"))

    def state_dict(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> dict[str, Any]:
        """The whole state by parameter name, as the other strategies have it.

        All processes must call it. Tensors are on the CPU, in the first process and in the first
        of each node; the others have the groups of the optimizers and the precision only.

        Raises:
            ParallelStateError: Between batches whose gradients make one step.
        """
        from tt_parallel.strategies.sharded_state import whole_model, whole_optimizer

        if self._in_window:
            msg = (
                "Between the batches of one step each process has gradients that no state can "
                "hold: take the state of a sharded model after an update."
            )
            raise ParallelStateError(msg)
        keep = self.comm.rank == 0 or os.environ.get("LOCAL_RANK") == "0"
        return {
            "model": whole_model(model, keep=keep),
            "optimizers": [whole_optimizer(model, each, keep=keep) for each in optimizers],
            "precision": self.precision.state_dict(),
        }

    def load_state_dict(
        self, model: nn.Module, optimizers: Sequence[Optimizer], state: Mapping[str, Any], /
    ) -> None:
        """Load the parts that the state has; of model and optimizers, rank 0's counts.

        Raises:
            ParallelValueError: When it is the state of another model.
        """
        from tt_parallel.strategies.sharded_state import load_model, load_optimizer

        if "model" in state:
            load_model(model, state["model"], self.comm)
        if "optimizers" in state:
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                load_optimizer(model, optimizer, saved, self.comm)
        if "precision" in state:
            self.precision.load_state_dict(state["precision"])


def check_sharding(precision: Precision | None, options: Mapping[str, Any]) -> None:
    """Look whether parameters can be sharded so.

    Raises:
        ParallelValueError: For an option that ``fully_shard`` does not have, or a precision that
            replaces parameters.
    """
    from torch.distributed.fsdp import fully_shard

    known = set(inspect.signature(fully_shard).parameters) - {"module"}
    known |= set(inspect.signature(ShardedStrategy).parameters) - {"device", "precision", "options"}
    unknown = sorted(set(options) - known)
    if unknown:
        msg = f"fsdp knows the options {', '.join(sorted(known))}; got {', '.join(unknown)}."
        raise ParallelValueError(msg)
    if getattr(precision, "swaps_parameters", False):
        msg = (
            "Sharded parameters cannot be replaced by half-precision ones (opt_level O2 or O3): "
            "use autocast (use_amp=True, or opt_level 'O1'), or fsdp's own "
            "mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16)."
        )
        raise ParallelValueError(msg)


def _plain(value: Any) -> Any:
    """A tensor that every process has whole, also where it was a DTensor."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _check_optimizers(model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    if len(optimizers) > 1:
        msg = (
            f"A sharded model trains with one optimizer, got {len(optimizers)}: put the "
            "parameters into groups of one, or use gpu_mode='ddp'."
        )
        raise ParallelValueError(msg)
    check_owned(model, optimizers)
