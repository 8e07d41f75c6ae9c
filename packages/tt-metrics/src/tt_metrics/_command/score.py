"""From columns of files to metrics of one system, or of two on the same targets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._command.columns import Columns, aligned, listed
from tt_metrics._command.tasks import TASKS, Settings, Task
from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricError, MetricInputError

__all__ = ["Data", "label_texts", "prepared", "scored"]

_WHOLE = re.compile(r"[+-]?\d+")
_ROUNDED = 0.05  # how far rows of printed probabilities may be from 1: ten columns, two decimals


@dataclass(frozen=True)
class Data:
    """What metrics take.

    Attributes:
        true: Targets.
        systems: Predictions of each system.
        labels: All labels in the order of the columns; None where they are found in the data.
        kind: What predictions are: ``labels``, ``probabilities`` or ``scores``.
    """

    true: NDArray[Any]
    systems: Sequence[NDArray[Any]]
    labels: list[Any] | None
    kind: str


def label_texts(labels: str | None) -> list[str]:
    """The labels of an option, ``a,b,c``."""
    return [] if labels is None else [label.strip() for label in labels.split(",")]


def prepared(
    task: str, true: Columns, systems: Sequence[Columns], labels: list[str], positive: str | None
) -> Data:
    """Bring targets and predictions to the form that a task's metrics take.

    Args:
        task: A name of `TASKS`.
        true: Targets.
        systems: Predictions of each system.
        labels: All labels, as texts; empty where they are found in the data.
        positive: For the task ``binary``, the label that counts; by default 1 of 0 and 1.

    Raises:
        MetricInputError: Files that do not fit together, or not the task.
    """
    if task in ("classification", "binary") and true.values.ndim > 1:
        what = f"{true.values.shape[1]} columns"
        msg = f"{true.source} must be one column of labels; it is {what}. Choose with :COLUMN."
        raise MetricInputError(msg)
    for columns in (true, *systems):
        _check_choice(task, columns, labels, true.values)
    order = labels or next((list(c.names) for c in (true, *systems) if c.names), [])
    ordered = [_in_order(columns, order) for columns in (true, *systems)]
    targets = ordered[0].values
    predictions = [aligned(ordered[0], columns) for columns in ordered[1:]]
    if task == "binary":
        return _of_two(_Two.of(true, labels, positive), targets, systems, predictions)
    known = labels or _named_by_columns(task, targets, ordered)
    return Data(
        targets,
        predictions,
        _typed(known, targets, task) if known else None,
        "labels" if task in ("regression", "retrieval") else _kind(task, predictions),
    )


def _check_choice(task: str, columns: Columns, labels: list[str], targets: NDArray[Any]) -> None:
    """Refuse columns that nobody chose, where one of them may be an id or an index."""
    if not columns.unchosen or task in ("binary", "multilabel"):
        return  # one column is asked for, or targets that are no 0 or 1 are found by metrics
    if task == "classification":
        if columns.names is None or _are_labels(columns.names, labels, targets):
            return
        rule = "columns must be called as the labels are, or be chosen"
    elif task == "retrieval" and columns.names is None:
        return
    else:
        rule = f"columns must be chosen for {task} where there are several"
    came = listed(columns.unchosen)
    msg = f"{columns.source}: {rule}; it has {came}. Choose with :COLUMN or :COLUMN,COLUMN."
    raise MetricInputError(msg)


def _are_labels(names: Sequence[str], labels: list[str], targets: NDArray[Any]) -> bool:
    """Whether columns are called as the labels are, of which whole numbers may be missing."""
    if labels or targets.dtype.kind == "U":
        return {*names} == {*(labels or targets.tolist())}
    if not all(_WHOLE.fullmatch(name) for name in names):
        return False
    return {int(name) for name in names} >= {*targets.tolist()}


def _in_order(columns: Columns, order: list[str]) -> Columns:
    """The same columns in the order of their names elsewhere, where they have the same names."""
    names = columns.names
    if names is None or len(names) != len(order) or set(names) != set(order):
        return columns
    places = [names.index(name) for name in order]
    return replace(columns, values=columns.values[:, places], names=tuple(order))


def _named_by_columns(
    task: str, targets: NDArray[Any], ordered: Sequence[Columns]
) -> list[str] | None:
    """The names of the columns of scores, where they are labels."""
    if task == "multilabel":
        return next((list(c.names) for c in ordered if c.names), None)
    if task != "classification":
        return None
    names = next((c.names for c in ordered[1:] if c.names), None)
    texts = targets.dtype.kind == "U"
    if names and (texts or all(_WHOLE.fullmatch(name) for name in names)):
        return list(names)
    return None


def _typed(labels: list[str], targets: NDArray[Any], task: str) -> list[Any]:
    """Labels of the type that the targets have; those of tables are names."""
    if targets.dtype.kind == "U" or task == "multilabel":
        return list(labels)
    return [_number(label, "--labels") for label in labels]


def _number(label: str, option: str) -> float:
    try:
        return int(label) if _WHOLE.fullmatch(label) else float(label)
    except ValueError:
        msg = f"{option} must be numbers as the targets are; {label} came."
        raise MetricInputError(msg) from None


def _kind(task: str, predictions: Sequence[NDArray[Any]]) -> str:
    kinds = {_kind_of(task, values) for values in predictions}
    return next(kind for kind in ("scores", "labels", "probabilities") if kind in kinds)


def _kind_of(task: str, values: NDArray[Any]) -> str:
    columns = values.ndim == 2
    if values.dtype.kind != "f" or not (columns or task == "binary"):
        return "labels"
    if values.min() < 0 or values.max() > 1:
        return "labels" if task == "classification" else "scores"
    if task == "classification" and not np.allclose(values.sum(axis=1), 1, atol=_ROUNDED):
        return "labels"  # those that are only rounded have a note that Log_loss is left out
    return "probabilities"


@dataclass(frozen=True)
class _Two:
    """The label that counts, and all that predictions may be.

    Attributes:
        positive: The label that counts.
        known: All labels.
    """

    positive: Any
    known: list[Any]

    @classmethod
    def of(cls, true: Columns, labels: list[str], positive: str | None) -> _Two:
        present = np.unique(true.values).tolist()
        known = _typed(labels, true.values, "binary") if labels else present
        if unknown := [label for label in present if label not in known]:
            msg = f"--labels must have all labels of {true.source}; {unknown[0]!r} is not in it."
            raise MetricInputError(msg)
        label = _positive_label(true, known, positive)
        return cls(label, known if labels or positive is not None else [0, 1])

    def is_labels(self, source: str, values: NDArray[Any]) -> bool:
        """Whether values are labels; if not they are scores, which must be written as such."""
        unknown = [value for value in np.unique(values).tolist() if value not in self.known]
        if unknown and values.dtype.kind != "f":
            msg = (
                f"{source}: a predicted label must be one of {listed(self.known)}; {unknown[0]!r} "
                "came. Name all in --labels; scores need a decimal point (a float dtype)."
            )
            raise MetricInputError(msg)
        return not unknown


def _of_two(
    two: _Two,
    targets: NDArray[Any],
    systems: Sequence[Columns],
    predictions: Sequence[NDArray[Any]],
) -> Data:
    """Targets and predicted labels as 0 and 1; scores are those of the positive label."""
    decided = []
    for columns, values in zip(systems, predictions, strict=True):
        if values.ndim > 1:
            msg = (
                f"{columns.source} must be one column, of labels or of scores of the positive "
                f"label; it is {values.shape[1]}. Choose with :COLUMN."
            )
            raise MetricInputError(msg)
        named = two.is_labels(columns.source, values)
        decided.append(
            (values == two.positive).astype(np.int64) if named else values.astype(np.float64)
        )
    return Data((targets == two.positive).astype(np.int64), decided, None, _kind("binary", decided))


def _positive_label(true: Columns, known: list[Any], positive: str | None) -> Any:
    if positive is None:
        if not set(known) <= {0, 1}:
            msg = (
                f"{true.source} must hold 0 and 1, or --positive say what counts; it holds "
                f"{listed(known)}."
            )
            raise MetricInputError(msg)
        return 1
    label = positive if true.values.dtype.kind == "U" else _number(positive, "--positive")
    if label not in known:
        msg = f"--positive must be a label of {true.source}, {listed(known)}; {positive!r} came."
        raise MetricInputError(msg)
    return label


def scored(
    task: Task, data: Data, wanted: str | None, settings: Settings
) -> tuple[list[list[Metric[Any]]], list[str]]:
    """Compute the metrics of each system.

    Args:
        task: What there is to compute.
        data: Targets and predictions.
        wanted: Names of metrics, ``a,b``; None for those that fit the predictions.
        settings: What metrics are told.

    Returns:
        For each system its metrics, the same in each, and why some of those that nobody named are
        missing.

    Raises:
        MetricError: A metric that was named, or each of those that fit, cannot take the data.
    """
    names = task.names(wanted, data.kind)
    task.check_used(settings, names)
    settings = replace(
        settings,
        labels=data.labels,
        average=settings.average or task.average,
        multilabel=True if task is TASKS["multilabel"] else None,
    )
    systems: list[list[Metric[Any]]] = [[] for _ in data.systems]
    failed: list[tuple[str, MetricError]] = []
    for name in names:
        try:
            made = [task.metrics[name](data.true, values, settings) for values in data.systems]
            for metric in made:
                metric.compute()
        except MetricError as error:
            if wanted is not None:
                raise
            failed.append((name, error))
            continue
        for metrics, metric in zip(systems, made, strict=True):
            metrics.append(metric)
    if failed and not systems[0]:
        raise failed[0][1]
    return systems, [f"left out {name}: {error}" for name, error in failed]
