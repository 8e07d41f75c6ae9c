"""`TrainLoop`: what users build and call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from tt_loop.callbacks.base import Callback
from tt_loop.callbacks.handler import CallbacksHandler
from tt_loop.checks import check_lengths, check_options, checked_loader, checked_optimizer, required
from tt_loop.data import check_shareable
from tt_loop.device import SingleDevice, default_device
from tt_loop.errors import LoopStateError
from tt_loop.evaluation import Evaluator, append_predictions, torch_cat_transf
from tt_loop.fit import Fit
from tt_loop.history import TrainingHistory
from tt_loop.measured import Measured
from tt_loop.model import as_trainable
from tt_loop.plugins import find_precision, find_strategy, make_launcher, make_precision
from tt_loop.protocols import Metric, Recorder, Strategy, Tree
from tt_loop.rng import rng_state, seed_process, set_rng_state

__all__ = ["TrainLoop"]

Part = Literal["train", "validation", "test"]

_STATE = {"model", "optimizers", "precision", "loop", "fit", "seed", "rng", "callbacks", "history"}


class TrainLoop:
    """Trains a model epoch by epoch, evaluates it, and tells callbacks about it.

    On one process without accumulation the arithmetic is that of the loop one writes by hand: the
    weights come out equal bit for bit. An epoch's loss is the mean over its samples. A fit with
    accumulation or on many processes normalises each step by the weight of all its samples, so
    that it equals the one big batch. The order of a shuffling `DataLoader` is a function of the
    seed and the epoch's number.

    Args:
        model: A `TTModel`, any `torch.nn.Module` together with a criterion, or a `ModelWrap`.
        train_loader: A `DataLoader`, or any iterable of batches that can be read anew each epoch.
            On several processes its batch size is that of one process.
        validation_loader: Batches to validate with, or ``None``.
        test_loader: Batches for the evaluation after training, or ``None``.
        optimizer: The optimizer of the model's parameters; ``None`` only evaluates.
        criterion: Passed to the model's ``get_loss``.
        collate_batch_pred_fn: Collects the predictions of a batch.
        pred_transform_fn: Joins the collected predictions.
        end_auto_eval: Compute the validation loss after every epoch (``True``), every n epochs
            (an int) or never (``False``), and the test loss at the end.
        gpu_mode: How to run: a registered name (``'single'``; with tt-parallel ``'dp'`` and
            ``'ddp'``), a `Strategy` or a `Launcher`.
        cuda_device_idx: The CUDA device to train on; by default the accelerator there is.
        use_amp: Mixed precision: ``True``, a dict of options, or a `Precision` (needs tt-parallel).
        seed: Seed of the order of shuffling loaders; by default the one that torch was seeded with.
        recorder: Takes the metrics and events of the run.
        progress: Show the progress bar and a line per epoch.

    Raises:
        LoopTypeError: For objects of the wrong kind.
        LoopValueError: For settings that cannot work.
        MissingPackageError: For a mode whose package is not installed.

    Attributes:
        epoch: Number of the present epoch, from 0.
        iteration: Number of the present batch in its epoch, from 0.
        total_iteration_idx: Number of the present batch since the beginning, from 0.
        fit_began: The counters when the present fit began.
        early_stop: Set it to end training after the present step; several processes on
            accelerators end it after the present epoch.
        max_grad_norm: Gradients are clipped to this total norm; ``None`` leaves them.
        reported_metrics: What an epoch's line shows; ``None`` shows the losses.
    """

    def __init__(
        self,
        model: Any,
        train_loader: Iterable[Any] | None,
        validation_loader: Iterable[Any] | None,
        test_loader: Iterable[Any] | None,
        optimizer: Optimizer | None,
        criterion: Any,
        *,
        collate_batch_pred_fn: Callable[[Any, list[Any]], list[Any]] = append_predictions,
        pred_transform_fn: Callable[[list[Any]], Any] = torch_cat_transf,
        end_auto_eval: bool | int = True,
        gpu_mode: Any = "single",
        cuda_device_idx: int | None = None,
        use_amp: Any = False,
        seed: int | None = None,
        recorder: Recorder | None = None,
        progress: bool = True,
    ) -> None:
        self.model, self._trainable = as_trainable(model, criterion)
        self.train_loader: Any = checked_loader(train_loader, "training")
        self.validation_loader = checked_loader(validation_loader, "validation")
        self.test_loader = checked_loader(test_loader, "test")
        self.optimizer: Any = checked_optimizer(optimizer)
        self.criterion = criterion
        self.collate_batch_pred_fn = collate_batch_pred_fn
        self.pred_transform_fn = pred_transform_fn
        self.end_auto_eval = end_auto_eval
        self.gpu_mode = gpu_mode
        self.use_amp = use_amp
        self.seed = torch.initial_seed() if seed is None else seed
        self.progress = progress

        find_strategy(gpu_mode)  # said now rather than when training is to start
        check_options(gpu_mode, use_amp, cuda_device_idx)
        self.device = default_device(cuda_device_idx)
        self.precision = make_precision(find_precision(use_amp), use_amp, self.device)
        self._strategy: Strategy | None = None
        self._prepared: Any = None

        self.epoch = self.epochs_done = 0
        self.iteration = self.total_iteration_idx = -1
        self.num_epochs = self.num_iterations = 0
        self.grad_accumulation = 1
        self.inside_epoch = False
        self.early_stop = False
        self.max_grad_norm: float | None = None
        self.reported_metrics: Sequence[str] | None = None
        self.measured = Measured(recorder)
        self.callbacks_handler = CallbacksHandler(self)
        self.experiment_timestamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        self.fit_began = self._counters()
        self._fit_open = False
        self._pending: Tree = {}

    @property
    def callbacks(self) -> list[Callback]:
        """The registered callbacks in the order in which they run."""
        return self.callbacks_handler.callbacks

    @property
    def train_history(self) -> TrainingHistory:
        """Metric values by name, one for each time they were measured."""
        return self.measured.history

    @property
    def rank(self) -> int:
        """Number of this process among those that train together."""
        return 0 if self._strategy is None else self._strategy.comm.rank

    def is_main_process(self) -> bool:
        """Whether this is the process that writes and shows things."""
        return self.rank == 0

    # Training

    def fit(
        self,
        num_epochs: int = 0,
        num_iterations: int = 0,
        callbacks: Sequence[Callback] | None = None,
        grad_accumulation: int = 1,
        **launch_options: Any,
    ) -> Any:
        """Train and return the trained model. Called again, it goes on.

        Args:
            num_epochs: Number of epochs of this fit.
            num_iterations: Number of batches of this fit, instead of epochs.
            callbacks: Added to those that the loop has.
            grad_accumulation: Number of batches whose gradients make one step.
            **launch_options: Options of the ``gpu_mode``, such as ``num_gpus`` for ``'ddp'``.

        Raises:
            LoopValueError: When not exactly one length is given, or one cannot be.
            LoopTypeError: For an unknown option or a callback that is none.
            EmptyLoaderError: When the training loader yields nothing.
        """
        check_lengths(num_epochs, num_iterations, grad_accumulation)
        required(self.train_loader, "a train_loader", "fit")
        required(self.optimizer, "an optimizer", "fit")
        self.num_epochs, self.num_iterations = num_epochs, num_iterations
        self.grad_accumulation = grad_accumulation
        launcher = make_launcher(
            find_strategy(self.gpu_mode),
            self.gpu_mode,
            device=self.device,
            precision=self.precision,
            options=launch_options,
        )
        if not launcher.in_process:
            self._check_shareable()
        if not self._fit_open:
            self.fit_began = self._counters()
        self.callbacks_handler.register_callbacks(callbacks)
        self._fit_open = True
        try:
            if launcher.in_process:
                launcher.run(self._fit_here)
            else:
                self._adopt(launcher.run(self._fit_elsewhere)[0])
        finally:
            self._fit_open = False
        return self.model

    __call__ = fit

    def _check_shareable(self) -> None:
        """Refuse here, with its own error, what would fail in each of the processes."""
        loaders = (self.train_loader, self.validation_loader, self.test_loader)
        for loader, name in zip(loaders, ("training", "validation", "test"), strict=True):
            if loader is not None:
                check_shareable(loader, name)

    def _fit_here(self, strategy: Strategy) -> None:
        self._prepare(strategy)
        Fit(self, strategy, self._prepared).run()

    def _fit_elsewhere(self, strategy: Strategy) -> Tree | None:
        """Fit in a process of its own; the first of each node gives back what has to be known."""
        self._strategy = strategy
        seed_process(self.seed, strategy.comm.rank)
        self.callbacks_handler.execute("on_multiprocess_start")
        self._fit_here(strategy)
        state = self.state_dict()
        of_rank_0 = {name: state[name] for name in ("rng", "callbacks")}
        state.update(strategy.comm.broadcast_object(of_rank_0))
        return state if os.environ.get("LOCAL_RANK", str(strategy.comm.rank)) == "0" else None

    def _adopt(self, state: Tree | None) -> None:
        """Take over the state of a fit in other processes."""
        if state is not None:
            self.load_state_dict(state)
            self.callbacks_handler.load_state_dict(self._pending.pop("callbacks"))

    def _prepare(self, strategy: Strategy) -> None:
        pending = self._pending
        self._prepared = strategy.prepare(self._trainable, self._optimizers())
        if isinstance(self.criterion, nn.Module):
            self.criterion.to(strategy.device)
        self._strategy, self.device = strategy, strategy.device
        self.callbacks_handler.load_state_dict(pending.get("callbacks", {}))
        precision = pending.get("precision", strategy.state_dict(self.model, [])["precision"])
        strategy.load_state_dict(self.model, [], {"precision": precision})  # also starts it afresh
        states = pending.get("rng", [])
        if strategy.comm.rank < len(states):
            set_rng_state(states[strategy.comm.rank], strategy.device)
        self._pending = {}

    def ready(self) -> tuple[Strategy, Any]:
        """The strategy and the prepared model: those of the last fit, else one device's."""
        if self._strategy is None:
            pending, self._pending = self._pending, {}  # for the fit
            self._prepare(SingleDevice(self.device, self.precision))
            self._pending = pending
        assert self._strategy is not None  # noqa: S101  # `_prepare` has set it
        return self._strategy, self._prepared

    def _optimizers(self) -> list[Optimizer]:
        return [] if self.optimizer is None else [self.optimizer]

    def _counters(self) -> dict[str, int]:
        return {"epochs_done": self.epochs_done, "total_iteration_idx": self.total_iteration_idx}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_strategy": None, "_prepared": None}

    # Results

    def insert_metric_result_into_history(self, metric_name: str, metric_result: Any) -> None:
        """Append a value to the history; numbers also go to the recorder and the epoch's line."""
        self.measured.insert(metric_name, metric_result)

    # Evaluation

    def loader(self, part: Part) -> Iterable[Any]:
        """The loader of a part of the data.

        Raises:
            LoopValueError: When the loop was given none.
        """
        what = f"a {part}_loader"
        loader: Iterable[Any] = required(getattr(self, f"{part}_loader"), what, f"The {part} set")
        return loader

    def _evaluator(self) -> Evaluator:
        strategy, model = self.ready()
        return Evaluator(strategy, model, self.criterion)

    def evaluate_model_loss(self, data_loader: Iterable[Any], dataset_info: Any = None) -> float:
        """Mean loss over the samples of a loader."""
        return self._evaluator().loss(data_loader, _kind(dataset_info))

    def evaluate_loss_on_train_set(self) -> float:
        """Mean loss over the training set, in evaluation mode."""
        return self.evaluate_model_loss(self.loader("train"), {"type": "train"})

    def evaluate_loss_on_validation_set(self) -> float:
        """Mean loss over the validation set."""
        return self.evaluate_model_loss(self.loader("validation"), {"type": "validation"})

    def evaluate_loss_on_test_set(self) -> float:
        """Mean loss over the test set."""
        return self.evaluate_model_loss(self.loader("test"), {"type": "test"})

    def predict_with_model(
        self, data_loader: Iterable[Any], execute_callbacks: bool = False, dataset_info: Any = None
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Predictions, true targets and metadata over a loader, on the CPU, in its dataset's order.

        Every process gets the whole set; `predict_on_main` spares the others.
        """
        found = self.predict_on_main(data_loader, execute_callbacks, dataset_info)
        whole: Any = self.ready()[0].comm.broadcast_object(found)
        return whole  # type: ignore[no-any-return]  # rank 0 has a tuple, and now all have it

    def predict_on_main(
        self, data_loader: Iterable[Any], execute_callbacks: bool = False, dataset_info: Any = None
    ) -> tuple[Any, Any, dict[str, Any]] | None:
        """As `predict_with_model`, but only rank 0 gets the set; the others get ``None``."""

        def after_batch(predicted: Any, true: Any, metadata: Any) -> None:
            execute = self.callbacks_handler.execute
            execute("on_after_batch_prediction", predicted, true, metadata, dataset_info)

        return self._evaluator().predictions(
            data_loader,
            _kind(dataset_info),
            collate=self.collate_batch_pred_fn,
            transform=self.pred_transform_fn,
            after_batch=after_batch if execute_callbacks else None,
        )

    def predict_on_train_set(self, execute_callbacks: bool = False) -> tuple[Any, Any, Any]:
        """Predictions, true targets and metadata of the training set."""
        return self.predict_with_model(self.loader("train"), execute_callbacks, {"type": "train"})

    def predict_on_validation_set(self, execute_callbacks: bool = False) -> tuple[Any, Any, Any]:
        """Predictions, true targets and metadata of the validation set."""
        loader = self.loader("validation")
        return self.predict_with_model(loader, execute_callbacks, {"type": "validation"})

    def predict_on_test_set(self, execute_callbacks: bool = False) -> tuple[Any, Any, Any]:
        """Predictions, true targets and metadata of the test set."""
        return self.predict_with_model(self.loader("test"), execute_callbacks, {"type": "test"})

    def evaluate_metric(
        self, data_loader: Iterable[Any], metric: Metric, dataset_info: Any = None
    ) -> dict[str, Any]:
        """The numbers of a mergeable metric over a loader; no predictions are kept."""
        return self._evaluator().metrics(data_loader, _kind(dataset_info), metric)

    # State

    def state_dict(self) -> Tree:
        """Everything that an exact resume needs, as it is at the end of an epoch.

        Every process must call it. What is measured so far reaches the recorder first.
        """
        if self.inside_epoch:
            msg = (
                "A loop's state can be taken between epochs, not inside one: call state_dict in "
                "on_epoch_end or after fit."
            )
            raise LoopStateError(msg)
        strategy, _ = self.ready()
        self.measured.record(self.total_iteration_idx + 1, self.epoch)
        states = strategy.comm.gather_objects(rng_state(strategy.device))
        state = {
            **strategy.state_dict(self.model, self._optimizers()),
            "loop": {**self._counters(), "epoch": self.epoch, "iteration": self.iteration},
            "fit": {**self.fit_began, "open": self._fit_open},
            "seed": self.seed,
            "rng": states or [],
            "callbacks": self.callbacks_handler.state_dict(),
            "history": self.train_history.state_dict(),
        }
        return {**state, **self._pending}  # what was loaded and waits for the next fit

    def load_state_dict(self, state: Tree) -> None:
        """Go on from what `state_dict` gave: the next ``fit`` does what the saved one still had to.

        Raises:
            LoopStateError: When the state is not that of such a loop.
        """
        missing = sorted(_STATE - set(state))
        if missing:
            msg = f"A loop's state must come from TrainLoop.state_dict; this one lacks {missing}."
            raise LoopStateError(msg)
        strategy, _ = self.ready()
        parts = {"model": state["model"]}
        if self.optimizer is not None:
            parts["optimizers"] = state["optimizers"]
        strategy.load_state_dict(self.model, self._optimizers(), parts)
        for name in ("epochs_done", "total_iteration_idx", "epoch", "iteration"):
            setattr(self, name, state["loop"][name])
        self.fit_began = {k: state["fit"][k] for k in ("epochs_done", "total_iteration_idx")}
        self._fit_open = state["fit"]["open"]
        self.seed = state["seed"]
        self.train_history.load_state_dict(state["history"])
        self._pending = {k: state[k] for k in ("precision", "rng", "callbacks")}


def _kind(dataset_info: Any) -> str:
    return str(dataset_info.get("type", "given")) if isinstance(dataset_info, Mapping) else "given"
