"""`PyTorchModelPredictor`: predicts and evaluates one loader with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from tt_loop.callbacks.base import Callback
from tt_loop.callbacks.performance import evaluate_package, evaluate_whole
from tt_loop.errors import LoopTypeError, LoopValueError, MissingPackageError
from tt_loop.evaluation.evaluator import Predicted, append_predictions, torch_cat_transf
from tt_loop.evaluation.loop_evaluation import Loss, Predictions
from tt_loop.evaluation.metric_list import evaluated_metrics, value_of
from tt_loop.evaluation.store import ModelPredictionStore
from tt_loop.loop import TrainLoop
from tt_loop.plugins import find_precision, make_precision
from tt_loop.protocols import Metric, PredictionSink, ResultPackage

__all__ = ["PyTorchModelPredictor", "ResultSaver"]

_INFO = {"type": "test"}


class ResultSaver(Protocol):
    """Saves what a result package said. `tt_experiment.api.save_results` with a folder is one."""

    def __call__(
        self,
        results: Mapping[str, Mapping[str, Any]],
        predictions: Mapping[str, tuple[Any, Any]] | None,
        /,
        *place: Any,
        **options: Any,
    ) -> object:
        """Save results by the package's name, and targets and predictions where there are any.

        Args:
            results: The numbers by name, under the package's name.
            predictions: Targets and predictions under the package's name.
            *place: What `PyTorchModelPredictor.evaluate_model` was told of where to save.
            **options: What it was told of how to save.
        """
        ...


class PyTorchModelPredictor:
    """Predicts with a model and evaluates it on one loader.

    Nothing is kept between two calls: each says what the model, the data and the criterion are now.
    The model is left in the mode, training or evaluation, in which it was. Predictions stand in the
    order of the data set.

    Args:
        model: A `TTModel`, any `torch.nn.Module`, or a `ModelWrap`. It is moved to the device.
        data_loader: What to predict: a `DataLoader`, a `TensorLoader` or any iterable of batches.
        callbacks: Called by `execute_batch_end_callbacks` and `execute_epoch_end_callbacks`. The
            loader is both the validation and the test set of their ``train_loop_obj``.
        criterion: For `model_get_loss` and for result packages that need the loss.
        device: Where to predict; by default an accelerator if there is one.
        use_amp: Mixed precision, as `TrainLoop` takes it.
        collate_batch_pred_fn: Collects the predictions of a batch.
        pred_transform_fn: Joins the collected predictions.
        save_results: Saves the results in `evaluate_model`.

    Attributes:
        train_loop: The loop that computes everything; it can evaluate, but not train.

    Example:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> x = torch.tensor([[1.0], [2.0], [3.0]])
        >>> double = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(double.weight, 2.0)
        >>> predictor = PyTorchModelPredictor(double, DataLoader(TensorDataset(x, x)), device="cpu")
        >>> predictor.model_predict()[0].flatten()
        tensor([2., 4., 6.])
        >>> predictor.model_get_loss(nn.L1Loss())
        2.0
    """

    def __init__(
        self,
        model: Any,
        data_loader: Iterable[Any],
        callbacks: Sequence[Callback] | None = None,
        *,
        criterion: Any = None,
        device: torch.device | str | None = None,
        use_amp: Any = False,
        collate_batch_pred_fn: Callable[[Any, list[Any]], list[Any]] = append_predictions,
        pred_transform_fn: Callable[[list[Any]], Any] = torch_cat_transf,
        save_results: ResultSaver | None = None,
    ) -> None:
        if data_loader is None:
            msg = "A PyTorchModelPredictor needs a data_loader, got None."
            raise LoopValueError(msg)
        self.save_results = save_results
        if device is not None:
            device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
            use_amp = make_precision(find_precision(use_amp), use_amp, device)
        is_plain = isinstance(model, nn.Module) and not hasattr(model, "get_loss")
        loop = self.train_loop = TrainLoop(
            model,
            None,
            data_loader,
            data_loader,
            None,
            _no_criterion if criterion is None and is_plain else criterion,
            collate_batch_pred_fn=collate_batch_pred_fn,
            pred_transform_fn=pred_transform_fn,
            use_amp=use_amp,
            progress=False,
        )
        loop.device = loop.device if device is None else device
        loop.prediction_store = _KeepsNothing()
        loop.callbacks_handler.register_callbacks(callbacks)

    @property
    def data_loader(self) -> Iterable[Any]:
        """What is predicted."""
        return self.train_loop.loader("test")

    def model_predict(self, execute_callbacks: bool = False) -> Predictions:
        """Predictions, true targets and metadata of the loader.

        Args:
            execute_callbacks: Call ``on_after_batch_prediction`` after each batch.
        """
        return self.train_loop.predict_with_model(
            self.data_loader, execute_callbacks, dataset_info=_INFO
        )

    def model_get_loss(self, loss_criterion: Any = None) -> Loss:
        """Mean loss over the loader's samples; of a `MultiLoss`, each by its name.

        Args:
            loss_criterion: By default the predictor's own criterion.

        Raises:
            LoopValueError: When a plain module has no criterion.
        """
        loop = self.train_loop
        strategy, _ = loop.ready()
        own = loop.criterion
        if isinstance(loss_criterion, nn.Module):
            loss_criterion.to(strategy.device)
        if loss_criterion is not None:
            loop.criterion = loss_criterion
        try:
            return loop.evaluate_model_loss(self.data_loader, _INFO)
        finally:
            loop.criterion = own

    def predict_batches(self) -> Iterator[Predicted]:
        """The predictions batch by batch; see `TrainLoop.predict_batches`."""
        return self.train_loop.predict_batches(self.data_loader, _INFO)

    def predict_to(self, sink: PredictionSink) -> None:
        """Write the predictions batch by batch to a sink, and close it."""
        self.train_loop.predict_to(sink, self.data_loader, _INFO)

    # Metrics and result packages

    def evaluate_metric(self, metric_class: Any, return_metric: bool = True) -> Any:
        """Evaluate a metric.

        Args:
            metric_class: A class, or any callable, that takes all true targets and predictions; or
                a mergeable `Metric` object, which takes them batch by batch and keeps none.
            return_metric: Return the metric; otherwise its value (``get_metric()``), or the numbers
                of a mergeable one (``compute()``).
        """
        return self.evaluate_metric_list([metric_class], return_metric)[0]

    def evaluate_metric_list(
        self, metrics_class_list: Sequence[Any], return_metric_list: bool = True
    ) -> list[Any]:
        """Evaluate several metrics, in one pass over the data for each of the two kinds.

        Args:
            metrics_class_list: As `evaluate_metric` takes them.
            return_metric_list: Return the metrics; otherwise their values.
        """
        loop, given = self.train_loop, list(metrics_class_list)
        found = evaluated_metrics(
            given,
            lambda metric: loop.evaluate_metric(self.data_loader, metric, _INFO),
            self.model_predict,
        )
        if return_metric_list:
            return found
        return [value_of(*pair) for pair in zip(given, found, strict=True)]

    def evaluate_result_package(
        self, result_package: Metric | ResultPackage, return_result_package: bool = True
    ) -> Any:
        """Evaluate a result package.

        Args:
            result_package: Gets targets, predictions and metadata; a mergeable one, batch by batch.
            return_result_package: Return the package; otherwise its results.
        """
        _check_package(result_package, Metric | ResultPackage)
        results = evaluate_package(self.train_loop, result_package, "test")
        return result_package if return_result_package else results

    def evaluate_model(
        self,
        result_package: ResultPackage,
        *place: Any,
        save_true_pred_labels: bool = False,
        **options: Any,
    ) -> object:
        """Evaluate a result package and save its results.

        This package saves nothing itself. With tt-experiment::

            save = functools.partial(tt_experiment.api.save_results, folder)
            predictor = PyTorchModelPredictor(model, loader, save_results=save)
            predictor.evaluate_model(package, save_true_pred_labels=True)

        Args:
            result_package: What to evaluate.
            *place: Where to save; handed to ``save_results``.
            save_true_pred_labels: Save the targets and predictions too.
            **options: How to save; handed to ``save_results``.

        Returns:
            What ``save_results`` returned.

        Raises:
            MissingPackageError: When the predictor has no ``save_results``.
        """
        if self.save_results is None:
            msg = (
                "evaluate_model needs the predictor's save_results, got none: pip install "
                "tt-experiment and pass save_results=functools.partial("
                "tt_experiment.api.save_results, folder), or any function of results and "
                "predictions. evaluate_result_package evaluates without saving."
            )
            raise MissingPackageError(msg)
        _check_package(result_package, ResultPackage)
        name = result_package.pkg_name or type(result_package).__name__
        found = evaluate_whole(self.train_loop, result_package, "test")
        assert found is not None  # noqa: S101  # this is the only process
        labels = {name: (found.y_true, found.y_predicted)} if save_true_pred_labels else None
        return self.save_results({name: found.results}, labels, *place, **options)

    # Callbacks

    def execute_batch_end_callbacks(self) -> None:
        """Call the callbacks' ``on_batch_end``."""
        self.train_loop.callbacks_handler.execute("on_batch_end")

    def execute_epoch_end_callbacks(self) -> None:
        """Call the callbacks' ``on_epoch_end``."""
        self.train_loop.callbacks_handler.execute("on_epoch_end")


class _KeepsNothing(ModelPredictionStore):
    """Everything is computed anew: nobody can see all that a model's predictions depend on."""

    def _insert(self, name: str, value: Any, key: Hashable, force: bool) -> None:
        """Forget it."""


def _check_package(package: object, kinds: Any) -> None:
    if not isinstance(package, kinds):
        msg = f"A result package must be a ResultPackage, got {type(package).__name__}."
        raise LoopTypeError(msg)


def _no_criterion(*_: Any) -> Any:
    msg = "The loss of a plain module needs a criterion, got none: pass one to model_get_loss."
    raise LoopValueError(msg)
