"""Results that are there already, and packages side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tt_metrics._errors import MetricInputError, MetricTypeError
from tt_metrics._packages.base import AbstractResultPackage, results_of
from tt_metrics._report.content import Intervals, Section, section_of_results

__all__ = ["MultipleResultPackageWrapper", "PreCalculatedResultPackage", "side_by_side"]


class PreCalculatedResultPackage(AbstractResultPackage):
    """Results computed elsewhere: 'PreCalculatedResult'.

        >>> package = PreCalculatedResultPackage({"BLEU": 27.3})
        >>> package.get_results()
        {'BLEU': 27.3}

    Args:
        results_dict: The results by name; they are there at once.
        strict_content_check: Raise on doubtful content instead of warning.
        pkg_name: What the package is called where several are reported.
        **kwargs: Whatever else is to be known of the package.
    """

    def __init__(
        self,
        results_dict: Mapping[str, Any],
        strict_content_check: bool = False,
        *,
        pkg_name: str = "PreCalculatedResult",
        **kwargs: Any,
    ) -> None:
        super().__init__(pkg_name, strict_content_check, np_array=False, **kwargs)
        self._results = results_dict
        self.results_dict = self._completed(results_dict)

    def prepare_results_dict(self) -> dict[str, Any]:
        """The results that it was given."""
        return dict(self._results)


class MultipleResultPackageWrapper(AbstractResultPackage):
    """The results of several packages, by the packages' names: 'MultipleResult'.

    It is what ``package + other`` gives. A name that comes again gets a number: 'A', 'A_1', 'A_2'.

    The packages stay themselves: `get_results` and `report` both give what they have when asked, so
    batches and evaluations that come to a package later are seen here. Metrics and dicts put beside
    packages count as they were then, and so do `y_true`, `y_predicted` and the hyperparameters.

    Args:
        strict_content_check: Raise on doubtful content instead of warning.
        **kwargs: Whatever else is to be known of the package.

    Attributes:
        result_packages: The packages.
    """

    def __init__(self, strict_content_check: bool = False, **kwargs: Any) -> None:
        super().__init__("MultipleResult", strict_content_check, np_array=False, **kwargs)
        self.result_packages: list[AbstractResultPackage] = []

    def prepare_result_package(  # type: ignore[override]  # AIToolbox's interface: packages, no data
        self,
        result_packages: Iterable[AbstractResultPackage],
        hyperparameters: Any = None,
        **kwargs: Any,
    ) -> None:
        """Take evaluated packages and collect their results.

        Args:
            result_packages: The packages.
            hyperparameters: Left out, they are those of the packages.
            **kwargs: Whatever else there is, kept as `additional_results`.

        Raises:
            NoDataError: A package has no results yet.
        """
        self.result_packages = _checked(result_packages)
        self.requires_loss = any(package.requires_loss for package in self.result_packages)
        if hyperparameters is None:
            hyperparameters = self._common_hyperparameters()
        named = self._named().items()
        true = {name: package.y_true for name, package in named}
        predicted = {name: package.y_predicted for name, package in named}
        super().prepare_result_package(true, predicted, hyperparameters, **kwargs)

    def prepare_results_dict(self) -> dict[str, Any]:
        """The results of each package under its name."""
        return {name: dict(package.get_results()) for name, package in self._named().items()}

    def get_results(self) -> dict[str, Any]:
        """The results of each package under its name, as they are now."""
        super().get_results()  # raises where there are no packages yet
        self.results_dict = self._completed(self.prepare_results_dict())
        return self.results_dict

    def set_experiment_dir_path_for_additional_results(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        local_model_result_folder_path: Path | str,
    ) -> None:
        """Tell each package its experiment's folder."""
        where = (
            project_name,
            experiment_name,
            experiment_timestamp,
            local_model_result_folder_path,
        )
        super().set_experiment_dir_path_for_additional_results(*where)
        for package in self.result_packages:
            package.set_experiment_dir_path_for_additional_results(*where)

    def list_additional_results_dump_paths(self) -> list[tuple[str, str]]:
        """The files of all packages."""
        return [
            pair
            for package in self.result_packages
            for pair in package.list_additional_results_dump_paths()
        ]

    def add_merge_multi_pkg_wrap(self, other_object: Any) -> MultipleResultPackageWrapper:
        """Put one more package beside these, as ``+`` does; this wrapper stays as it is."""
        return side_by_side(self, other_object)

    def _report_sections(self, intervals: Intervals) -> list[Section]:
        super().get_results()  # raises where there are no packages yet
        sections = [
            replace(section, name=name)
            for name, package in self._named().items()
            for section in package._report_sections(intervals)
        ]
        if self._added:
            sections.append(section_of_results(self._shown_name, self._added))
        return sections

    def _named(self) -> dict[str, AbstractResultPackage]:
        named: dict[str, AbstractResultPackage] = {}
        for package in self.result_packages:
            name, number = package._shown_name, 0
            while name in named:
                number += 1
                name = f"{package._shown_name}_{number}"
            named[name] = package
        return named

    def _common_hyperparameters(self) -> dict[str, Any]:
        common: dict[str, Any] = {}
        for package in self.result_packages:
            hyperparameters = package.get_hyperparameters()
            if not isinstance(hyperparameters, Mapping):
                continue  # the package has said so itself
            for name, value in hyperparameters.items():
                if name in common and repr(common[name]) != repr(value):
                    msg = (
                        f"Packages side by side should agree on hyperparameters; {name} is "
                        f"{common[name]!r} and {value!r}. Pass `hyperparameters`."
                    )
                    self.warn_about_result_data_problem(msg)
                common.setdefault(name, value)
        return common


def side_by_side(*parts: object) -> MultipleResultPackageWrapper:
    """Wrap packages, metrics and dicts of results; a wrapper among them gives its packages."""
    packages: list[AbstractResultPackage] = []
    for part in parts:
        if isinstance(part, MultipleResultPackageWrapper):
            packages += part.result_packages
        elif isinstance(part, AbstractResultPackage):
            packages.append(part)
        else:
            packages.append(PreCalculatedResultPackage(results_of(part)))
    strict = any(getattr(part, "strict_content_check", False) for part in parts)
    wrapper = MultipleResultPackageWrapper(strict)
    wrapper.prepare_result_package(packages)
    for part in parts:
        if isinstance(part, MultipleResultPackageWrapper):
            wrapper.add_merge_dicts(part._added)
    return wrapper


def _checked(packages: Any) -> list[AbstractResultPackage]:
    listed = list(packages) if isinstance(packages, Iterable) else [packages]
    for package in listed:
        if not isinstance(package, AbstractResultPackage):
            msg = (
                "A MultipleResultPackageWrapper takes a list of result packages that have their "
                f"results; {type(package).__name__} came."
            )
            raise MetricTypeError(msg)
    if not listed:
        msg = "A MultipleResultPackageWrapper needs at least one package; the list is empty."
        raise MetricInputError(msg)
    return listed
