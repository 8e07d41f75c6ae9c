"""Result packages: the evaluation of a whole set of predictions, under one name."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tt_metrics._core.inputs import as_array
from tt_metrics._core.value import MetricValue, joined
from tt_metrics._errors import MetricInputError, MetricTypeError, NoDataError
from tt_metrics._packages.dump import zipped
from tt_metrics._report.content import Intervals, Section, section_of_results
from tt_metrics._report.report import Report

if TYPE_CHECKING:
    from tt_metrics._packages.combined import MultipleResultPackageWrapper

__all__ = ["AbstractResultPackage"]


class AbstractResultPackage(ABC):
    """Base of users' own evaluations: a subclass implements `prepare_results_dict`.

        >>> class LongestMissPackage(AbstractResultPackage):
        ...     def prepare_results_dict(self):
        ...         return {"Longest_miss": float(abs(self.y_true - self.y_predicted).max())}
        >>> package = LongestMissPackage("Misses")
        >>> package.prepare_result_package([1.0, 2.0], [1.5, 4.0])
        >>> package.get_results()
        {'Longest_miss': 2.0}

    ``package + other`` puts packages side by side in a `MultipleResultPackageWrapper`;
    ``package += other`` takes the other's results into this one. In both, ``other`` is a package, a
    metric, or a dict of results by name.

    Args:
        pkg_name: What the package is called where several are reported.
        strict_content_check: Raise on doubtful content, such as no results, instead of warning.
        np_array: Turn targets and predictions into NumPy arrays; otherwise they stay what they are.
        **kwargs: Whatever else is to be known of the package, kept as `package_metadata`.

    Attributes:
        requires_loss: The evaluation needs the loss too; who runs it passes it as a keyword.
        y_true: The targets of the last evaluation.
        y_predicted: Its predictions.
        hyperparameters: Its hyperparameters; ``{}`` where there were none.
        additional_results: Whatever else it was given by keyword.
        results_dict: Its results; ``None`` before the first.
        additional_results_dump_paths: The files that belong to the results, as they were last
            asked for.
        experiment_dir_path: The experiment's folder, once who runs the package has told it.
    """

    def __init__(
        self,
        pkg_name: str | None = None,
        strict_content_check: bool = False,
        np_array: bool = True,
        **kwargs: Any,
    ) -> None:
        self.pkg_name = pkg_name
        self.strict_content_check = strict_content_check
        self.np_array = np_array
        self.package_metadata = kwargs
        self.requires_loss = False
        self.y_true: Any = None
        self.y_predicted: Any = None
        self.hyperparameters: Mapping[str, Any] = {}
        self.additional_results: dict[str, Any] = {}
        self.results_dict: dict[str, Any] | None = None
        self.additional_results_dump_paths: list[tuple[str, str]] = []
        self.experiment_dir_path: Path | None = None
        self._added: dict[str, Any] = {}  # what `+=` brought: it must outlive the next batch

    @abstractmethod
    def prepare_results_dict(self) -> dict[str, Any]:
        """Compute the results by name from what the package holds."""

    def prepare_result_package(
        self, y_true: Any, y_predicted: Any, hyperparameters: Any = None, **kwargs: Any
    ) -> None:
        """Take targets and predictions, in place of all that came before, and compute.

        Args:
            y_true: Targets.
            y_predicted: Predictions.
            hyperparameters: What the model was made with, by name.
            **kwargs: Whatever else the evaluation needs, kept as `additional_results`.
        """
        self.y_true = self.auto_y_input_array_convert(y_true)
        self.y_predicted = self.auto_y_input_array_convert(y_predicted)
        self.hyperparameters = {} if hyperparameters is None else hyperparameters
        self.additional_results = kwargs
        self.results_dict, self._added = None, {}
        self.qa_check_hyperparameters_dict()
        self.results_dict = self._completed(self.prepare_results_dict())

    def auto_y_input_array_convert(self, y_array: Any) -> Any:
        """Give a NumPy array, unless the package was told to leave what comes alone."""
        return as_array(y_array) if self.np_array else y_array

    def get_results(self) -> dict[str, Any]:
        """The results by name."""
        if self.results_dict is None:
            msg = f"Call prepare_result_package before get_results; {self!r} has no results yet."
            raise NoDataError(msg)
        return self.results_dict

    def get_hyperparameters(self) -> Mapping[str, Any]:
        """The hyperparameters that came with the predictions."""
        return self.hyperparameters

    def report(
        self,
        *,
        title: str | None = None,
        confidence: float | None = 0.95,
        n_resamples: int = 0,
        seed: int = 0,
    ) -> Report:
        """The results as a `Report`, which takes the same arguments."""
        return Report(self, title=title, confidence=confidence, n_resamples=n_resamples, seed=seed)

    def _report_sections(self, intervals: Intervals) -> list[Section]:  # noqa: ARG002  (for subclasses)
        return [section_of_results(self._shown_name, self.get_results())]

    @property
    def _shown_name(self) -> str:
        return self.pkg_name or type(self).__name__

    def set_experiment_dir_path_for_additional_results(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        local_model_result_folder_path: Path | str,
    ) -> None:
        """Tell the package its experiment's folder, for files that it writes itself.

        Args:
            project_name: Folder of the project.
            experiment_name: Name of the run.
            experiment_timestamp: When it started; the folder is called ``<name>_<timestamp>``.
            local_model_result_folder_path: Folder of all projects.
        """
        folder = f"{experiment_name}_{experiment_timestamp}"
        root = Path(local_model_result_folder_path).expanduser()
        self.experiment_dir_path = root / project_name / folder

    def list_additional_results_dump_paths(self) -> list[tuple[str, str]]:
        """Name and path of each file that belongs to the results; for subclasses that write any."""
        return []

    def get_additional_results_dump_paths(self) -> list[tuple[str, str]]:
        """Name and path of each file that belongs to the results, checked."""
        self.additional_results_dump_paths = self.list_additional_results_dump_paths()
        self.qa_check_additional_results_dump_paths()
        return self.additional_results_dump_paths

    def zip_additional_results_dump(self, source_dir_path: Path | str, zip_path: Path | str) -> str:
        """Pack a folder that a subclass wrote into one file.

        Args:
            source_dir_path: The folder.
            zip_path: The file to write, outside the folder; ``.zip`` is added if it is not there.

        Returns:
            The path of the file.
        """
        return zipped(Path(source_dir_path), Path(zip_path))

    def qa_check_hyperparameters_dict(self) -> None:
        """Report hyperparameters that are no dict: reports and files show them by name."""
        if not isinstance(self.hyperparameters, Mapping):
            came = type(self.hyperparameters).__name__
            msg = f"hyperparameters should be a dict of names and values; a {came} came."
            self.warn_about_result_data_problem(msg)

    def qa_check_additional_results_dump_paths(self) -> None:
        """Report files of results that are not given as pairs of name and path, or are missing."""
        for pair in self.additional_results_dump_paths:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                msg = f"A file of results should be a pair of name and path; {pair!r} came."
                self.warn_about_result_data_problem(msg)
            elif not Path(pair[1]).is_file():
                self.warn_about_result_data_problem(
                    f"A file of results should exist; {pair[0]!r} is not at {str(pair[1])!r}."
                )

    def warn_if_results_dict_not_defined(self) -> None:
        """Report that there are no results yet."""
        if self.results_dict is None:
            msg = f"Results should be there by now; {self!r} has none. Evaluate it first."
            self.warn_about_result_data_problem(msg)

    def warn_about_result_data_problem(self, msg: str) -> None:
        """Warn of doubtful content, or raise where the content check is strict."""
        if self.strict_content_check:
            raise MetricInputError(msg)
        warnings.warn(msg, stacklevel=3)

    def add_merge_multi_pkg_wrap(self, other_object: Any) -> MultipleResultPackageWrapper:
        """Put this package and another side by side, as ``+`` does; both stay as they are.

        Args:
            other_object: A package, a metric, or a dict of results by name.

        Raises:
            NoDataError: One of them has no results yet.
        """
        from tt_metrics._packages.combined import side_by_side  # it subclasses this class

        return side_by_side(self, other_object)

    def __add__(self, other: object) -> MultipleResultPackageWrapper:
        return self.add_merge_multi_pkg_wrap(other) if _has_results(other) else NotImplemented

    def __radd__(self, other: object) -> MultipleResultPackageWrapper:
        from tt_metrics._packages.combined import side_by_side  # it subclasses this class

        return side_by_side(other, self) if _has_results(other) else NotImplemented

    def add_merge_dicts(self, other: Any) -> Self:
        """Take another's results into this package's, as ``+=`` does.

        They stay until the next `prepare_result_package`, and with this object: results of
        others cannot be merged, so `state` does not have them, nor does what is reduced or merged
        from it.

        Args:
            other: A package, a metric, or a dict of results by name.

        Raises:
            MetricInputError: Both have a result of the same name.
            NoDataError: One of them has no results yet.
        """
        results = results_of(other)
        self.results_dict = joined(self.get_results(), results)
        self._added = self._added | results
        return self

    def __iadd__(self, other: object) -> Self:
        return self.add_merge_dicts(other) if _has_results(other) else NotImplemented

    def _completed(self, results: Any) -> dict[str, Any]:
        """Check what `prepare_results_dict` returned and add what `+=` brought."""
        if not isinstance(results, Mapping):
            msg = (
                "prepare_results_dict must return a dict of results by name; that of "
                f"{type(self).__name__} returned {type(results).__name__}."
            )
            raise MetricTypeError(msg)
        if not results:
            self.warn_about_result_data_problem(f"{self!r} should have results; it has none.")
        return joined(results, self._added)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pkg_name!r}>"


def _has_results(other: object) -> bool:
    return isinstance(other, (AbstractResultPackage, MetricValue, Mapping))


def results_of(other: object) -> dict[str, Any]:
    """The results by name of a package, a metric, or a dict of them."""
    if isinstance(other, AbstractResultPackage):
        return dict(other.get_results())
    if isinstance(other, MetricValue):
        return other.get_metric_dict()
    if isinstance(other, Mapping):
        return dict(other)
    msg = (
        "Results must come as a package, a metric, or a dict of them by name; "
        f"{type(other).__name__} came."
    )
    raise MetricTypeError(msg)
