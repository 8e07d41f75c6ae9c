"""Evaluate metrics during training and say which of them an epoch's line shows."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopTypeError, LoopValueError
from tt_loop.protocols import Metric, ResultPackage

if TYPE_CHECKING:
    from tt_loop.evaluation.loop_evaluation import Part
    from tt_loop.loop import TrainLoop

__all__ = [
    "Evaluated",
    "ModelPerformanceEvaluation",
    "ModelPerformancePrintReport",
    "evaluate_package",
    "evaluate_whole",
]

_log = logging.getLogger(__name__)


class Evaluated(NamedTuple):
    """What a result package said of a whole set, and what it said it of."""

    results: dict[str, Any]
    y_true: Any
    y_predicted: Any


def evaluate_whole(
    loop: TrainLoop, package: ResultPackage, part: Part, hyperparams: Any = None
) -> Evaluated | None:
    """Evaluate a result package on all predictions of a part of a loop's data.

    Every process must call it; rank 0 gets the results, the others ``None``.
    """
    found = loop.predict_part_on_main(part)
    extra: dict[str, Any] = {}
    if getattr(package, "requires_loss", False):
        evaluate: Callable[[], Any] = getattr(loop, f"evaluate_loss_on_{part}_set")
        extra["loss"] = evaluate()
    if found is None:
        return None
    y_predicted, y_true, metadata = found
    hyperparams = copy.copy(hyperparams)  # what a package adds to them stays its own
    package.prepare_result_package(
        y_true, y_predicted, hyperparameters=hyperparams, **metadata, **extra
    )
    return Evaluated(copy.deepcopy(dict(package.get_results())), y_true, y_predicted)


def evaluate_package(
    loop: TrainLoop, package: Metric | ResultPackage, part: Part, hyperparams: Any = None
) -> dict[str, Any]:
    """The results of a metric or a result package on a part of a loop's data, in every process.

    A mergeable metric (also a result package that is one) takes the predictions batch by batch in
    each process and keeps none; any other package gets the whole set on rank 0.
    """
    if isinstance(package, Metric):
        return loop.evaluate_metric(loop.loader(part), package, {"type": part})
    evaluated = evaluate_whole(loop, package, part, hyperparams)
    strategy, _ = loop.ready()
    return strategy.comm.broadcast_object({} if evaluated is None else evaluated.results)


class ModelPerformanceEvaluation(Callback):
    """Evaluate a result package or metric during training and put its numbers into the history.

    The names get a prefix: ``val_``, ``train_``, and at the end ``train_end_val_`` and
    ``train_end_train_``.

    Args:
        result_package: A `ResultPackage` or a `Metric`.
        args: Hyperparameters, handed to the result package.
        on_each_epoch: Evaluate after epochs; otherwise only at the end.
        on_train_data: Evaluate on the training set.
        on_val_data: Evaluate on the validation set.
        eval_frequency: Evaluate every so many epochs; by default each.
    """

    may_change_weights = False

    def __init__(
        self,
        result_package: Metric | ResultPackage,
        args: Any = None,
        on_each_epoch: bool = True,
        on_train_data: bool = False,
        on_val_data: bool = True,
        eval_frequency: int | None = None,
    ) -> None:
        super().__init__("Model performance evaluation")
        if not isinstance(result_package, Metric | ResultPackage):
            got = type(result_package).__name__
            msg = f"result_package must be a ResultPackage or a Metric, got {got}."
            raise LoopTypeError(msg)
        if not (on_train_data or on_val_data):
            msg = "ModelPerformanceEvaluation needs on_train_data or on_val_data, got neither."
            raise LoopValueError(msg)
        self.result_package = result_package
        self.args = args
        self.on_each_epoch = on_each_epoch
        self.parts: list[tuple[Part, str]] = []
        if on_train_data:
            self.parts.append(("train", "train"))
        if on_val_data:
            self.parts.append(("validation", "val"))
        self.eval_frequency = eval_frequency or 1

    def on_train_loop_registration(self) -> None:
        """Say now what would fail after the first epoch."""
        for part, _ in self.parts:
            self.train_loop_obj.loader(part)

    def on_epoch_end(self) -> None:
        """Evaluate, if it is this epoch's turn."""
        if self.on_each_epoch and self.train_loop_obj.epochs_done % self.eval_frequency == 0:
            self._evaluate("")

    def on_validation_inside_epoch(self) -> None:
        """Evaluate on the validation set, together with its loss."""
        if self.on_each_epoch:
            self._evaluate("", inside_epoch=True)

    def on_train_end(self) -> None:
        """Evaluate the trained model."""
        self._evaluate("train_end_")

    def _evaluate(self, prefix: str, *, inside_epoch: bool = False) -> None:
        loop = self.train_loop_obj
        for part, short in self.parts:
            if inside_epoch and part != "validation":
                continue
            results = evaluate_package(loop, self.result_package, part, self.args)
            for name, value in _flat(results).items():
                loop.insert_metric_result_into_history(f"{prefix}{short}_{name}", value)


