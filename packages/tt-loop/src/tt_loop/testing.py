"""Conformance kits: what must hold of anything that provides one of tt-loop's interfaces.

Subclass a kit in your tests and give it what it asks for::

    class TestMyStrategy(StrategyContract):
        def make_strategy(self):
            return MyStrategy()
"""

from __future__ import annotations

import copy
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.callbacks.base import Callback
from tt_loop.loop import TrainLoop
from tt_loop.model import TTBasicModel
from tt_loop.protocols import (
    Metric,
    Precision,
    PredictionSink,
    Recorder,
    RunInfo,
    Strategy,
    Tree,
)

__all__ = [
    "CallbackContract",
    "MetricContract",
    "PrecisionContract",
    "PredictionSinkContract",
    "RecorderContract",
    "StrategyContract",
    "TinyModel",
    "tiny_loader",
    "tiny_loop",
]


class TinyModel(TTBasicModel):
    """A linear model from 4 features to 3 classes with known weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 12).reshape(3, 4))
            self.layer.bias.zero_()

    def forward(self, x: torch.Tensor) -> Any:
        """Class scores."""
        return self.layer(x)


def tiny_loader(samples: int = 26, batch_size: int = 4, **options: Any) -> DataLoader[Any]:
    """A shuffling loader of the data that `TinyModel` learns; its last batch is not full."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 4, generator=generator)
    data = TensorDataset(x, x[:, :3].argmax(dim=1))
    return DataLoader(data, batch_size, **{"shuffle": True, **options})


def tiny_loop(**options: Any) -> TrainLoop:
    """A loop over `TinyModel` and `tiny_loader` with momentum, validation and a fixed seed."""
    model = TinyModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    validation = tiny_loader(samples=9, shuffle=False)
    settings = {"seed": 0, "progress": False, **options}
    return TrainLoop(
        model, tiny_loader(), validation, None, optimizer, nn.CrossEntropyLoss(), **settings
    )


class _Cut(Exception):  # noqa: N818  # it ends a run that is to be gone on from
    pass


class _CutAfter(Callback):
    """Copies the loop's state after some batches and ends the run."""

    def __init__(self, batches: int) -> None:
        super().__init__("cut", execution_order=1000)
        self.batches = batches
        self.state: Tree = {}

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx + 1 == self.batches:
            self.state = copy.deepcopy(self.train_loop_obj.state_dict())
            raise _Cut


class CallbackContract(ABC):
    """What every `Callback` does: it keeps its hands off what is not its own, and can be resumed.

    Attributes:
        changes_weights: Set it for a callback that is meant to change what is trained.
        changes_history: Set it for one whose entries in the history depend on the clock.
    """

    changes_weights = False
    changes_history = False

    @abstractmethod
    def make_callback(self) -> Callback:
        """A new callback, always the same."""

    def _trained(self, *callbacks: Callback) -> TrainLoop:
        loop = tiny_loop()
        loop.fit(num_epochs=2, callbacks=callbacks)
        return loop

    def _weights(self, loop: TrainLoop) -> torch.Tensor:
        return nn.utils.parameters_to_vector(loop.model.parameters())

    def test_a_loop_takes_it_once(self) -> None:
        """Given twice, it runs once; all its hooks are known."""
        callback, loop = self.make_callback(), tiny_loop()
        loop.fit(num_epochs=1, callbacks=[callback, callback])
        assert loop.callbacks.count(callback) == 1
        assert callback.train_loop_obj is loop

    def test_it_leaves_the_weights_alone(self) -> None:
        """Training with it ends with the same bits."""
        if not self.changes_weights:
            without, with_it = self._trained(), self._trained(self.make_callback())
            assert torch.equal(self._weights(without), self._weights(with_it))

    def test_a_run_can_be_cut_and_gone_on_from(self) -> None:
        """After any batch; weights and history are those of the whole run."""
        whole = self._trained(self.make_callback())
        for batches in (1, 5, 7, 9):
            cut = _CutAfter(batches)
            try:
                self._trained(self.make_callback(), cut)
            except _Cut:
                resumed = tiny_loop()
                resumed.load_state_dict(cut.state)
                resumed.fit(num_epochs=2, callbacks=[self.make_callback()])
                assert torch.equal(self._weights(whole), self._weights(resumed)), batches
                histories = [loop.train_history.state_dict() for loop in (whole, resumed)]
                assert self.changes_history or histories[0] == histories[1], batches

    def test_its_state_is_plain(self) -> None:
        """Nested dicts, lists and tuples of tensors, numbers, strings, booleans and None."""
        callback = self.make_callback()
        self._trained(callback)
        _check_plain(callback.state_dict())

    def test_it_goes_to_other_processes(self) -> None:
        """It can be pickled before it joins a loop."""
        assert pickle.loads(pickle.dumps(self.make_callback())) is not None


