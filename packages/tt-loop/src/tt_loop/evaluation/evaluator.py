"""Losses, predictions and metrics of a model over a loader.

Evaluation is neutral: the modules' training flags and every random state are put back, and nothing
is drawn from the generators that training uses. On several processes each takes one contiguous
part of the dataset, so that what comes together in rank order is every sample once, in the
dataset's order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tt_loop.data.agreement import Agreement
from tt_loop.data.batches import Batches, batch_weight, empty_message, to_device
from tt_loop.data.torch_loader import generators_of, kept_generators
from tt_loop.errors import EmptyLoaderError, LoopTypeError, LoopValueError
from tt_loop.model import bound_predictions
from tt_loop.protocols import Metric, Strategy
from tt_loop.rng import OwnDraws, preserved_rng
from tt_loop.training.losses import LossRecord, agreed_names
from tt_loop.training.multi_loss_optim import MultiLoss

__all__ = [
    "Evaluator",
    "Predicted",
    "append_concat_predictions",
    "append_predictions",
    "keep_list_transf",
    "kept_modes",
    "on_cpu",
    "split_loss",
    "torch_cat_transf",
]

AfterBatch = Callable[[Any, Any, Any], None]
Compute = Callable[[Any], Any]
Record = Callable[[Any, Any], None]

_CPU = torch.device("cpu")
_END = object()
_NOTHING = nullcontext()
_SEQUENCES = (list, tuple)


class Predicted(NamedTuple):
    """What a model says of one batch.

    Attributes:
        ids: Numbers of the samples in their data set; of a loader whose order is its own, their
            places in the order in which they were read.
        y_pred: Predictions.
        y_true: Targets.
        metadata: Further values of each sample.
    """

    ids: Sequence[int]
    y_pred: Any
    y_true: Any
    metadata: Any


def append_concat_predictions(y_batch: Any, predictions: list[Any]) -> list[Any]:
    """Collect a batch's predictions: a list's items one by one, anything else as it is."""
    if isinstance(y_batch, list):
        predictions.extend(y_batch)
    else:
        predictions.append(y_batch)
    return predictions


def append_predictions(y_batch: Any, predictions: list[Any]) -> list[Any]:
    """Collect a batch's predictions: append them to the list."""
    predictions.append(y_batch)
    return predictions


def torch_cat_transf(predictions: list[Any]) -> Any:
    """Join the batches' predictions.

    Tensors and arrays are joined along their first dimension, dicts and tuples of tensors part by
    part, lists end to end.
    """
    first = predictions[0] if predictions else None
    if isinstance(first, Tensor):
        return torch.cat(predictions)
    if isinstance(first, np.ndarray):
        return np.concatenate(predictions)
    if isinstance(first, Mapping):
        return {key: torch_cat_transf([batch[key] for batch in predictions]) for key in first}
    if isinstance(first, tuple) and first and all(isinstance(part, Tensor) for part in first):
        return tuple(torch_cat_transf(list(parts)) for parts in zip(*predictions, strict=True))
    return [item for batch in predictions for item in batch]


def keep_list_transf(predictions: list[Any]) -> list[Any]:
    """Keep the list of batches as it is."""
    return predictions


def split_loss(returned: Any, batch: Any) -> tuple[Any, Any]:
    """A loss and its weight from what ``get_loss`` returned.

    Raises:
        LoopTypeError: When it is neither a scalar tensor, a `MultiLoss`, nor a pair of one of them
            and its weight.
    """
    if type(returned) is Tensor and not returned.ndim:  # nearly always
        first = batch[0] if type(batch) in _SEQUENCES and batch else None
        if type(first) is Tensor and first.ndim:  # most batches are lists that begin with one
            return returned, first.shape[0]
        return returned, batch_weight(batch)
    loss, weight = returned if type(returned) is tuple and len(returned) == 2 else (returned, None)
    if not isinstance(loss, MultiLoss) and not (isinstance(loss, Tensor) and loss.numel() == 1):
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else None
        got = shape or type(loss).__name__
        msg = (
            "get_loss must return a scalar tensor or a MultiLoss, or a pair of one of them and its "
            f"weight, got {got}."
        )
        raise LoopTypeError(msg)
    loss = loss if isinstance(loss, MultiLoss) else loss.reshape(())
    if weight is None:
        return loss, batch_weight(batch)
    return loss, weight.reshape(()).to(loss.device) if isinstance(weight, Tensor) else weight


