"""What to do about a step whose gradients are NaN or infinite.

==============  ==============================================================================
``'stop'``      leave the step out and raise `NonFiniteError`
``'skip'``      leave the step out and go on; losses that are not finite do not count
``'rollback'``  go back to the weights and optimizer states of the newest snapshot and go on
==============  ==============================================================================

All processes have the same gradients when they step, so that they decide alike. With a fused
optimizer the step is left out on the device; the decision is then read some steps later, without
waiting. Any other optimizer makes an accelerator wait once a step.
"""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tt_loop.errors import LoopValueError, NonFiniteError

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop
    from tt_loop.protocols import StepReport

__all__ = ["NonFiniteGuard", "checked_policy"]

_log = logging.getLogger(__name__)

NanPolicy = Literal["stop", "skip", "rollback"]

_POLICIES = ("stop", "skip", "rollback")
_LAG = 2  # steps until a flag on an accelerator is read: by then it has long been computed
_SNAPSHOT_EVERY = 100  # updates
_MOST_ROLLBACKS = 5  # in a row, from one snapshot


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
    """

    def __init__(self, loop: TrainLoop, model: nn.Module, policy: NanPolicy) -> None:
        self.loop, self.policy = loop, policy
        self._buffers = [b for b in model.buffers() if b.is_floating_point()]
        self._kept = [buffer.clone() for buffer in self._buffers]
        self._tensors = [*model.parameters(), *model.buffers()]
        self._flags: deque[tuple[Tensor, int, int]] = deque()
        self._rollbacks = 0
        self._snapshot_due = 0
        self._snapshot: tuple[list[Tensor], list[Any]] | None = None
        self.skipped = 0

    def before_window(self) -> None:
        """Keep what a forward pass changes (the statistics of a batch norm)."""
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)
        if self.policy == "rollback" and self.loop.updates_done >= self._snapshot_due:
            self._take_snapshot()

    def after_update(self, reports: Sequence[StepReport | None]) -> None:
        """Act on what an update did.

        Raises:
            NonFiniteError: As the policy says, or after too many rollbacks in a row.
        """
        flags = [report.skipped for report in reports if report is not None]
        tensors = [flag for flag in flags if isinstance(flag, Tensor)]
        where = (self.loop.total_iteration_idx, self.loop.iteration)
        if tensors:
            bad = torch.stack(tensors).any()
            self._keep_buffers(bad)
            self._flags.append((bad.to("cpu", non_blocking=True), *where))
            if len(self._flags) > _LAG:
                flag, *where_then = self._flags.popleft()
                self._decide(bool(flag), *where_then)
        else:
            if any(flags):
                self._keep_buffers(torch.tensor(True))
            self._decide(any(flags), *where)

    def finish(self) -> None:
        """Act on the flags that are still on their way."""
        while self._flags:
            flag, *where = self._flags.popleft()
            self._decide(bool(flag), *where)

    def _keep_buffers(self, bad: Tensor) -> None:
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            torch.where(bad.to(buffer.device), kept, buffer, out=buffer)

    def _decide(self, bad: bool, step: int, batch: int) -> None:
        if not bad:
            self._rollbacks = 0
            return
        self.skipped += 1
        text = (
            f"the gradients of step {step} (batch {batch} of epoch {self.loop.epoch}) are not "
            f"finite; the newest finite loss was {self.loop.newest_finite_loss()}"
        )
        if self.policy == "stop":
            raise NonFiniteError(f"{text[0].upper()}{text[1:]}.")
        if self.policy == "rollback":
            self._roll_back(text)
        _log.warning("%s: the step was left out (nan_policy=%r)", text, self.policy)

    def _take_snapshot(self) -> None:
        if self._flags:  # nobody knows yet whether the last steps were good
            return
        states = [optimizer.state_dict()["state"] for optimizer in self.loop.optimizers]
        tensors = [tensor.detach().clone() for tensor in self._tensors]
        self._snapshot = tensors, copy.deepcopy(states)
        self._snapshot_due = self.loop.updates_done + _SNAPSHOT_EVERY
        self._rollbacks = 0

    def _roll_back(self, text: str) -> None:
        self._rollbacks += 1
        if self._snapshot is None or self._rollbacks > _MOST_ROLLBACKS:
            msg = f"{text[0].upper()}{text[1:]}, after {self._rollbacks - 1} rollbacks in a row."
            raise NonFiniteError(msg)
        tensors, states = self._snapshot
        with torch.no_grad():
            for tensor, kept in zip(self._tensors, tensors, strict=True):
                tensor.copy_(kept)
        for optimizer, state in zip(self.loop.optimizers, states, strict=True):
            groups = optimizer.state_dict()["param_groups"]  # a schedule has gone on since
            optimizer.load_state_dict({"state": copy.deepcopy(state), "param_groups": groups})
        self._flags.clear()
