"""What to do about a step whose gradients are NaN or infinite.

==============  ==============================================================================
``'stop'``      leave the step out and raise `NonFiniteError`
``'skip'``      leave the step out and go on; losses that are not finite do not count
``'rollback'``  go back to the weights and optimizer states of the newest snapshot and go on
==============  ==============================================================================

A step is the whole window of batches whose gradients it adds up: if one of them is bad, all are
left out, and the model's buffers (the statistics of a batch norm) are as before the window. Of
several optimizers each decides for itself; the buffers go back if any step was left out.

A snapshot is a copy on the device, taken after 100 updates without a rollback; a resumed fit begins
with one of its own. More than 5 rollbacks to the same snapshot raise `NonFiniteError`.

Loss scaling for float16 looks for the largest scale by overflows, which are bad steps too: there
only ``'skip'`` is of use.

All processes have the same gradients when they step, so that they decide alike. With a fused
optimizer the step is left out on the device; the decision is then read some steps later, without
waiting. Any other optimizer makes an accelerator wait once a step.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tt_loop.errors import LoopValueError, NonFiniteError
from tt_loop.protocols import Tree
from tt_loop.training.buffers import KeptBuffers
from tt_loop.training.flags import LateFlags
from tt_loop.training.gradients import parameters_of

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop
    from tt_loop.protocols import StepReport

__all__ = ["NonFiniteGuard", "checked_policy"]

_log = logging.getLogger(__name__)

NanPolicy = Literal["stop", "skip", "rollback"]

_POLICIES = ("stop", "skip", "rollback")
_SNAPSHOT_EVERY = 100  # updates
_MOST_ROLLBACKS = 5  # to one snapshot


def checked_policy(policy: Any) -> NanPolicy | None:
    """A policy or ``None``.

    Raises:
        LoopValueError: For anything else.
    """
    if policy is not None and policy not in _POLICIES:
        msg = f"nan_policy must be None or one of {', '.join(_POLICIES)}, got {policy!r}."
        raise LoopValueError(msg)
    return policy  # type: ignore[no-any-return]  # looked at above


class NonFiniteGuard:
    """Watches the updates of one fit.

    Args:
        loop: The loop; it tells where training is.
        model: The bare model.
        policy: What to do.

    Attributes:
        skipped: How many updates were bad.
    """

    def __init__(self, loop: TrainLoop, model: nn.Module, policy: NanPolicy) -> None:
        self.loop, self.policy = loop, policy
        self._modules = [each for each in (model, loop.criterion) if isinstance(each, nn.Module)]
        self._buffers = KeptBuffers(self._modules)  # as they were before the window
        self._buffers.keep()
        self._flags = LateFlags()
        self._rollbacks = 0
        self._snapshot: _Snapshot | None = None
        self._snapshot_due = 0
        self.skipped = 0

    def before_window(self) -> None:
        """Keep what a forward pass changes, and now and then a snapshot."""
        if self._needs_snapshot():
            self.finish()  # the weights of a snapshot must be known to be good
            if self._needs_snapshot():
                self._snapshot = _Snapshot(self.loop, self._modules)
                self._snapshot_due = self.loop.updates_done + _SNAPSHOT_EVERY
                self._rollbacks = 0
        self._buffers.keep()

    def _needs_snapshot(self) -> bool:
        return self.policy == "rollback" and self.loop.updates_done >= self._snapshot_due

    def after_update(self, reports: Sequence[StepReport | None]) -> None:
        """Act on what an update did.

        Raises:
            NonFiniteError: As the policy says, or after too many rollbacks in a row.
        """
        flags = [report.skipped for report in reports if report is not None]
        late = [flag for flag in flags if isinstance(flag, Tensor)]
        known = any(flag for flag in flags if not isinstance(flag, Tensor))
        where = (self.loop.total_iteration_idx, self.loop.iteration)
        if known:
            self._buffers.restore()
            self.finish()  # earlier ones first
            self._act(*where)
        elif late:
            bad = torch.stack([flag.to(late[0].device) for flag in late]).any()
            self._buffers.restore(bad)
            self._flags.add(bad, where)
            self._act_on(self._flags.read())

    def finish(self) -> None:
        """Act on the flags that are still on their way."""
        self._act_on(self._flags.read(behind=0))

    def _act_on(self, flags: Iterable[tuple[bool, tuple[int, int]]]) -> None:
        for bad, where in flags:
            if bad:
                self._act(*where)

    def _act(self, step: int, batch: int) -> None:
        """Do what the policy says about a bad step."""
        self.skipped += 1
        text = (
            f"the gradients of step {step} (batch {batch} of epoch {self.loop.epoch}) are not "
            f"finite; the newest finite loss was {self.loop.newest_finite_loss():g}"
        )
        if self.policy == "stop":
            raise NonFiniteError(f"{text[0].upper()}{text[1:]}.")
        if self.policy == "rollback":
            self._roll_back(text)
        _log.warning("%s: the step was left out (nan_policy=%r)", text, self.policy)

    def _roll_back(self, text: str) -> None:
        if self._snapshot is None or self._rollbacks == _MOST_ROLLBACKS:
            msg = f"{text[0].upper()}{text[1:]}, after {self._rollbacks} rollbacks in a row."
            raise NonFiniteError(msg)
        self._rollbacks += 1
        self.loop.lending.end()
        self._snapshot.restore()
        self._snapshot_due = self.loop.updates_done + _SNAPSHOT_EVERY
        self._flags.clear()  # of steps that are undone

    # The window's part of an exact resume

    def state_dict(self, *, in_window: bool) -> Tree:
        """Flags on their way, and inside a window the buffers that it began with."""
        flags = [[bad, *where] for bad, where in self._flags.values()]
        return {"flags": flags, "buffers": list(self._buffers.kept) if in_window else []}

    def load_state_dict(self, state: Tree) -> None:
        """Go on with the flags and inside the window.

        Raises:
            NonFiniteError: When the saved run was about to raise it.
        """
        self._buffers.load(state["buffers"])
        self._flags.restore([(bad, tuple(where)) for bad, *where in state["flags"]])
        if self.policy == "stop":
            self.finish()


class _Snapshot:
    """Weights, buffers and optimizer states at some moment."""

    def __init__(self, loop: TrainLoop, modules: Sequence[nn.Module]) -> None:
        self._optimizers = loop.optimizers
        found: list[Tensor] = [p for module in modules for p in module.parameters()]
        for optimizer in self._optimizers:
            found.extend(parameters_of(optimizer))
        self._parameters = [*{id(parameter): parameter for parameter in found}.values()]
        self._values = [parameter.detach().clone() for parameter in self._parameters]
        self._buffers = KeptBuffers(modules)
        self._buffers.keep()
        self._states = [copy.deepcopy(each.state_dict()["state"]) for each in self._optimizers]

    def restore(self) -> None:
        """Go back; learning rates stay, because a schedule has gone on since."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters, self._values, strict=True):
                parameter.copy_(value)
        self._buffers.restore()
        for optimizer, state in zip(self._optimizers, self._states, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": copy.deepcopy(state), "param_groups": groups})