class ModelPerformancePrintReport(Callback):
    """Show these metrics of the history in each epoch's line.

    Args:
        metrics: Names in the history, such as ``'val_loss'`` and ``'val_Accuracy'``.
        on_each_epoch: Show them after epochs; otherwise they are only logged at the end.
        report_frequency: Show them after every so many epochs, and the losses after the others.
        strict_metric_reporting: Raise when a metric is not measured in an epoch.
        list_tracked_metrics: Log the names of all metrics that there are.
    """

    may_change_weights = False

    def __init__(
        self,
        metrics: Sequence[str],
        on_each_epoch: bool = True,
        report_frequency: int | None = None,
        strict_metric_reporting: bool = True,
        list_tracked_metrics: bool = False,
    ) -> None:
        super().__init__("Model performance report", execution_order=97)
        if isinstance(metrics, str) or not metrics:
            msg = f"metrics must be a list of at least one name, got {metrics!r}."
            raise LoopValueError(msg)
        if report_frequency is not None and report_frequency < 1:
            msg = f"report_frequency must be at least 1, got {report_frequency}."
            raise LoopValueError(msg)
        self.metrics = list(metrics)
        self.on_each_epoch = on_each_epoch
        self.report_frequency = report_frequency or 1
        self.strict_metric_reporting = strict_metric_reporting
        self.list_tracked_metrics = list_tracked_metrics

    def on_epoch_end(self) -> None:
        """Choose what the epoch's line shows, and look whether it is there."""
        loop = self.train_loop_obj
        turn = self.on_each_epoch and loop.epochs_done % self.report_frequency == 0
        loop.reported_metrics = self.metrics if turn else None
        if turn:
            self._check(f"after epoch {loop.epoch}")

    def on_train_end(self) -> None:
        """Log what was measured at the end."""
        history = self.train_loop_obj.train_history
        if not self.on_each_epoch:
            self._check("at the end")
        values = {name: history[name][-1] for name in self._at_the_end() if name in history}
        if values and self.train_loop_obj.is_main_process():
            _log.info("at the end: %s", values)

    def _at_the_end(self) -> list[str]:
        own = [] if self.on_each_epoch else self.metrics
        return [*own, *(f"train_end_{name}" for name in self.metrics)]

    def _check(self, when: str) -> None:
        loop = self.train_loop_obj
        history = loop.train_history
        if self.list_tracked_metrics and loop.is_main_process():
            _log.info("metrics %s: %s", when, sorted(history))
        missing = [name for name in self.metrics if name not in history]
        later = loop.callbacks_handler.may_measure_later()
        if missing and self.strict_metric_reporting and not later:
            msg = (
                f"The report shows {missing}, which the history does not have {when}; it has "
                f"{sorted(history)}. Name some of these, add the evaluation that measures them, "
                "or pass strict_metric_reporting=False."
            )
            raise LoopValueError(msg)


def _flat(results: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested results as one dict, names joined by an underscore."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}_"))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
