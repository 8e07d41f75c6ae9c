"""What a report holds: rows of numbers, and tables with a row per class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tt_metrics._classification.class_report import ClassReport, class_report
from tt_metrics._classification.multilabel import LabelCounts
from tt_metrics._core.confusion import Confusion
from tt_metrics._core.metric import Metric
from tt_metrics._core.value import flattened
from tt_metrics._core.whole import Kept
from tt_metrics._errors import MetricInputError

if TYPE_CHECKING:
    from tt_metrics._uncertainty.interval import Interval

__all__ = [
    "ClassRow",
    "ClassTable",
    "Grid",
    "Intervals",
    "Row",
    "Section",
    "section_of_metrics",
    "section_of_results",
]


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        name: What it is called.
        value: The number; an array or a text where a result is one.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        method: How the interval was computed.
        count: Of how many items it is; None where that is not known.
        signature: What is needed to compute it again.
        interval_signature: What is needed to compute its interval again: method, confidence, and
            number and seed of the draws.
    """

    name: str
    value: Any
    low: float | None = None
    high: float | None = None
    method: str | None = None
    count: int | None = None
    signature: str | None = None
    interval_signature: str | None = None


@dataclass(frozen=True)
class ClassRow:
    """One class, or one average over classes.

    Attributes:
        label: The class, or the name of the average.
        precision: Right ones among those predicted as the class.
        recall: Right ones among those of the class.
        f1: Harmonic mean of the two.
        support: How many items are of the class, or their weight.
    """

    label: Any
    precision: float
    recall: float
    f1: float
    support: float


@dataclass(frozen=True)
class ClassTable:
    """The classes one by one, and the averages ``micro``, ``macro`` and ``weighted``.

    Attributes:
        classes: The classes.
        averages: The averages.
        zero_division: What stands in for 0 / 0; None where no class has any.
    """

    classes: Sequence[ClassRow]
    averages: Sequence[ClassRow]
    zero_division: float | None = None


@dataclass(frozen=True)
class Grid:
    """Numbers by row and column, such as a confusion matrix.

    Attributes:
        name: What it is called.
        labels: What its rows are called.
        columns: What its columns are called.
        cells: The numbers, row by row.
        signature: What is needed to compute it again.
    """

    name: str
    labels: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Any]]
    signature: str | None = None

    def as_rows(self) -> list[Row]:
        """Its numbers one by one."""
        return [
            Row(f"{self.name}_{label}_{column}", cell, signature=self.signature)
            for label, cells in zip(self.labels, self.cells, strict=True)
            for column, cell in zip(self.columns, cells, strict=True)
        ]


@dataclass(frozen=True)
class Section:
    """The results of one package, or of metrics that came together; then its name is empty.

    Attributes:
        name: What the package is called.
        rows: The numbers.
        tables: Precision, recall and F1 by class.
        grids: Results that are tables themselves.
    """

    name: str
    rows: Sequence[Row] = ()
    tables: Sequence[ClassTable] = ()
    grids: Sequence[Grid] = ()

    def joined(self, other: Section) -> Self:
        """The same with another's content; tables of classes that are there already stay one."""
        tables = _distinct([*self.tables, *other.tables])
        rows, grids = [*self.rows, *other.rows], [*self.grids, *other.grids]
        return replace(self, rows=rows, tables=tables, grids=grids)


@dataclass(frozen=True)
class Intervals:
    """Which intervals a report gives: none without ``confidence``, drawn ones on request."""

    confidence: float | None
    n_resamples: int
    seed: int

    def of(self, metric: Metric[Any]) -> Interval | dict[str, Interval] | None:
        """The interval of a metric's result, or one per key, if it was asked for and there is one.

        Raises:
            MetricStateError: The interval must be drawn, and the metric has not kept its items.
        """
        if self.confidence is None:
            return None
        from tt_metrics._uncertainty.interval import closed_interval  # only if it is asked for

        interval = closed_interval(metric, self.confidence)
        if interval is not None or not self.n_resamples:
            return interval
        # Report has checked the settings: what is left is a result that has no interval, since it
        # is no number or too many drawn data sets have none.
        with suppress(MetricInputError):
            return metric.ci(
                self.confidence, method="bootstrap", n_resamples=self.n_resamples, seed=self.seed
            )
        return None


