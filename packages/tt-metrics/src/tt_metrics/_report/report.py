"""Results with what is needed to judge them: intervals, counts, classes, signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricInputError, MetricTypeError
from tt_metrics._report.content import (
    Intervals,
    Row,
    Section,
    section_of_metrics,
    section_of_results,
)
from tt_metrics._report.formats import markdown, plain_text
from tt_metrics._report.html import document, fragment
from tt_metrics._report.json import from_json, from_plain, to_json, to_plain

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped]  # pandas ships no types

__all__ = ["Report"]


class Report:
    """Results as they are when it is made, ready to be shown and stored.

    Each number comes with its interval, with how many items it is of, and with its signature.
    Metrics on class labels add a table with precision, recall, F1 and support of each class, from
    the counts that they have anyway. In a notebook a report shows itself.

        >>> report = Report(AccuracyMetric([0, 1, 1, 1], [0, 1, 1, 0]))
        >>> row = report.sections[0].rows[0]
        >>> row.name, row.value, row.count, row.method
        ('Accuracy', 0.75, 4, 'wilson')
        >>> row.low < row.value < row.high
        True

    Args:
        *contents: Metrics, result packages, and dicts of results by name. Each package gives a
            section of its own; metrics that follow each other share one.
        title: What stands above it all.
        confidence: Of the intervals, in (0, 1); None for no intervals.
        n_resamples: How many data sets are drawn for an interval that no formula gives (the
            bootstrap). By default none are, and such numbers have no interval: drawing takes some
            hundred times as long as the rest of the report.
        seed: What the draws start from, a whole number of at least 0.

    Attributes:
        title: What stands above it all.
        confidence: Of the intervals; None where there are none.
        sections: Its content: a section has a `name`, `rows` of numbers, `tables` of classes,
            and `grids`, such as a confusion matrix.

    Raises:
        MetricInputError: A setting means nothing, or there is nothing to report.
        NoDataError: A metric or package has seen no data.
        MetricStateError: An interval is to be drawn, and the metric has not kept its items.
    """

    sections: Sequence[Section]

    def __init__(
        self,
        *contents: Any,
        title: str | None = None,
        confidence: float | None = 0.95,
        n_resamples: int = 0,
        seed: int = 0,
    ) -> None:
        if not contents:
            msg = "A Report needs something to report: a metric, a result package, or a dict."
            raise MetricInputError(msg)
        intervals = _checked(confidence, n_resamples, seed)
        self.title = title or "Results"
        self.confidence = intervals.confidence
        self.sections = _sections(contents, intervals)

    @property
    def rows(self) -> list[Row]:
        """The numbers of all sections."""
        return [row for section in self.sections for row in section.rows]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain dicts, lists, texts and numbers."""
        return to_plain(self.title, self.confidence, self.sections)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Make the report that `to_dict` was asked of."""
        report = cls.__new__(cls)
        report.title, report.confidence, report.sections = from_plain(plain)
        return report

    def to_json(self, indent: int | None = 2) -> str:
        """Everything as JSON.

        JSON has no NaN and no infinity: they become the texts ``"NaN"``, ``"Infinity"`` and
        ``"-Infinity"``.

        Args:
            indent: How far nested lines are moved in; None puts all in one line.
        """
        return to_json(self.to_dict(), indent)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Make the report that `to_json` was asked of; arrays have become lists."""
        return cls.from_dict(from_json(text))

    def to_markdown(self) -> str:
        """Tables in GitHub's Markdown; what would be markup in a name is escaped."""
        return markdown(self.title, self.confidence, self.sections)

    def to_html(self) -> str:
        """A page of its own that loads nothing; what would be markup in a name is escaped."""
        return document(self.title, self.confidence, self.sections)

    def to_pandas(self, content: Literal["numbers", "classes"] = "numbers") -> DataFrame:
        """A data frame.

        Args:
            content: ``"numbers"`` for one row per number; ``"classes"`` for one row per class and
                average, of all sections.

        Raises:
            ImportError: pandas is not installed.
        """
        if content not in ("numbers", "classes"):
            msg = f"content must be 'numbers' or 'classes'; it is {content!r}."
            raise MetricInputError(msg)
        try:
            import pandas as pd
        except ImportError as error:
            msg = "Report.to_pandas needs pandas: pip install 'tt-metrics[pandas]'"
            raise ImportError(msg) from error
        rows = _numbers(self.sections) if content == "numbers" else _classes(self.sections)
        frame = pd.DataFrame.from_records(rows)
        return frame.astype({"count": "Int64"}) if "count" in frame else frame

    def _repr_html_(self) -> str:
        return fragment(self.title, self.confidence, self.sections)

    def __str__(self) -> str:
        return plain_text(self.title, self.confidence, self.sections)

    def __repr__(self) -> str:
        return f"<Report {self.title!r} of {len(self.rows)} numbers>"


def _checked(confidence: float | None, n_resamples: int, seed: int) -> Intervals:
    """Which intervals are wanted, if that means something."""
    from tt_metrics._uncertainty.resampling import (  # most processes make no report
        checked_confidence,
        checked_n_resamples,
        generator,
    )

    if confidence is not None:
        confidence = checked_confidence(confidence)
    generator(seed)  # raises where it is no seed
    drawn = checked_n_resamples(n_resamples) if n_resamples != 0 else 0
    return Intervals(confidence, drawn, seed)


@runtime_checkable
class _Reportable(Protocol):
    """A result package: it knows its sections."""

    def _report_sections(self, intervals: Intervals) -> list[Section]: ...


def _sections(contents: Sequence[Any], intervals: Intervals) -> list[Section]:
    sections: list[Section] = []
    together = False  # what follows a metric or a dict joins its section
    for content in contents:
        if isinstance(content, _Reportable):
            sections += content._report_sections(intervals)
            together = False
        else:
            loose = _loose(content, intervals)
            sections.append(sections.pop().joined(loose) if together else loose)
            together = True
    return sections


def _loose(content: Any, intervals: Intervals) -> Section:
    if isinstance(content, Metric):
        return section_of_metrics("", [content], intervals)
    if isinstance(content, Mapping):
        return section_of_results("", content)
    msg = (
        "A Report is made of metrics, result packages, and dicts of results by name; "
        f"{type(content).__name__} came."
    )
    raise MetricTypeError(msg)


def _numbers(sections: Sequence[Section]) -> list[dict[str, Any]]:
    return [
        {"section": section.name} | vars(row)
        for section in sections
        for row in [*section.rows, *(row for grid in section.grids for row in grid.as_rows())]
    ]


def _classes(sections: Sequence[Section]) -> list[dict[str, Any]]:
    return [
        {"section": section.name, "kind": kind, "zero_division": table.zero_division} | vars(row)
        for section in sections
        for table in section.tables
        for kind, rows in (("class", table.classes), ("average", table.averages))
        for row in rows
    ]