def _check_plain(value: Any) -> None:
    if isinstance(value, Mapping):
        assert all(type(key) in (str, int) for key in value), f"keys must be text: {list(value)}"
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _check_plain(item)
    else:
        assert value is None or isinstance(value, torch.Tensor | int | float | str), value


class PredictionSinkContract(ABC):
    """What every `PredictionSink` does."""

    @abstractmethod
    def make_sink(self) -> PredictionSink:
        """A sink without data."""

    @abstractmethod
    def ids_in(self, sink: PredictionSink) -> Sequence[int]:
        """The samples' numbers that a closed sink has."""

    def test_fits_the_protocol(self) -> None:
        """It has the methods of `PredictionSink`."""
        assert isinstance(self.make_sink(), PredictionSink)

    def test_takes_every_sample_of_a_loop(self) -> None:
        """In the data set's order."""
        sink, loop = self.make_sink(), tiny_loop()
        loop.predict_to(sink, loop.loader("train"))
        assert list(self.ids_in(sink)) == list(range(26))


def _tiny_batch() -> list[torch.Tensor]:
    return [torch.linspace(-1, 2, 24).reshape(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])]


class StrategyContract(ABC):
    """What every `Strategy` does, shown on one step of a tiny model."""

    @abstractmethod
    def make_strategy(self) -> Strategy:
        """A strategy in full precision."""

    def _step(self, **apply: Any) -> tuple[TinyModel, Any, Any]:
        torch.manual_seed(0)
        strategy, model = self.make_strategy(), TinyModel()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        prepared: Any = strategy.prepare(model, [optimizer])
        with strategy.micro(prepared, sync=True):
            with strategy.forward():
                loss = prepared.get_loss(_tiny_batch(), nn.CrossEntropyLoss(), strategy.device)
            strategy.backward(loss)
        return model, optimizer, strategy.apply(optimizer, **apply)

    def _by_hand(self, factor: float = 1.0) -> TinyModel:
        model = TinyModel()
        inputs, target = _tiny_batch()
        (nn.CrossEntropyLoss()(model(inputs), target) * factor).backward()
        torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9).step()
        return model

    def test_fits_the_protocol(self) -> None:
        """It has the methods of `Strategy`."""
        assert isinstance(self.make_strategy(), Strategy)

    def test_a_step_is_that_of_the_hand_written_loop(self) -> None:
        """Without a factor, the weights are equal bit for bit."""
        model, _, report = self._step()
        assert torch.equal(model.layer.weight.cpu(), self._by_hand().layer.weight)
        assert not report.skipped

    def test_gradients_are_normalised_by_the_scale(self) -> None:
        """``grad_scale`` multiplies the gradients."""
        model, _, _ = self._step(grad_scale=0.25)
        torch.testing.assert_close(model.layer.weight.cpu(), self._by_hand(0.25).layer.weight)

    def test_gradients_are_clipped_after_they_are_shown(self) -> None:
        """``on_gradients`` sees them whole, ``before_step`` clipped; the report has their norm."""
        shown: list[str] = []
        model, _, report = self._step(
            max_norm=0.01,
            on_gradients=lambda: shown.append("whole"),
            before_step=lambda: shown.append("clipped"),
        )
        moved = torch.cat(
            [
                (p.cpu() - q).flatten()
                for p, q in zip(model.parameters(), TinyModel().parameters(), strict=True)
            ]
        )
        assert shown == ["whole", "clipped"]
        assert float(report.grad_norm) > 0.01
        torch.testing.assert_close(moved.norm(), torch.tensor(0.5 * 0.01), rtol=1e-3, atol=0)

    def test_a_step_whose_gradients_are_not_finite_is_left_out(self) -> None:
        """When it is asked for; others are made."""
        for worst, stepped in ((1.0, True), (float("inf"), False), (float("nan"), False)):
            strategy, model = self.make_strategy(), TinyModel()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            strategy.prepare(model, [optimizer])
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, worst)
            report = strategy.apply(optimizer, require_finite=True)
            moved = not torch.equal(model.layer.weight.cpu(), TinyModel().layer.weight)
            assert (moved, bool(report.skipped)) == (stepped, not stepped)
            assert all(p.grad is None for p in model.parameters())

    def test_gradients_are_zero_after_the_step(self) -> None:
        """The next window starts from nothing."""
        model, _, _ = self._step()
        assert all(p.grad is None for p in model.parameters())

    def test_state_comes_back(self) -> None:
        """A fresh model and optimizer with the loaded state take the same next step."""
        model, optimizer, _ = self._step()
        strategy = self.make_strategy()
        strategy.prepare(model, [optimizer])
        state = pickle.loads(pickle.dumps(strategy.state_dict(model, [optimizer])))
        assert set(state["model"]) == set(model.state_dict())
        assert set(state["optimizers"][0]["state"]) == {"layer.weight", "layer.bias"}

        fresh = TinyModel()
        other = torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.1)
        strategy.prepare(fresh, [other])
        strategy.load_state_dict(fresh, [other], state)
        for each, opt in ((model, optimizer), (fresh, other)):
            for parameter in each.parameters():
                parameter.grad = torch.ones_like(parameter)
            opt.step()
        assert torch.equal(model.layer.weight, fresh.layer.weight)


