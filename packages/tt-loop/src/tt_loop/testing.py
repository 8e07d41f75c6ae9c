"""Conformance kits: what must hold of anything that provides one of tt-loop's interfaces.

Subclass a kit in your tests and give it what it asks for::

    class TestMyStrategy(StrategyContract):
        def make_strategy(self):
            return MyStrategy()
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tt_loop.model import TTBasicModel
from tt_loop.protocols import Metric, Precision, Recorder, RunInfo, Strategy

__all__ = [
    "MetricContract",
    "PrecisionContract",
    "RecorderContract",
    "StrategyContract",
    "TinyModel",
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
        precision.scale((weight * torch.tensor([1.0, 2.0])).sum()).backward()  # type: ignore[no-untyped-call]  # torch's own
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
