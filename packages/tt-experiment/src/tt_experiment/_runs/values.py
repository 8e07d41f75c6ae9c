"""The values of a run by name: facts, hyperparameters, metrics and results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tt_experiment.runs import MetricSummary, RunSummary, Scalar, direction

__all__ = ["FACTS", "Name", "all_names", "is_nothing"]

FACTS = (
    "attempts",
    "created",
    "ended",
    "experiment",
    "id",
    "name",
    "parent",
    "project",
    "status",
)
_KINDS = ("param", "metric", "result", "last", "min", "max", "best")


@dataclass(frozen=True, slots=True)
class Name:
    """Asks a run for a value; ``kind`` says what it has to be a value of."""

    text: str
    kind: str | None = None

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read ``lr``, ``best.val_loss`` or ``last.`val loss```."""
        prefix, dot, rest = text.partition(".")
        kind = prefix if dot and rest and prefix in _KINDS else None
        return cls((rest if kind else text).strip("`"), kind)

    def __str__(self) -> str:
        return f"{self.kind}.{self.text}" if self.kind else self.text

    def is_known(self, run: RunSummary) -> bool:
        """Whether the run has it."""
        return next(self._found(run), self) is not self

    def of(self, run: RunSummary) -> Scalar:
        """Its value; ``None`` where the run does not have it."""
        return next(self._found(run), None)

    def _found(self, run: RunSummary) -> Iterator[Scalar]:
        kind, text = self.kind, self.text
        if kind is None and text in FACTS:
            yield getattr(run, text)
        if kind in (None, "param") and text in run.hyperparams:
            yield run.hyperparams[text]
        if kind not in ("param", "result") and text in run.metrics:
            yield self._of_metric(run.metrics[text])
        if kind in (None, "result") and text in run.results:
            yield run.results[text]
        if kind is not None and str(self) in run.hyperparams:  # one that is called max.steps
            yield run.hyperparams[str(self)]

    def _of_metric(self, metric: MetricSummary) -> float:
        if self.kind == "best":
            return metric.best(direction(self.text))
        return {"min": metric.min, "max": metric.max}.get(self.kind or "", metric.last)


def all_names(runs: Iterable[RunSummary]) -> set[str]:
    """Every name that some of the runs have, without kinds."""
    found: set[str] = set(FACTS)
    for run in runs:
        found.update(run.hyperparams, run.metrics, run.results)
    return found


def is_nothing(value: Scalar) -> bool:
    """Whether it is ``None`` or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))