class PrecisionContract(ABC):
    """What every `Precision` does."""

    @abstractmethod
    def make_precision(self) -> Precision:
        """A precision for the CPU."""

    def test_fits_the_protocol(self) -> None:
        """It has the methods of `Precision`."""
        assert isinstance(self.make_precision(), Precision)

    def test_a_step_uses_gradients_of_true_size(self) -> None:
        """Scaling and unscaling cancel."""
        precision = self.make_precision()
        weight = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], lr=1.0)
        precision.backward((weight * torch.tensor([1.0, 2.0])).sum())
        precision.unscale(optimizer)
        assert not precision.step(optimizer)
        torch.testing.assert_close(weight.data, torch.tensor([0.0, -1.0]))

    def test_state_comes_back(self) -> None:
        """A precision accepts its own state."""
        self.make_precision().load_state_dict(self.make_precision().state_dict())


class MetricContract(ABC):
    """The law of every `Metric`: merged states are the state of all data."""

    @abstractmethod
    def make_metric(self) -> Metric:
        """A metric without data."""

    @abstractmethod
    def batches(self) -> Sequence[tuple[Any, Any]]:
        """At least three batches of targets and predictions."""

    def _after(self, batches: Sequence[tuple[Any, Any]]) -> Metric:
        metric = self.make_metric()
        for y_true, y_predicted in batches:
            metric.update(y_true, y_predicted)
        return metric

    def test_fits_the_protocol(self) -> None:
        """It has the methods of `Metric`."""
        assert isinstance(self.make_metric(), Metric)

    def test_merged_states_are_the_state_of_all_data(self) -> None:
        """However the batches are shared out."""
        batches = self.batches()
        whole = self._after(batches).compute()
        for cut in range(1, len(batches)):
            merged = self.make_metric()
            for part in (batches[:cut], batches[cut:]):
                merged.merge(pickle.loads(pickle.dumps(self._after(part).state)))
            assert merged.compute().keys() == whole.keys()
            for name, value in merged.compute().items():
                torch.testing.assert_close(value, whole[name], rtol=1e-12, atol=1e-12)

    def test_reset_forgets(self) -> None:
        """After a reset the same data give the same numbers."""
        first, *rest = self.batches()
        metric = self._after([first, *rest])
        metric.reset()
        metric.update(*first)
        assert metric.compute() == self._after([first]).compute()


class RecorderContract(ABC):
    """What every `Recorder` does: it takes everything and never raises."""

    @abstractmethod
    def make_recorder(self) -> Recorder:
        """A recorder."""

    def test_fits_the_protocol(self) -> None:
        """It has the methods of `Recorder`."""
        assert isinstance(self.make_recorder(), Recorder)

    def test_takes_what_a_loop_gives(self) -> None:
        """Also values that are not finite, and calls before and after its time."""
        recorder = self.make_recorder()
        recorder.scalars(0, {"early": 1.0}, epoch=0)
        recorder.open(RunInfo(step=0, epoch=0, world_size=1, strategy="SingleDevice"))
        recorder.scalars(3, {"loss": 0.5, "odd": float("nan"), "far": float("inf")}, epoch=0)
        recorder.event("note", {"text": "<&>"})
        recorder.close("completed")
        recorder.scalars(4, {"late": 1.0}, epoch=1)
