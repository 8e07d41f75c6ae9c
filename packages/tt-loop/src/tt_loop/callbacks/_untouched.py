"""Trying a loop out: train its model for a few steps and leave no trace."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_loop.callbacks.gradient import GradValueClip
from tt_loop.checks import required
from tt_loop.data.torch_loader import kept_generators
from tt_loop.errors import LoopStateError
from tt_loop.plugins import find_strategy, make_launcher
from tt_loop.protocols import Launcher, Strategy
from tt_loop.rng import preserved_rng

if TYPE_CHECKING:
    from tt_loop.callbacks.base import Callback
    from tt_loop.loop import TrainLoop

__all__ = ["check_can_be_tried", "trial", "untouched"]

Restore = Callable[[], None]


def check_can_be_tried(loop: TrainLoop, who: str) -> None:
    """Look whether a loop can train in this process and is not at it.

    Raises:
        LoopStateError: When a fit is under way, or would run in several processes.
        LoopValueError: When the loop has no training loader or no optimizer.
    """
    required(loop.train_loader, "a train_loader", who)
    required(loop.optimizer, "an optimizer", who)
    if loop.fit_under_way is not None:
        msg = f"{who} tries a loop that is not training, but a fit is under way: call it before."
        raise LoopStateError(msg)
    if not _trains_here_alone(loop):
        msg = (
            f"{who} tries the loop in one process, but gpu_mode={loop.gpu_mode!r} uses several: "
            "build a TrainLoop with gpu_mode='single' for it."
        )
        raise LoopStateError(msg)


def _trains_here_alone(loop: TrainLoop) -> bool:
    try:
        launcher = _launcher(loop)
    except ValueError:  # it asks how many processes to start
        return False
    return launcher.in_process and _strategy(launcher).comm.world_size == 1


def _launcher(loop: TrainLoop) -> Launcher:
    return make_launcher(
        find_strategy(loop.gpu_mode),
        loop.gpu_mode,
        device=loop.device,
        precision=loop.precision,
        options={},
    )


def _strategy(launcher: Launcher) -> Strategy:
    return launcher.run(lambda strategy: strategy)[0]


def trial(loop: TrainLoop, loader: Any, num_iterations: int, callbacks: Sequence[Callback]) -> None:
    """Train the loop's model, as its own ``fit`` would, in a loop of its own.

    History, counters, callbacks and recorder of the loop are not involved, but for the bounds of
    gradients; what else the two share is put back by `untouched`.
    """
    from tt_loop.loop import TrainLoop  # it imports the callbacks

    bounds = [copy.copy(each) for each in loop.callbacks if isinstance(each, GradValueClip)]
    other = TrainLoop(
        loop.trainable,
        loader,
        None,
        None,
        loop.optimizer,
        loop.criterion,
        end_auto_eval=False,
        gpu_mode=loop.gpu_mode,
        use_amp=loop.use_amp,
        seed=loop.seed,
        progress=False,
    )
    other.device = loop.device
    other.max_grad_norm = loop.max_grad_norm
    other.fit(num_iterations=num_iterations, callbacks=[*bounds, *callbacks])


@contextmanager
def untouched(loop: TrainLoop) -> Iterator[None]:
    """Put back afterwards, bit for bit, what training in between has changed.

    Parameters, buffers, gradients, modes, the optimizers' states and settings, the precision's
    state, random states and the generators of the training loader. The copies are kept on the CPU,
    so that they take no memory of an accelerator.
    """
    loop.ready()  # moves the model to its device, as any fit would
    modules = [loop.trainable]
    if isinstance(loop.criterion, nn.Module):
        modules.append(loop.criterion)
    restores = [_module_state(module) for module in modules]
    restores += [_optimizer_state(optimizer) for optimizer in loop.optimizers]
    strategies = (loop.ready()[0], _strategy(_launcher(loop)))
    restores += [_precision_state(strategy, loop.model) for strategy in strategies]
    device = strategies[0].device
    with preserved_rng(device), kept_generators(loop.train_loader), ExitStack() as stack:
        for restore in restores:
            stack.callback(restore)
        yield


def _tensor(tensor: Tensor) -> Restore:
    kept = tensor.detach().to("cpu", copy=True)

    def restore() -> None:
        with torch.no_grad():
            tensor.copy_(kept)

    return restore


def _module_state(module: nn.Module) -> Restore:
    """Contents of parameters and buffers, gradients as they are, modes."""
    tensors = [_tensor(value) for value in (*module.parameters(), *module.buffers())]
    buffers = [(part, dict(part._buffers)) for part in module.modules()]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    modes = [(part, part.training) for part in module.modules()]
    for parameter, _ in gradients:
        parameter.grad = None

    def restore() -> None:
        for part, named in buffers:
            part._buffers.update(named)  # a buffer may have been replaced by another
        for put_back in tensors:
            put_back()
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for part, training in modes:
            part.training = training

    return restore


def _optimizer_state(optimizer: Optimizer) -> Restore:
    """State and settings; not by ``load_state_dict``, which casts the state to other dtypes."""
    groups = [
        {name: copy.deepcopy(value) for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    entries = {parameter: dict(values) for parameter, values in optimizer.state.items()}
    flat = [value for values in entries.values() for value in values.values()]
    tensors = [_tensor(value) for value in flat if isinstance(value, Tensor)]

    def restore() -> None:
        optimizer.state.clear()
        optimizer.state.update(entries)
        for put_back in tensors:
            put_back()
        for group, kept in zip(optimizer.param_groups, groups, strict=True):
            group.update(kept)

    return restore


def _precision_state(strategy: Strategy, model: nn.Module) -> Restore:
    kept = copy.deepcopy(strategy.state_dict(model, [])["precision"])
    return lambda: strategy.load_state_dict(model, [], {"precision": kept})
