"""Result packages around metrics of other libraries, which are never imported here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tt_metrics._core.inputs import as_array
from tt_metrics._core.state import State
from tt_metrics._core.value import flattened
from tt_metrics._core.whole import Kept
from tt_metrics._errors import MetricInputError, MetricTypeError, NoDataError
from tt_metrics._packages.base import AbstractResultPackage
from tt_metrics._packages.streamed import StreamedResultPackage

__all__ = ["HFEvaluateResultPackage", "TorchMetricsPackage"]


class TorchMetricsPackage(AbstractResultPackage):
    """The results of a torchmetrics metric or collection: 'TorchMetricsResult'.

    It is filled with whole predictions (`prepare_result_package`) or batch by batch (`update`).
    Results are called ``<name>_PTLMetrics``; the name is that in a collection, or the metric's
    class.

    With whole predictions the metric computes from them alone, also where several processes run:
    one of them may have them all. Filled batch by batch, it gathers from the other processes as
    torchmetrics does, so all of them must compute.

    Args:
        torch_metrics: The metric or `MetricCollection`; it is filled and reset.
    """

    def __init__(self, torch_metrics: Any) -> None:
        _check_methods(torch_metrics, "torch_metrics", ("update", "compute", "reset"))
        super().__init__("TorchMetricsResult", np_array=False)
        self.torch_metrics = torch_metrics
        self._filled = False

    def prepare_result_package(
        self, y_true: Any, y_predicted: Any, hyperparameters: Any = None, **kwargs: Any
    ) -> None:
        """Take targets and predictions, in place of all that came before, and compute."""
        _check_tensors(y_true, y_predicted)  # before anything is forgotten
        self.metric_reset()
        self.update(y_true, y_predicted)
        with _alone(self.torch_metrics):
            super().prepare_result_package(y_true, y_predicted, hyperparameters, **kwargs)

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        """Take in one batch.

        Args:
            y_true: Targets, as tensors; or lists of texts, where the metric is on text.
            y_predicted: Predictions, likewise.

        Raises:
            MetricInputError: Numbers came as something else than tensors.
        """
        _check_tensors(y_true, y_predicted)
        self.torch_metrics.update(y_predicted, y_true)
        self._filled, self.results_dict = True, None

    def prepare_results_dict(self) -> dict[str, Any]:
        """The results by name, as plain numbers and lists."""
        results = self.metric_compute()
        if not isinstance(results, Mapping):
            results = {type(self.torch_metrics).__name__: results}
        return {f"{name}_PTLMetrics": _plain(result) for name, result in results.items()}

    def get_results(self) -> dict[str, Any]:
        """The results by name, of all data so far."""
        if self.results_dict is None:
            if not self._filled:
                msg = f"{self!r} must see data before its results are asked for; none came."
                raise NoDataError(msg)
            self.results_dict = self._completed(self.prepare_results_dict())
        return self.results_dict

    def compute(self) -> dict[str, float]:
        """The numbers by name, flat."""
        return flattened(self.get_results())

    def metric_compute(self) -> Any:
        """What the torchmetrics object computes, as it gives it."""
        return self.torch_metrics.compute()

    def metric_reset(self) -> None:
        """Forget all data and results."""
        self.torch_metrics.reset()
        self.y_true, self.y_predicted = None, None
        self._filled, self.results_dict, self._added = False, None, {}


class HFEvaluateResultPackage(StreamedResultPackage):
    """The results of a metric of Hugging Face's ``evaluate``: 'HFEvaluateResult'.

    Results are called ``<name>_HFEvaluate``. The batches are kept here and given to the metric's
    ``compute`` in one call: its own ``add_batch`` could not be undone when a batch fails, and its
    ``compute`` forgets what it was given.

        >>> class WordCount:  # what `evaluate.load` gives has this method
        ...     def compute(self, *, predictions, references, unit="word"):
        ...         return {unit: sum(len(text.split()) for text in predictions)}
        >>> package = HFEvaluateResultPackage(WordCount(), unit="token")
        >>> package.prepare_result_package(["a b"], ["a b c"])
        >>> package.get_results()
        {'token_HFEvaluate': 3}

    Args:
        hf_evaluate_metric: What ``evaluate.load`` or ``evaluate.combine`` gives.
        use_models_additional_results: Pass what else came with the predictions, such as the
            sources of translations, to ``compute`` by name.
        **kwargs: Further arguments of ``compute``, such as ``average="macro"``.
    """

    def __init__(
        self,
        hf_evaluate_metric: Any,
        use_models_additional_results: bool = True,
        **kwargs: Any,
    ) -> None:
        _check_methods(hf_evaluate_metric, "hf_evaluate_metric", ("compute",))
        super().__init__("HFEvaluateResult", np_array=False, **kwargs)
        self.hf_evaluate_metric = hf_evaluate_metric
        self.use_models_additional_results = use_models_additional_results
        self.reset()

    def prepare_results_dict(self) -> dict[str, Any]:
        """Let the metric compute from all data so far."""
        kept: Kept = self._states[0]  # type: ignore[assignment]  # made below
        if not kept.count:
            msg = f"{self!r} must see data before its results are asked for; none came."
            raise NoDataError(msg)
        references, predictions = kept.whole
        results = self.hf_evaluate_metric.compute(
            predictions=predictions, references=references, **self._arguments()
        )
        return {f"{name}_HFEvaluate": _plain(result) for name, result in results.items()}

    def _arguments(self) -> dict[str, Any]:
        came = self.additional_results if self.use_models_additional_results else {}
        if twice := sorted(self.package_metadata.keys() & came.keys()):
            msg = (
                f"An argument of compute must have one value; {twice} came to the constructor and "
                "with the predictions. Leave one out, or set use_models_additional_results=False."
            )
            raise MetricInputError(msg)
        return self.package_metadata | came

    def _fresh_states(self) -> list[State]:
        return [Kept(np_array=False)]


def _check_methods(metric: Any, name: str, methods: tuple[str, ...]) -> None:
    if missing := [method for method in methods if not callable(getattr(metric, method, None))]:
        msg = (
            f"{name} must be an object with the methods {', '.join(methods)}; "
            f"{metric!r} lacks {', '.join(missing)}."
        )
        raise MetricTypeError(msg)
    if isinstance(metric, type):
        msg = f"{name} must be an object, not a class: {metric.__name__} came. Construct it."
        raise MetricTypeError(msg)


def _check_tensors(*parts: Any) -> None:
    """Refuse numbers that are no tensors; texts and dicts in lists are what some metrics take."""
    for part in parts:
        if came := _no_tensor(part):
            msg = f"torchmetrics takes tensors; {came} came. Convert with torch.as_tensor."
            raise MetricInputError(msg)


def _no_tensor(values: Any) -> str | None:
    if isinstance(values, np.ndarray):
        return "a NumPy array"
    if hasattr(values, "__array__") and not hasattr(values, "detach"):  # such as a pandas Series
        return type(values).__name__
    while isinstance(values, (list, tuple)) and len(values):
        values = values[0]
        if isinstance(values, (int, float, np.ndarray, np.generic)):
            return "a list of numbers"
    return None


@contextmanager
def _alone(metric: Any) -> Iterator[None]:
    """Keep torchmetrics from asking other processes, which may have nothing to say."""
    parts = [part for part in metric.modules() if hasattr(part, "distributed_available_fn")]
    before = [part.distributed_available_fn for part in parts]
    try:
        _set_available(parts, [_not_distributed] * len(parts))
        yield
    finally:
        _set_available(parts, before)


def _set_available(parts: list[Any], answers: list[Callable[[], bool]]) -> None:
    for part, answer in zip(parts, answers, strict=True):
        part.distributed_available_fn = answer


def _not_distributed() -> bool:
    return False


def _plain(result: Any) -> Any:
    """Numbers and lists for tensors and arrays."""
    if isinstance(result, Mapping):
        return {name: _plain(value) for name, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [_plain(value) for value in result]
    if hasattr(result, "detach") or isinstance(result, (np.ndarray, np.generic)):
        return as_array(result).tolist()  # a number where there are no axes
    return result
