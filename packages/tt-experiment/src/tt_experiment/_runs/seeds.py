"""Runs that differ in their seeds only, and what they say together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from tt_experiment._runs.values import Name
from tt_experiment.runs import RunSummary, Scalar

__all__ = ["Interval", "groups_of_seeds", "interval", "is_seed", "t_quantile", "varying"]


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval."""

    mean: float
    half: float
    """Half the interval's width by Student's t; NaN for a single value."""
    n: int
    """Values that are numbers."""


def interval(values: Iterable[float]) -> Interval:
    """Mean and interval of the values that are finite; NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return Interval(finite[0] if finite else math.nan, math.nan, len(finite))
    half = t_quantile(len(finite) - 1) * stdev(finite) / math.sqrt(len(finite))
    return Interval(fmean(finite), half, len(finite))


def is_seed(hyperparam: str) -> bool:
    """Whether a hyperparameter is a seed: its last word is."""
    last = re.split(r"[._-]", hyperparam.lower())[-1]
    return last in ("seed", "seeds")


def groups_of_seeds(
    runs: Sequence[RunSummary], by: Sequence[Name] | None = None
) -> list[tuple[dict[str, Scalar], list[RunSummary]]]:
    """Runs that belong together, in order of their first.

    Args:
        runs: The runs.
        by: What runs of a group have in common; by default the project and all hyperparameters
            apart from seeds.

    Returns:
        For each group what its runs have in common, and its runs.
    """
    groups: dict[tuple[tuple[str, str], ...], tuple[dict[str, Scalar], list[RunSummary]]] = {}
    for run in runs:
        common = _common(run, by)
        key = tuple(sorted((name, repr(value)) for name, value in common.items()))
        groups.setdefault(key, (common, []))[1].append(run)
    return list(groups.values())


def _common(run: RunSummary, by: Sequence[Name] | None) -> dict[str, Scalar]:
    if by is not None:
        return {str(name): name.of(run) for name in by}
    kept = {name: value for name, value in run.hyperparams.items() if not is_seed(name)}
    return {"project": run.project, **kept}


def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t distribution, to six digits."""
    low, high = 1.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, freedom) < 0.975 else (low, middle)
    return (low + high) / 2


def _t_below(t: float, freedom: int) -> float:
    """Probability of less than ``t`` > 0, by the finite sums that hold for whole degrees."""
    angle = math.atan2(t, math.sqrt(freedom))
    term = total = math.cos(angle) if freedom % 2 else 1.0
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    if freedom == 1:
        return 0.5 + angle / math.pi
    if freedom % 2:
        return 0.5 + (angle + math.sin(angle) * total) / math.pi
    return 0.5 + math.sin(angle) * total / 2


def varying(groups: Sequence[Mapping[str, Scalar]]) -> list[str]:
    """Names whose values are not the same in all groups."""
    names = dict.fromkeys(name for group in groups for name in group)
    return [name for name in names if len({repr(group.get(name)) for group in groups}) > 1]