def section_of_results(name: str, results: Mapping[str, Any]) -> Section:
    """Bare results."""
    rows: list[Row] = []
    grids: list[Grid] = []
    for key, result in results.items():
        if is_dataclass(result) and not isinstance(result, type):  # such as a curve: its parts
            result = {part.name: getattr(result, part.name) for part in fields(result)}
        if (grid := _grid(key, result)) is not None:
            grids.append(grid)
        else:
            rows += [Row(*pair) for pair in flattened({key: result}).items()]
    return Section(name, rows, (), grids)


def _grid(name: str, result: Any) -> Grid | None:
    """A dict of dicts with equal keys, as a table."""
    rows = list(result.values()) if isinstance(result, Mapping) else []
    if not rows or not all(
        isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows
    ):
        return None
    cells = [list(row.values()) for row in rows]
    return Grid(name, list(map(str, result)), list(map(str, rows[0])), cells)


def section_of_metrics(name: str, metrics: Iterable[Metric[Any]], intervals: Intervals) -> Section:
    """The results of metrics, and a table of classes for each state that knows them."""
    section = Section(name)
    by_state: dict[int, list[Metric[Any]]] = {}  # those that share a state share its tables
    for metric in metrics:
        section = section.joined(_numbers(metric, intervals))
        by_state.setdefault(id(metric._state), []).append(metric)
    tables = [table for sharing in by_state.values() for table in _tables(sharing)]
    return section.joined(Section("", (), tables))


def _numbers(metric: Metric[Any], intervals: Intervals) -> Section:
    results = metric.get_metric_dict()
    bare = section_of_results("", results)
    signature = metric.signature
    found = intervals.of(metric) if bare.rows else None
    if isinstance(found, dict):
        (name,) = results
        by_name = {f"{name}_{key}": interval for key, interval in found.items()}
    else:
        by_name = {row.name: found for row in bare.rows if found is not None}
    count = None if isinstance(metric._state, Kept) else metric.count
    rows = [
        replace(row, count=count, signature=signature, **_ends(by_name.get(row.name)))
        for row in bare.rows
    ]
    return Section("", rows, (), [replace(grid, signature=signature) for grid in bare.grids])


def _ends(interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {}
    return {
        "low": interval.low,
        "high": interval.high,
        "method": interval.method,
        "interval_signature": interval.signature,
    }


def _tables(sharing: Sequence[Metric[Any]]) -> Iterator[ClassTable]:
    """Precision, recall and F1 by class, from the counts that metrics share.

    There is one for each value of 0 / 0 that the metrics want, in order of size whatever the order
    of the metrics, and only one where no class needs that value.
    """
    state = sharing[0]._state
    if not isinstance(state, (Confusion, LabelCounts)):
        return
    undefined = class_report(state, zero_division=math.nan)
    if not np.isnan([undefined.precision, undefined.recall, undefined.f1]).any():
        yield _table(undefined, None)
        return
    wanted = {repr(value): value for value in _zero_divisions(sharing)}  # nan is not equal to nan
    for value in sorted(wanted.values(), key=lambda value: (math.isnan(value), value)):
        yield _table(class_report(state, zero_division=value), value)


def _zero_divisions(sharing: Iterable[Metric[Any]]) -> list[float]:
    """What the metrics put for 0 / 0; those without that setting leave it to the others."""
    asked = [float(m.zero_division) for m in sharing if hasattr(m, "zero_division")]
    return asked or [0.0]


def _table(report: ClassReport, zero_division: float | None) -> ClassTable:
    columns = (report.precision, report.recall, report.f1, report.support)
    numbers = zip(report.labels, *(column.tolist() for column in columns), strict=True)
    averages = [
        ClassRow(name, line.precision, line.recall, line.f1, line.support)
        for name, line in report.averages.items()
    ]
    return ClassTable([ClassRow(*row) for row in numbers], averages, zero_division)


def _distinct(tables: Iterable[ClassTable]) -> list[ClassTable]:
    """Each table once; compared as texts, in which nan is equal to nan."""
    return list({repr(table): table for table in tables}.values())
