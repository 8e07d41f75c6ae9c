"""Which parameters have gradients that cannot be right."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree
from tt_loop.training.gradients import parameters_of
from tt_loop.training.sharded import own_part
from tt_loop.training.state import parameter_names

__all__ = ["GradientAnomalyReport", "GradientReport"]

_log = logging.getLogger(__name__)

_MOST_NAMES = 10  # of a kind, in the log


@dataclass(frozen=True)
class GradientReport:
    """What one look at an optimizer's gradients found, by parameter name.

    Attributes:
        update: Number of the optimizer update, from 0.
        optimizer_idx: Number of the optimizer.
        missing: Parameters without a gradient: the loss does not depend on them.
        non_finite: Parameters with NaN or infinite elements in their gradients.
        vanishing: Norms of gradients that are too small.
        exploding: Norms of gradients that are too large.
    """

    update: int
    optimizer_idx: int
    missing: list[str] = field(default_factory=list)
    non_finite: list[str] = field(default_factory=list)
    vanishing: dict[str, float] = field(default_factory=dict)
    exploding: dict[str, float] = field(default_factory=dict)

    def names(self) -> dict[str, list[str]]:
        """The parameters by kind of anomaly; kinds without any are left out."""
        kinds: dict[str, Iterable[str]] = {
            "missing": self.missing,
            "non-finite": self.non_finite,
            "vanishing": self.vanishing,
            "exploding": self.exploding,
        }
        return {kind: list(names) for kind, names in kinds.items() if names}


class GradientAnomalyReport(Callback):
    """Look at every n-th update for gradients that are missing, not finite, tiny or huge.

    It looks at gradients of their true size, before they are clipped. A look waits for the
    accelerator: the norms of all parameters come over in one copy. Updates in between cost nothing
    but a comparison. What is found is logged as a warning when other parameters are concerned than
    at the look before.

    Args:
        every: Look at the first and then at every so many updates.
        vanishing: A gradient whose 2-norm is below this is tiny; one of zeros always is, unless
            this is 0.
        exploding: A gradient whose 2-norm is above this is huge.
        max_reports: How many reports are kept, the newest ones.

    Raises:
        LoopValueError: For a setting that cannot work.

    Attributes:
        reports: What looks have found; a look that found nothing leaves none.

    Example:
        >>> from torch import nn
        >>> from tt_loop.api import TrainLoop
        >>> class Model(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.used, self.forgotten = nn.Linear(2, 1), nn.Linear(2, 1)
        ...     def forward(self, x):
        ...         return self.used(x)
        >>> model, batches = Model(), [[torch.ones(4, 2), torch.ones(4, 1)]]
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
        >>> report = GradientAnomalyReport()
        >>> _ = loop.fit(num_epochs=1, callbacks=[report])
        >>> report.reports[0].missing
        ['forgotten.weight', 'forgotten.bias']
    """

    def __init__(
        self,
        every: int = 100,
        *,
        vanishing: float = 1e-10,
        exploding: float = 1e3,
        max_reports: int = 100,
    ) -> None:
        # Before what changes the gradients; all processes have the same ones.
        super().__init__("Gradient anomaly report", execution_order=-1, device_idx_execution=0)
        if every < 1 or max_reports < 1:
            msg = f"every and max_reports must be at least 1, got {every} and {max_reports}."
            raise LoopValueError(msg)
        if not 0 <= vanishing < exploding:
            msg = (
                "vanishing must be at least 0 and below exploding, got "
                f"{vanishing} and {exploding}."
            )
            raise LoopValueError(msg)
        self.every = every
        self.vanishing = vanishing
        self.exploding = exploding
        self.reports: deque[GradientReport] = deque(maxlen=max_reports)
        self._parameters: list[dict[str, Tensor]] = []
        self._seen: dict[int, dict[str, list[str]]] = {}

    def on_train_begin(self) -> None:
        """Look up the parameters' names."""
        loop = self.train_loop_obj
        names = parameter_names(loop.model, loop.optimizers)
        self._parameters = [
            {names[id(parameter)]: parameter for parameter in parameters_of(optimizer)}
            for optimizer in loop.optimizers
        ]

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        """Look, if it is this update's turn."""
        if self.train_loop_obj.updates_done % self.every == 0:
            self.look(optimizer_idx)

    def look(self, optimizer_idx: int) -> GradientReport:
        """Look at the gradients of one optimizer now; keep and log what is wrong with them."""
        parameters = self._parameters[optimizer_idx]
        report = GradientReport(self.train_loop_obj.updates_done, optimizer_idx)
        gradients = {}
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                gradients[name] = parameter.grad
            elif parameter.requires_grad:
                report.missing.append(name)
        for name, norm in zip(gradients, _norms(list(gradients.values())), strict=True):
            self._judge(report, name, norm)
        self._tell(report)
        return report

    def _judge(self, report: GradientReport, name: str, norm: float) -> None:
        if not math.isfinite(norm):
            report.non_finite.append(name)
        elif norm < self.vanishing:
            report.vanishing[name] = norm
        elif norm > self.exploding:
            report.exploding[name] = norm

    def _tell(self, report: GradientReport) -> None:
        names, before = report.names(), self._seen.get(report.optimizer_idx, {})
        self._seen[report.optimizer_idx] = names
        if not names:
            return
        self.reports.append(report)
        if names != before:
            where = f"gradients of update {report.update}, optimizer {report.optimizer_idx}"
            _log.warning("%s: %s", where, "; ".join(map(_listed, names, names.values())))

    def state_dict(self) -> Tree:
        """The reports."""
        return {"reports": [asdict(report) for report in self.reports]}

    def load_state_dict(self, state: Tree) -> None:
        """Restore what `state_dict` gave."""
        self.reports.clear()
        self.reports.extend(GradientReport(**report) for report in state["reports"])


def _listed(kind: str, names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{kind}: {', '.join(names[:_MOST_NAMES])}{more}"


@torch.no_grad()
def _norms(gradients: list[Tensor]) -> list[float]:
    """The 2-norms, in one copy from the device.

    A sum of squares may overflow though every element is finite. What is not finite is therefore
    computed once more in double precision, where that of single ones cannot (a slower kernel, and
    one that MPS does not have).
    """
    if not gradients:
        return []
    elements = [_elements(gradient) for gradient in gradients]
    single = all(each.dtype is not torch.float64 for each in elements)
    norms = _computed(elements, torch.float32 if single else torch.float64)
    doubtful = [number for number, norm in enumerate(norms) if not math.isfinite(norm)]
    if doubtful and single and elements[0].device.type != "mps":
        exact = _computed([elements[number] for number in doubtful], torch.float64)
        for number, norm in zip(doubtful, exact, strict=True):
            norms[number] = norm
    return norms


def _computed(elements: list[Tensor], dtype: torch.dtype) -> list[float]:
    norms = torch._foreach_norm(elements, 2, dtype=dtype)
    device = norms[0].device
    return torch.stack([norm.to(device) for norm in norms]).tolist()


def _elements(gradient: Tensor) -> Tensor:
    """This process's elements as real numbers; a sparse gradient has only some."""
    gradient = own_part(gradient)
    if gradient.is_sparse:
        gradient = gradient.coalesce().values()
    return torch.view_as_real(gradient) if gradient.is_complex() else gradient
