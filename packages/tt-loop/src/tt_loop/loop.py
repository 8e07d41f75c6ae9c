"""`TrainLoop`: what users build and call."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_loop.callbacks.base import Callback
from tt_loop.callbacks.handler import CallbacksHandler
from tt_loop.callbacks.process_data import ALONE
from tt_loop.checks import (
    check_lengths,
    check_optimizers,
    check_options,
    checked_loader,
    checked_optimizer,
    required,
)
from tt_loop.data.batches import check_shareable
from tt_loop.data.per_process import PerProcess
from tt_loop.data.positions import go_to_position
from tt_loop.data.torch_loader import apart, kept_generators
from tt_loop.device import LocalCollective, SingleDevice, default_device
from tt_loop.display.progress import ProgressKind, check_progress
from tt_loop.display.summary import ModelSummary, summary
from tt_loop.errors import LoopStateError
from tt_loop.evaluation.evaluator import append_predictions, torch_cat_transf
from tt_loop.evaluation.loop_evaluation import LoopEvaluation
from tt_loop.evaluation.store import ModelPredictionStore
from tt_loop.message_service import MessageService
from tt_loop.model import as_trainable
from tt_loop.plugins import find_precision, find_strategy, make_launcher, make_precision
from tt_loop.protocols import Collective, Recorder, StepReport, Strategy, Tree
from tt_loop.rng import preserved_rng, seed_process, set_rng_state
from tt_loop.schedulers.basic import AbstractScheduler
from tt_loop.seeds import mixed_seed
from tt_loop.training.fit import Fit
from tt_loop.training.history import TrainingHistory
from tt_loop.training.interrupts import exception_for
from tt_loop.training.lending import Lending
from tt_loop.training.matching import check_all, check_schedulers
from tt_loop.training.measured import Measured
from tt_loop.training.multi_loss_optim import MultiOptimizer
from tt_loop.training.nonfinite import NanPolicy, checked_policy
from tt_loop.training.resharding import for_processes
from tt_loop.training.settings import ENDLESS, FitSettings, seconds_of
from tt_loop.training.state import capture, restore

__all__ = ["TrainLoop"]

_log = logging.getLogger(__name__)


class TrainLoop(LoopEvaluation):
    """Trains a model epoch by epoch, evaluates it, and tells callbacks about it.

    On one process without accumulation the arithmetic is that of the loop one writes by hand: the
    weights come out equal bit for bit. An epoch's loss is the mean over its samples. A fit with
    accumulation or on many processes normalises each step by the weight of all its samples, so
    that it equals the one big batch. The order of a shuffling `DataLoader` is a function of the
    seed and the epoch's number, and the randomness of a sample one of the seed, the epoch and the
    sample's index.

    Args:
        model: A `TTModel`, any `torch.nn.Module` together with a criterion, or a `ModelWrap`;
            a module may be a compiled one.
        train_loader: A `DataLoader`, or any iterable of batches that can be read anew each epoch.
            On several processes its batch size is that of one process. Its data set must not
            change within an epoch: quick batches are read some at once, also without workers.
        validation_loader: Batches to validate with, or ``None``.
        test_loader: Batches for the evaluation after training, or ``None``.
        optimizer: The optimizer of the model's parameters, or several as a `MultiOptimizer`;
            ``None`` only evaluates.
        criterion: Passed to the model's ``get_loss``.
        collate_batch_pred_fn: Collects the predictions of a batch.
        pred_transform_fn: Joins the collected predictions.
        end_auto_eval: Compute the validation loss after every epoch (``True``), every n epochs
            (an int) or never (``False``), and the test loss at the end.
        print_callbacks: Log which callbacks run, and in which order.
        gpu_mode: How to run: a registered name (``'single'``; with tt-parallel ``'dp'`` and
            ``'ddp'``), a `Strategy` or a `Launcher`.
        cuda_device_idx: The CUDA device to train on; by default the accelerator there is.
        use_amp: Mixed precision: ``True``, a dict of options, or a `Precision` (needs tt-parallel).
        seed: Seed of the order of shuffling loaders and of the samples' randomness; by default the
            one that torch was seeded with.
        recorder: Takes the metrics and events of the run.
        progress: What to show: ``True`` (a tqdm bar and a line per epoch), ``'rich'``,
            ``'notebook'``, ``False``, or a display of your own.
        nan_policy: What to do when gradients are NaN or infinite: ``'stop'``, ``'skip'`` the
            step or ``'rollback'`` to the newest good weights; ``None`` only warns after the epoch.

    Raises:
        LoopTypeError: For objects of the wrong kind.
        LoopValueError: For settings that cannot work.
        MissingPackageError: For a mode whose package is not installed.

    Attributes:
        model: The module that is trained, without what wraps it.
        trainable: The same, with the methods of `TTModel`.
        epoch: Number of the present epoch, from 0.
        epochs_done: How many epochs are behind.
        iteration: Number of the present batch in its epoch, from 0.
        total_iteration_idx: Number of the present batch since the beginning, from 0.
        updates_done: How many updates of the weights are behind.
        batch: The newest batch, as the loader gave it; ``None`` between epochs.
        last_loss: The newest batch's loss, a detached tensor; of a `MultiLoss`, a dict of them.
        fit_began: The counters when the present fit began.
        early_stop: Set it to end training after the present step; several processes on
            accelerators end it two steps later, all at the same one.
        max_grad_norm: Gradients are clipped to this total norm; ``None`` leaves them.
        reported_metrics: What an epoch's line shows; ``None`` shows the losses.
        exception_for_signal: Makes the exception with which a fit ends after a signal, of its
            number.
        lending: The saves that still read parameters and optimizer states.
        message_service: Messages from callback to callback.
        prediction_store: Predictions and losses that are known for the present weights.
    """

    def __init__(
        self,
        model: Any,
        train_loader: Iterable[Any] | None,
        validation_loader: Iterable[Any] | None,
        test_loader: Iterable[Any] | None,
        optimizer: Optimizer | MultiOptimizer | None,
        criterion: Any,
        *,
        collate_batch_pred_fn: Callable[[Any, list[Any]], list[Any]] = append_predictions,
        pred_transform_fn: Callable[[list[Any]], Any] = torch_cat_transf,
        end_auto_eval: bool | int = True,
        print_callbacks: bool = False,
        gpu_mode: Any = "single",
        cuda_device_idx: int | None = None,
        use_amp: Any = False,
        seed: int | None = None,
        recorder: Recorder | None = None,
        progress: ProgressKind = True,
        nan_policy: NanPolicy | None = None,
    ) -> None:
        self.model, self.trainable = as_trainable(model, criterion)
        self.train_loader: Any = checked_loader(train_loader, "training")
        self.validation_loader = checked_loader(validation_loader, "validation")
        self.test_loader = checked_loader(test_loader, "test")
        self.optimizer: Any = checked_optimizer(optimizer)
        self.criterion = criterion
        self.collate_batch_pred_fn = collate_batch_pred_fn
        self.pred_transform_fn = pred_transform_fn
        self.end_auto_eval = end_auto_eval
        self.print_callbacks = print_callbacks
        self.gpu_mode = gpu_mode
        self.use_amp = use_amp
        self.seed = torch.initial_seed() if seed is None else seed
        check_progress(progress)
        self.progress = progress
        self.nan_policy = checked_policy(nan_policy)

        find_strategy(gpu_mode)  # said now rather than when training is to start
        check_options(gpu_mode, use_amp, cuda_device_idx)
        check_optimizers(self.optimizers, self.model, criterion)
        self.device = default_device(cuda_device_idx)
        self.precision = make_precision(find_precision(use_amp), use_amp, self.device)
        self._strategy: Strategy | None = None
        self._prepared: Any = None

        self.epoch = self.epochs_done = self.updates_done = 0
        self.iteration = self.total_iteration_idx = -1
        self.num_epochs = self.num_iterations = 0
        self.grad_accumulation = 1
        self.settings = FitSettings()
        self.inside_epoch = self.inside_step = self.early_stop = False
        self.batch: Any = None
        self.last_loss: Tensor | dict[str, Tensor] | None = None
        self.reports: list[StepReport | None] = []
        self.max_grad_norm: float | None = None
        self.reported_metrics: Sequence[str] | None = None
        self.measured = Measured(recorder)
        self.lending = Lending()
        self.exception_for_signal: Callable[[int], BaseException] = exception_for
        self.callbacks_handler = CallbacksHandler(self)
        self.message_service = MessageService()
        self.prediction_store = ModelPredictionStore()
        self._newest_key, self._number_of_key = None, 0
        self.experiment_timestamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        self.fit_began = self._counters()
        self.shared: Tree | None = None  # how many processes made which global batch, last time
        self.alone: Callback | None = None  # one that is called in this process only
        self.fit_is_open = self._still_open = False
        self._is_elsewhere = self._is_seeded = False  # in a process of its own; with a seed of it
        self.fit_under_way: Fit | None = None
        self.pending: Tree = {}

    @property
    def callbacks(self) -> list[Callback]:
        """The registered callbacks in the order in which they run."""
        return self.callbacks_handler.callbacks

    @property
    def train_history(self) -> TrainingHistory:
        """Metric values by name, one for each time they were measured."""
        return self.measured.history

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers in order: one, those of a `MultiOptimizer`, or none."""
        if isinstance(self.optimizer, MultiOptimizer):
            return self.optimizer.optimizer_list
        return [] if self.optimizer is None else [self.optimizer]

    @property
    def num_optimizers(self) -> int:
        """How many optimizers there are."""
        return len(self.optimizers)

    @property
    def rank(self) -> int:
        """Number of this process among those that train together."""
        return 0 if self._strategy is None else self._strategy.comm.rank

    @property
    def num_processes(self) -> int:
        """How many processes train together."""
        return 1 if self._strategy is None else self._strategy.comm.world_size

    @property
    def comm(self) -> Collective:
        """The processes that train together: this one, until a fit has begun on several."""
        return LocalCollective() if self._strategy is None else self._strategy.comm

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
        *,
        max_time: float | timedelta | str | None = None,
        eval_every: int = 0,
        dry_run: int = 0,
        overfit: int = 0,
        in_process_data_load: Callback | Sequence[Callback] | None = None,
        **launch_options: Any,
    ) -> Any:
        """Train and return the trained model. Called again, it goes on.

        Args:
            num_epochs: Number of epochs of this fit.
            num_iterations: Number of batches of this fit, instead of epochs.
            callbacks: Added to those that the loop has.
            grad_accumulation: Number of batches whose gradients make one step.
            max_time: End after the step in which this time is over: seconds, a ``timedelta`` or
                ``'hours:minutes:seconds'``. Without another length, the only one.
            eval_every: Compute the validation loss after every so many batches too.
            dry_run: Try everything on so many batches: of the training set for one epoch, and of
                each set that is evaluated.
            overfit: Train on the first so many batches only, the same in each epoch.
            in_process_data_load: Callbacks that build the loaders in each process that trains, as
                `InMultiProcessDataLoad` does; the loop itself may have none then.
            **launch_options: Options of the ``gpu_mode``, such as ``num_gpus`` for ``'ddp'``.

        Raises:
            LoopValueError: When not exactly one length is given, or one cannot be.
            LoopTypeError: For an unknown option or a callback that is none.
            EmptyLoaderError: When the training loader yields nothing.
            NonFiniteError: When ``nan_policy`` says so.
        """
        settings = FitSettings(seconds_of(max_time), eval_every, dry_run, overfit)
        if dry_run:
            num_epochs, num_iterations = 1, 0
        elif settings.max_time is not None and not num_epochs and not num_iterations:
            num_epochs = ENDLESS
        check_lengths(num_epochs, num_iterations, grad_accumulation)
        required(self.optimizer, "an optimizer", "fit")
        launcher = make_launcher(
            find_strategy(self.gpu_mode),
            self.gpu_mode,
            device=self.device,
            precision=self.precision,
            options=launch_options,
        )
        if not launcher.in_process:
            self._check_shareable()
        self._open_fit(settings)
        self.num_epochs, self.num_iterations = num_epochs, num_iterations
        self.grad_accumulation = grad_accumulation
        builders = in_process_data_load or ()
        builders = [builders] if isinstance(builders, Callback) else builders
        further = [*builders, *(callbacks or ())]
        self.fit_is_open = True
        try:
            if launcher.in_process:
                launcher.run(partial(self._fit_joined, further))
            else:
                self._register(further)
                self._adopt(launcher.run(self._fit_elsewhere)[0])
        finally:
            self.fit_is_open, self._still_open = self._still_open, False
            self.settings = FitSettings(elapsed=settings.elapsed if self.fit_is_open else 0.0)
        return self.model

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `fit`."""
        return self.fit(*args, **kwargs)

    def _open_fit(self, settings: FitSettings) -> None:
        """Begin a fit, or go on with the one whose state was loaded."""
        if self.fit_is_open:
            settings.elapsed = self.settings.elapsed
        else:
            self.fit_began, self.early_stop = self._counters(), False
        self.settings = settings

    def _check_loaders(self) -> None:
        required(self.train_loader, "a train_loader", "fit")
        if self.settings.eval_every:
            required(self.validation_loader, "a validation_loader", "eval_every")

    def _check_shareable(self) -> None:
        """Refuse here, with its own error, what would fail in each of the processes."""
        loaders = (self.train_loader, self.validation_loader, self.test_loader)
        for loader, name in zip(loaders, ("training", "validation", "test"), strict=True):
            if loader is not None:
                check_shareable(loader, name)

    def _register(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks_handler.register_callbacks(callbacks)
        if self.print_callbacks:
            _log.info("callbacks in order: %s", [type(each).__name__ for each in self.callbacks])
        if not self.callbacks_handler.hooks("on_multiprocess_start"):
            self._check_loaders()  # nobody builds them later

    def _fit_joined(self, callbacks: Sequence[Callback], strategy: Strategy) -> None:
        """Fit in this process, which may be one of a group: callbacks are told which it is."""
        if strategy.comm.world_size > 1:
            self._join(strategy)
        self._register(callbacks)
        self._fit_here(strategy)

    def _fit_here(self, strategy: Strategy) -> Tree | None:
        """Fit in this process; of a fit elsewhere that was interrupted, returns the state."""
        if strategy.comm.world_size > 1 or self._is_elsewhere or self.gpu_mode not in ALONE:
            self.callbacks_handler.execute("on_multiprocess_start")
        self._check_loaders()
        if not self.fit_is_open:  # a callback has loaded the state of a fit that had ended
            self.settings.elapsed = 0.0
            self._open_fit(self.settings)
            self.fit_is_open = True
        loaded = self.pending
        position = loaded.get("inside")
        if position is not None:
            position = for_processes(position, strategy.comm.world_size)
        self._prepare(strategy)
        fit = self.fit_under_way = Fit(self, strategy, self._prepared, position)
        try:
            fit.run()
        except BaseException:
            if self._is_elsewhere and fit.interrupted_by is not None:
                return {**self.state_dict(), "interrupted_by": fit.interrupted_by}
            if not fit.has_begun:  # what was loaded is still to be gone on from
                self.pending, self._still_open = loaded, bool(loaded)
            raise
        finally:
            fit.data.close()
            self.fit_under_way = None
            # A fit that was cut short inside an epoch leaves nothing that could be gone on from.
            self.inside_step, self.inside_epoch = self.inside_epoch, False
        return None

    def _join(self, strategy: Strategy) -> None:
        """Become one of the processes of a run, which agree on what the first one says."""
        self._strategy, comm = strategy, strategy.comm
        said = (self.seed, self.experiment_timestamp)
        self.seed, self.experiment_timestamp = comm.broadcast_object(said)
        if not self._is_seeded:
            seed_process(self.seed, comm.rank)
            self._is_seeded = True

    def _fit_elsewhere(self, strategy: Strategy) -> Tree | None:
        """Fit in a process of its own; the first of each node gives back what has to be known."""
        self._is_elsewhere = True
        self._join(strategy)
        state = self._fit_here(strategy) or self.state_dict()
        of_rank_0 = {name: state[name] for name in ("rng", "callbacks", "inside", "loader")}
        state.update(strategy.comm.broadcast_object(of_rank_0))
        return state if os.environ.get("LOCAL_RANK", str(strategy.comm.rank)) == "0" else None

    def _adopt(self, state: Tree | None) -> None:
        """Take over the state of a fit in other processes."""
        if state is None:
            return
        self.load_state_dict(state)
        self.callbacks_handler.load_state_dict(self.pending.pop("callbacks"))
        if "interrupted_by" in state:
            self._still_open = True  # the next fit goes on from the step that it stopped at
            raise self.exception_for_signal(state["interrupted_by"])

    def _prepare(self, strategy: Strategy) -> None:
        pending = self.pending
        if "kinds" in pending:
            check_schedulers(self, pending["kinds"])
        self._prepared = strategy.prepare(self.trainable, self.optimizers)
        if isinstance(self.criterion, nn.Module):
            self.criterion.to(strategy.device)
        self._strategy, self.device = strategy, strategy.device
        self.callbacks_handler.load_state_dict(pending.get("callbacks", {}))
        precision = pending.get("precision", strategy.state_dict(self.model, [])["precision"])
        strategy.load_state_dict(self.model, [], {"precision": precision})  # also starts it afresh
        self._go_on_drawing(pending.get("rng", []), strategy)
        if "loader" in pending:
            self._go_on_reading(pending["loader"], strategy)
        self.pending = {}

    def _go_on_drawing(self, states: Sequence[Tree], strategy: Strategy) -> None:
        """Give this process its generators' states, if the saved run had it, else new ones."""
        rank = strategy.comm.rank
        if rank < len(states):
            set_rng_state(states[rank], strategy.device)
        elif states:
            seed_process(mixed_seed(self.seed, self.total_iteration_idx), rank)

    def _go_on_reading(self, positions: Sequence[Tree], strategy: Strategy) -> None:
        """Give this process's loader its position, if the saved run had this process.

        Of a loader that processes share all have the same.
        """
        rank, loader = strategy.comm.rank, self.train_loader
        if rank < len(positions) or not isinstance(loader, PerProcess):
            go_to_position(loader, positions[min(rank, len(positions) - 1)], strategy.device)

    def ready(self) -> tuple[Strategy, Any]:
        """The strategy and the prepared model: those of the last fit, else one device's.

        Raises:
            LoopStateError: In a callback that runs in one of several processes, which would wait
                for the others.
        """
        if self.alone is not None:
            msg = (
                f"{type(self.alone).__name__} runs in one process of {self.num_processes} "
                f"(device_idx_execution={self.alone.device_idx_execution}), where it must not "
                "evaluate, predict or take the loop's state: all processes take part in that. "
                "Leave device_idx_execution out, and ask is_main_process() before writing."
            )
            raise LoopStateError(msg)
        if self._strategy is None:
            pending, self.pending = self.pending, {}  # for the fit
            given = isinstance(self.gpu_mode, Strategy)
            self._prepare(self.gpu_mode if given else SingleDevice(self.device, self.precision))
            self.pending = pending
        assert self._strategy is not None  # noqa: S101  # `_prepare` has set it
        return self._strategy, self._prepared

    def _counters(self) -> dict[str, int]:
        return {"epochs_done": self.epochs_done, "total_iteration_idx": self.total_iteration_idx}

    def __getstate__(self) -> dict[str, Any]:
        here: dict[str, Any] = {"_strategy": None, "_prepared": None, "fit_under_way": None}
        here.update(batch=None, _is_seeded=False, _newest_key=None, lending=Lending())
        return {**self.__dict__, **here, "prediction_store": ModelPredictionStore()}

    # What callbacks ask

    def interrupt(self, number: int = signal.SIGTERM) -> None:
        """End the fit under way as a signal does: after the present step, in all processes.

        It may be called from any thread, and in any of the processes.
        """
        if self.fit_under_way is not None:
            self.fit_under_way.interrupts.ask(number)

    def skipped(self, optimizer_idx: int = 0) -> bool:
        """Whether the newest update left an optimizer's step out.

        Reading that may make an accelerator wait.
        """
        report = self.reports[optimizer_idx] if self.reports else None
        return report is None or bool(report.skipped)

    def newest_finite_loss(self) -> float:
        """The newest finite loss before the present epoch's first one that is not finite."""
        fit = self.fit_under_way
        return float("nan") if fit is None else fit.losses.newest_finite()

    def get_schedulers(self) -> list[AbstractScheduler]:
        """The callbacks that schedule learning rates."""
        return [callback for callback in self.callbacks if isinstance(callback, AbstractScheduler)]

    def get_num_training_steps(self) -> int:
        """Optimizer updates of the whole present fit.

        Raises:
            LoopStateError: When no fit is under way, or its loader has no length.
        """
        updates = None if self.fit_under_way is None else self.fit_under_way.length.updates()
        if updates is None:
            msg = (
                "The number of training steps is known during a fit whose training loader has a "
                "length, or that has a number of iterations: say the number yourself."
            )
            raise LoopStateError(msg)
        return updates

    def insert_metric_result_into_history(self, metric_name: str, metric_result: Any) -> None:
        """Append a value to the history; numbers also go to the recorder and the epoch's line."""
        self.measured.insert(metric_name, metric_result)

    def summary(self, depth: int | None = None) -> ModelSummary:
        """Layers, shapes, parameters and sizes of the model.

        Shapes are those of the training loader's first batch, where the model takes all of it but
        its last element.
        """
        loader, batch = self.train_loader, None
        with preserved_rng(self.device), kept_generators(loader):
            if loader is not None and not isinstance(loader, Iterator):
                batch = next(iter(apart(loader)), None)
            inputs = tuple(batch[:-1]) if isinstance(batch, list | tuple) else None
            return summary(self.model, inputs, depth=depth)

    # State

    def state_dict(self) -> Tree:
        """Everything that an exact resume needs, between two steps or two epochs.

        Every process must call it. What is measured so far reaches the recorder first. The tensors
        are those that training uses: `copy.deepcopy` the state to keep it in memory.

        Raises:
            LoopStateError: When a step is under way.
        """
        return capture(self)

    def check_state_dict(self, state: Tree) -> None:
        """Look whether a state fits the loop, its precision and the callbacks that it has by now.

        Raises:
            LoopStateError: With a table of all classes, names, shapes and types that differ.
        """
        check_all(self, state)

    def load_state_dict(self, state: Tree) -> None:
        """Go on from what `state_dict` gave: the next ``fit`` does what the saved one still had to.

        Raises:
            LoopStateError: When the state is not that of such a loop: with a table of what differs,
                and nothing is loaded. Schedulers are compared when the next ``fit`` begins.
        """
        restore(self, state)