class Evaluator:
    """Evaluates one prepared model under one strategy.

    Args:
        strategy: Where and how the model computes.
        model: The model that the strategy prepared.
        criterion: Passed to the model's ``get_loss_eval``.
        tell: Called with ``'on_evaluate_begin'`` and ``'on_evaluate_end'`` around each pass.
        limit: Read at most so many batches; 0 reads all.
    """

    def __init__(
        self,
        strategy: Strategy,
        model: nn.Module,
        criterion: Any,
        *,
        tell: Callable[[str], None] | None = None,
        limit: int = 0,
    ) -> None:
        self.strategy = strategy
        self.model: Any = strategy.evaluable(model)
        self.criterion = criterion
        self._tell = tell or (lambda _: None)
        self._limit = limit or None
        self._predict = bound_predictions(self.model, strategy.device)
        self._is_bare = type(strategy.forward()) is nullcontext

    def loss(self, loader: Iterable[Any], name: str) -> float | dict[str, float]:
        """Mean loss over the loader's samples; of a `MultiLoss`, each by its name."""
        device, criterion = self.strategy.device, self.criterion
        get_loss = self.model.get_loss_eval
        records: dict[str, LossRecord] = {}

        def compute(batch: Any) -> Any:
            return get_loss(batch, criterion, device)

        def record(batch: Any, returned: Any) -> None:
            loss, weight = split_loss(returned, batch)
            for part, value in loss.items() if isinstance(loss, MultiLoss) else [("", loss)]:
                if part not in records:
                    records[part] = LossRecord(device)
                records[part].add(value, weight)

        self._visit(loader, name, compute, record)
        comm = self.strategy.comm
        names = agreed_names(comm, records)
        if not names:
            raise EmptyLoaderError(empty_message(name, loader))
        means = {part: records.get(part, LossRecord(device)).mean(comm) for part in names}
        return means[""] if list(means) == [""] else means

    def predictions(
        self,
        loader: Iterable[Any],
        name: str,
        *,
        collate: Callable[[Any, list[Any]], list[Any]],
        transform: Callable[[list[Any]], Any],
        after_batch: AfterBatch | None = None,
        move_to_cpu: bool = True,
    ) -> tuple[Any, Any, dict[str, Any]] | None:
        """Predictions, targets and metadata of the whole set, on rank 0; else ``None``."""
        kept: list[tuple[Any, Any, dict[str, Any]]] = []
        keep = on_cpu if move_to_cpu or self.strategy.comm.world_size > 1 else _as_it_is

        def record(_: Any, found: tuple[Any, Any, Any]) -> None:
            predicted, true, extra = found
            if after_batch is not None:
                after_batch(predicted, true, extra)
            _check_lengths(predicted, true, len(kept))
            metadata = {key: keep(value) for key, value in (extra or {}).items()}
            kept.append((keep(predicted), keep(true), metadata))

        batches = self._visit(loader, name, self._predict, record)
        parts = self.strategy.comm.gather_objects(kept)
        if parts is None:
            return None
        y_pred: list[Any] = []
        y_test: list[Any] = []
        metadata: list[Mapping[str, Any]] = []
        for predicted, true, extra in batches.in_order(parts):
            y_pred, y_test = collate(predicted, y_pred), collate(true, y_test)
            metadata.append(extra)
        return transform(y_pred), transform(y_test), _joined_metadata(metadata)

    def stream(self, loader: Iterable[Any], name: str) -> Iterator[Predicted]:
        """This process's predictions batch by batch, on the CPU; nothing is kept.

        Between batches modes, gradients and random states are the caller's.
        """
        batches, first = self._batches(loader, name), 0
        own_draws = OwnDraws(self.strategy.device, generators_of(loader))
        self._tell("on_evaluate_begin")
        try:
            with closing(batches.epoch(0)) as read:
                rounds = self._rounds(batches, read)
                for number in itertools.count():
                    with own_draws.drawing(), self._evaluating(), self.strategy.forward():
                        batch, is_own = next(rounds, (_END, False))
                        if batch is _END:
                            self._check_count(number, loader, name)
                            return
                        found = on_cpu(self._predict(batch))
                    if not is_own:
                        continue
                    known = batches.samples_of(number)
                    ids = range(first, first + batch_weight(batch)) if known is None else known
                    first += len(ids)
                    yield Predicted(ids, *found)
        finally:
            batches.close()
            self._tell("on_evaluate_end")

    def metrics(self, loader: Iterable[Any], name: str, metric: Metric) -> dict[str, Any]:
        """The numbers of a mergeable metric over the loader, the same in every process."""
        metric.reset()
        update = metric.update

        def record(_: Any, found: tuple[Any, Any, Any]) -> None:
            predicted, true, _ = found
            update(true, predicted)

        self._visit(loader, name, self._predict, record)
        comm = self.strategy.comm
        if comm.world_size > 1:
            states = comm.gather_objects(metric.state)
            metric.reset()
            for state in states or ():
                metric.merge(state)
        return comm.broadcast_object(dict(metric.compute()) if comm.rank == 0 else {})

    def _batches(self, loader: Iterable[Any], name: str) -> Batches:
        comm = self.strategy.comm
        return Batches(
            loader,
            name,
            rank=comm.rank,
            world_size=comm.world_size,
            seed=None,
            limit=self._limit,
            agreement=Agreement(comm, self.strategy.device) if comm.world_size > 1 else None,
        )

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Modes are put back afterwards, and no gradients are kept."""
        with ExitStack() as stack:
            for part in (self.model, self.criterion):
                if isinstance(part, nn.Module):
                    stack.enter_context(kept_modes(part))
                    part.eval()
            stack.enter_context(torch.no_grad())
            yield

    def _visit(self, loader: Iterable[Any], name: str, compute: Compute, record: Record) -> Batches:
        """Compute this process's batches and record the results, inside all that this needs."""
        strategy = self.strategy
        batches = self._batches(loader, name)
        count = 0
        self._tell("on_evaluate_begin")
        try:
            with (
                preserved_rng(strategy.device),
                kept_generators(loader),
                self._evaluating(),
                closing(batches.epoch(0)) as read,
            ):
                for batch, is_own in self._rounds(batches, read):
                    with _NOTHING if self._is_bare else strategy.forward():
                        found = compute(batch)
                        if is_own:
                            record(batch, found)
                    count += is_own
        finally:
            batches.close()
            self._tell("on_evaluate_end")
        self._check_count(count, loader, name)
        return batches

    def _rounds(self, batches: Batches, read: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
        """This process's batches; after them fillers, while others need us in their forward.

        Where the processes need each other they agree before a round begins: once, if they know
        how many batches they have, else in each round.
        """
        ask, sized = self.strategy.eval_rounds, batches.sized
        rounds = 0 if sized is None else ask(sized)
        filler = _END
        for number in itertools.count():
            batch = next(read, _END)
            is_own = batch is not _END
            goes_on = ask(int(is_own)) > 0 if sized is None else is_own or number < rounds
            if not goes_on:
                return
            if is_own:
                filler = batch
            elif filler is _END:
                filler = batches.filler_batch()
            yield filler, is_own

    def _check_count(self, batches: int, loader: Iterable[Any], name: str) -> None:
        if batches == 0 and self.strategy.comm.world_size == 1:
            raise EmptyLoaderError(empty_message(name, loader))


@contextmanager
def kept_modes(model: nn.Module) -> Iterator[None]:
    """Put each module back afterwards into the mode, training or evaluation, it was found in."""
    found = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in found:
            module.training = training


def on_cpu(value: Any) -> Any:
    """Nested tensors, moved to the CPU."""
    return to_device(value, _CPU)


def _as_it_is(value: Any) -> Any:
    return value


def _check_lengths(predicted: Any, true: Any, batch: int) -> None:
    """Look whether a batch has as many predictions as targets, where both tell.

    Raises:
        LoopValueError: When it has not.
    """
    samples = [_samples_in(predicted), _samples_in(true)]
    if None not in samples and samples[0] != samples[1]:
        msg = (
            f"get_predictions must return a target for each prediction; in batch {batch} there are "
            f"{samples[0]} predictions and {samples[1]} targets."
        )
        raise LoopValueError(msg)


def _samples_in(value: Any) -> int | None:
    """How many samples a value has, where it tells; a list of tensors may be one of columns."""
    if isinstance(value, Tensor | np.ndarray):
        return len(value) if value.ndim else None
    plain = type(value) is list and not (value and isinstance(value[0], Tensor | list | tuple))
    return len(value) if plain else None


def _joined_metadata(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One dict of joined values from the metadata of all batches.

    Raises:
        LoopValueError: When a key is missing in some of the batches, so that its values would not
            stand beside the right predictions.
    """
    keys = {key for batch in batches for key in batch}
    for key in sorted(keys, key=str):
        missing = sum(key not in batch for batch in batches)
        if missing:
            msg = (
                f"get_predictions must return the same metadata keys for every batch; {key!r} is "
                f"missing in {missing} of {len(batches)} batches."
            )
            raise LoopValueError(msg)
    return {
        key: torch_cat_transf([batch[key] for batch in batches]) for key in sorted(keys, key=str)
    }
