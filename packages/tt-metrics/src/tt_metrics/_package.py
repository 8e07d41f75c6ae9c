"""Result packages: the evaluation of a whole set of predictions, under one name."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from tt_metrics._errors import MetricInputError, MetricTypeError, NoDataError
from tt_metrics._inputs import as_array

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

    Args:
        pkg_name: What the package is called where several are reported.
        strict_content_check: Raise on doubtful content, such as no results, instead of warning.
        np_array: Turn targets and predictions into NumPy arrays; otherwise they stay what they are.

    Attributes:
        requires_loss: The evaluation needs the loss too; who runs it passes it as a keyword.
        y_true: The targets of the last evaluation.
        y_predicted: Its predictions.
        hyperparameters: Its hyperparameters; ``{}`` where there were none.
        additional_results: Whatever else it was given by keyword.
        results_dict: Its results; ``None`` before the first.
    """

    def __init__(
        self,
        pkg_name: str | None = None,
        strict_content_check: bool = False,
        np_array: bool = True,
    ) -> None:
        self.pkg_name = pkg_name
        self.strict_content_check = strict_content_check
        self.np_array = np_array
        self.requires_loss = False
        self.y_true: Any = None
        self.y_predicted: Any = None
        self.hyperparameters: Mapping[str, Any] = {}
        self.additional_results: dict[str, Any] = {}
        self.results_dict: dict[str, Any] | None = None

    @abstractmethod
    def prepare_results_dict(self) -> dict[str, Any]:
        """Compute the results by name from what the package holds."""

    def prepare_result_package(
        self, y_true: Any, y_predicted: Any, hyperparameters: Any = None, **kwargs: Any
    ) -> None:
        """Take targets and predictions and compute the results."""
        self.y_true = self.auto_y_input_array_convert(y_true)
        self.y_predicted = self.auto_y_input_array_convert(y_predicted)
        self.hyperparameters = {} if hyperparameters is None else hyperparameters
        self.additional_results = kwargs
        self.qa_check_hyperparameters_dict()
        self.results_dict = self._checked(self.prepare_results_dict())

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

    def qa_check_hyperparameters_dict(self) -> None:
        """Report hyperparameters that are no dict: reports and files show them by name."""
        if not isinstance(self.hyperparameters, Mapping):
            came = type(self.hyperparameters).__name__
            msg = f"hyperparameters should be a dict of names and values; a {came} came."
            self.warn_about_result_data_problem(msg)

    def warn_about_result_data_problem(self, msg: str) -> None:
        """Warn of doubtful content, or raise where the content check is strict."""
        if self.strict_content_check:
            raise MetricInputError(msg)
        warnings.warn(msg, stacklevel=3)

    def _checked(self, results: Any) -> dict[str, Any]:
        if not isinstance(results, Mapping):
            msg = (
                "prepare_results_dict must return a dict of results by name; that of "
                f"{type(self).__name__} returned {type(results).__name__}."
            )
            raise MetricTypeError(msg)
        if not results:
            self.warn_about_result_data_problem(f"{self!r} should have results; it has none.")
        return dict(results)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pkg_name!r}>"
