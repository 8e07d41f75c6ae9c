"""The part of `TrainLoop` that evaluates: losses, predictions and metrics of its sets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import nn

from tt_loop.checks import required
from tt_loop.errors import LoopValueError
from tt_loop.evaluation.evaluator import Evaluator, Predicted
from tt_loop.evaluation.store import ModelPredictionStore
from tt_loop.protocols import Collective, Metric, PredictionSink, Strategy
from tt_loop.training.sharded import own_part

if TYPE_CHECKING:
    from tt_loop.callbacks.handler import CallbacksHandler
    from tt_loop.training.settings import FitSettings

__all__ = ["LoopEvaluation"]

T = TypeVar("T")

Part = Literal["train", "validation", "test"]
Loss = float | dict[str, float]
Predictions = tuple[Any, Any, dict[str, Any]]

_SHORT = {"train": "train", "validation": "val", "test": "test"}


class LoopEvaluation:
    """Evaluates a loop's model on its sets and on other loaders.

    What is computed of the loop's own sets is kept in ``prediction_store`` and given again until
    the weights, the criterion or the loader have changed. A data set that changes in itself cannot
    be seen into: pass ``force_prediction=True`` then.
    """

    model: Any
    criterion: Any
    train_loader: Any
    validation_loader: Any
    test_loader: Any
    total_iteration_idx: int
    collate_batch_pred_fn: Callable[[Any, list[Any]], list[Any]]
    pred_transform_fn: Callable[[list[Any]], Any]
    prediction_store: ModelPredictionStore
    callbacks_handler: CallbacksHandler
    settings: FitSettings
    _newest_key: Hashable
    _number_of_key: int

    def ready(self) -> tuple[Strategy, nn.Module]:
        """The strategy and the prepared model."""
        raise NotImplementedError

    def loader(self, part: Part) -> Iterable[Any]:
        """The loader of a part of the data.

        Raises:
            LoopValueError: When the loop was given none.
        """
        what = f"a {part}_loader"
        loader: Iterable[Any] = required(getattr(self, f"{part}_loader"), what, f"The {part} set")
        return loader

    # Losses

    def evaluate_loss_on_train_set(
        self, force_prediction: bool = False, float_dict_format: bool = False
    ) -> Loss:
        """Mean loss over the training set, in evaluation mode.

        Args:
            force_prediction: Compute it even if it is known.
            float_dict_format: Give it in a dict, also if there is one loss only.
        """
        return self._loss_of("train", force_prediction, float_dict_format)

    def evaluate_loss_on_validation_set(
        self, force_prediction: bool = False, float_dict_format: bool = False
    ) -> Loss:
        """Mean loss over the validation set; see `evaluate_loss_on_train_set`."""
        return self._loss_of("validation", force_prediction, float_dict_format)

    def evaluate_loss_on_test_set(
        self, force_prediction: bool = False, float_dict_format: bool = False
    ) -> Loss:
        """Mean loss over the test set; see `evaluate_loss_on_train_set`."""
        return self._loss_of("test", force_prediction, float_dict_format)

    def evaluate_model_loss(self, data_loader: Iterable[Any], dataset_info: Any = None) -> Loss:
        """Mean loss over the samples of a loader; of a `MultiLoss`, each by its name."""
        return self._evaluator(dataset_info).loss(data_loader, _kind(dataset_info))

    def _loss_of(self, part: Part, force: bool, as_dict: bool) -> Loss:
        loader, info = self.loader(part), {"type": part}
        loss = self._kept(part, "loss", force, lambda: self.evaluate_model_loss(loader, info))
        return {"loss": loss} if as_dict and not isinstance(loss, dict) else loss

    # Predictions

    def predict_with_model(
        self,
        data_loader: Iterable[Any],
        execute_callbacks: bool = False,
        move_to_cpu: bool = True,
        dataset_info: Any = None,
    ) -> Predictions:
        """Predictions, true targets and metadata over a loader, in its dataset's order.

        Every process gets the whole set; `predict_on_main` spares the others.

        Args:
            data_loader: What to predict.
            execute_callbacks: Call ``on_after_batch_prediction`` after each batch.
            move_to_cpu: Collect on the CPU; one process can leave the values on its device.
            dataset_info: Handed to the callbacks.
        """
        found = self.predict_on_main(data_loader, execute_callbacks, move_to_cpu, dataset_info)
        return self._shared(found)

    def predict_on_main(
        self,
        data_loader: Iterable[Any],
        execute_callbacks: bool = False,
        move_to_cpu: bool = True,
        dataset_info: Any = None,
    ) -> Predictions | None:
        """As `predict_with_model`, for the main process; the others get ``None``."""

        def after_batch(predicted: Any, true: Any, metadata: Any) -> None:
            execute = self.callbacks_handler.execute
            execute("on_after_batch_prediction", predicted, true, metadata, dataset_info)

        return self._evaluator(dataset_info).predictions(
            data_loader,
            _kind(dataset_info),
            collate=self.collate_batch_pred_fn,
            transform=self.pred_transform_fn,
            after_batch=after_batch if execute_callbacks else None,
            move_to_cpu=move_to_cpu,
        )

    def predict_part_on_main(
        self, part: Part, force_prediction: bool = False
    ) -> Predictions | None:
        """The predictions of one of the loop's sets for the main process, kept there."""
        loader, info = self.loader(part), {"type": part}
        return self._kept(
            part,
            "predictions",
            force_prediction,
            lambda: self.predict_on_main(loader, dataset_info=info),
        )

    def predict_on_train_set(
        self, force_prediction: bool = False, execute_callbacks: bool = False
    ) -> Predictions:
        """Predictions, true targets and metadata of the training set, in its dataset's order.

        Args:
            force_prediction: Compute them even if they are known.
            execute_callbacks: Compute them and call ``on_after_batch_prediction`` on each batch.
        """
        return self._predictions_of("train", force_prediction, execute_callbacks)

    def predict_on_validation_set(
        self, force_prediction: bool = False, execute_callbacks: bool = False
    ) -> Predictions:
        """As `predict_on_train_set`, of the validation set."""
        return self._predictions_of("validation", force_prediction, execute_callbacks)

    def predict_on_test_set(
        self, force_prediction: bool = False, execute_callbacks: bool = False
    ) -> Predictions:
        """As `predict_on_train_set`, of the test set."""
        return self._predictions_of("test", force_prediction, execute_callbacks)

    def _predictions_of(self, part: Part, force: bool, execute_callbacks: bool) -> Predictions:
        if execute_callbacks:
            loader = self.loader(part)
            return self.predict_with_model(loader, True, dataset_info={"type": part})
        return self._shared(self.predict_part_on_main(part, force))

    def predict_batches(
        self, data_loader: Iterable[Any], dataset_info: Any = None
    ) -> Iterator[Predicted]:
        """The model's predictions batch by batch; nothing is kept.

        Of several processes each gets its own part of the data. Read it to its end, or close it:
        until then what callbacks do around an evaluation, such as putting averaged weights in,
        lasts.

        Yields:
            The samples' numbers in their data set, predictions, targets and metadata, on the CPU.
        """
        return self._evaluator(dataset_info).stream(data_loader, _kind(dataset_info))

    def predict_to(
        self, sink: PredictionSink, data_loader: Iterable[Any], dataset_info: Any = None
    ) -> None:
        """Write the model's predictions batch by batch to a sink, and close it.

        Of several processes each writes its own part of the data.
        """
        try:
            for ids, y_pred, y_true, metadata in self.predict_batches(data_loader, dataset_info):
                sink.write(ids, {**_checked_names(metadata), "y_pred": y_pred, "y_true": y_true})
        except BaseException:
            sink.discard()
            raise
        sink.close()

    # Metrics

    def evaluate_metric(
        self, data_loader: Iterable[Any], metric: Metric, dataset_info: Any = None
    ) -> dict[str, Any]:
        """The numbers of a mergeable metric over a loader; no predictions are kept."""
        return self._evaluator(dataset_info).metrics(data_loader, _kind(dataset_info), metric)

    def _evaluator(self, dataset_info: Any) -> Evaluator:
        strategy, model = self.ready()
        return Evaluator(
            strategy,
            model,
            self.criterion,
            tell=lambda hook: self.callbacks_handler.execute(hook, dataset_info),
            limit=self.settings.dry_run,
        )

    def _shared(self, found: T | None) -> T:
        """What rank 0 has, for every process."""
        whole: Any = self.ready()[0].comm.broadcast_object(found)
        return whole  # type: ignore[no-any-return]  # rank 0 has it, and now all have

    def _kept(self, part: Part, what: str, force: bool, compute: Callable[[], T]) -> T:
        """A value from the store, or computed now and kept there."""
        comm, store, short = self.ready()[0].comm, self.prediction_store, _SHORT[part]
        key = self._key() if comm.world_size == 1 else self._agreed_key(comm)
        if not force and getattr(store, f"has_{short}_{what}")(key):
            value: T = getattr(store, f"get_{short}_{what}")(key)
            return value
        value = compute()
        store.auto_purge(key)
        getattr(store, f"insert_{short}_{what}")(value, key, force_prediction=True)
        return value

    def _agreed_key(self, comm: Collective) -> int:
        """The number of rank 0's key: in the others, buffers may be other ones until they evaluate.

        So all processes compute a value, or none does.
        """
        if comm.rank == 0 and self._newest_key != (key := self._key()):
            self._newest_key, self._number_of_key = key, self._number_of_key + 1
        return comm.broadcast_object(self._number_of_key)

    def _key(self) -> Hashable:
        """Changes with whatever the model's values over the loop's sets depend on."""
        loaders = (self.train_loader, self.validation_loader, self.test_loader)
        modules = [part for part in (self.model, self.criterion) if isinstance(part, nn.Module)]
        tensors = [tensor for part in modules for tensor in (*part.parameters(), *part.buffers())]
        for loader in loaders:
            tensors += getattr(getattr(loader, "dataset", loader), "tensors", ())
        versions = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
        contents = _contents(self.model)  # what is written through parameter.data has no version
        others = (self.criterion, self.collate_batch_pred_fn, self.pred_transform_fn, *loaders)
        return (
            self.total_iteration_idx,
            self.settings.dry_run,
            versions,
            contents,
            *map(_Same, others),
        )


def _contents(model: nn.Module) -> bytes:
    """The sum of each weight and buffer, bit for bit: one reading of the model."""
    found = (own_part(each.detach()) for each in (*model.parameters(), *model.buffers()))
    tensors = [each for each in found if each.numel()]
    if not tensors:
        return b""
    wide = None if tensors[0].device.type == "mps" else torch.float64  # which mps has not
    sums = [tensor.sum(dtype=wide).to(tensors[0].device) for tensor in tensors]
    return torch.stack([each.to(sums[0]) for each in sums]).cpu().numpy().tobytes()


class _Same:
    """Equal to the same object only, and keeps it alive: no other can get its identity."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _checked_names(metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    taken = sorted({"y_pred", "y_true"} & set(metadata or ()))
    if taken:
        msg = f"Metadata must not be called {', '.join(taken)}: these are the model's own."
        raise LoopValueError(msg)
    return metadata or {}


def _kind(dataset_info: Any) -> str:
    return str(dataset_info.get("type", "given")) if isinstance(dataset_info, Mapping) else "given"
