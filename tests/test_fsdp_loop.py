"""A loop whose model is sharded over two processes: the result of one process."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, EarlyStopping, ModelPerformanceEvaluation, TrainLoop, TTModel
from tt_metrics.api import AbstractResultPackage, ClassificationResultPackage
from tt_parallel.api import DistributedStrategy, ShardedStrategy, Spawn

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SAMPLES = 97  # global batches of 16 leave 1: the second process has none of it
OPTIONS = {"shard_modules": ["Linear"]}


class Classifier(TTModel):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 3))
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor) -> Any:
        return self.layers(x) + self.shift

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        x, y = batch_data
        return criterion(self(x.to(device)), y.to(device))

    def get_predictions(self, batch_data: Any, device: torch.device) -> tuple[Any, Any, Any]:
        x, y = batch_data
        return self(x.to(device)).argmax(1), y, {"first": x[:, 0]}


def job(
    processes: int = 1, accumulation: int = 1, validation: int = 37, **options: Any
) -> TrainLoop:
    torch.manual_seed(4)
    x = torch.randn(SAMPLES, 6)
    y = (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 0.5).long()
    train = DataLoader(
        TensorDataset(x, y), batch_size=16 // processes // accumulation, shuffle=True
    )
    held_out = DataLoader(TensorDataset(x[:validation], y[:validation]), batch_size=8)
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    return TrainLoop(
        model, train, held_out, held_out, optimizer, criterion, progress=False, **options
    )


class WholeSet(AbstractResultPackage):
    """Needs all predictions at once, in the dataset's order."""

    def prepare_results_dict(self) -> dict[str, Any]:
        weights = range(1, len(self.y_true) + 1)
        pairs = zip(weights, self.y_true, self.y_predicted, strict=True)
        return {"weighted": sum(w for w, a, b in pairs if int(a) == int(b))}


def evaluations() -> list[Callback]:
    return [
        ModelPerformanceEvaluation(ClassificationResultPackage()),
        ModelPerformanceEvaluation(WholeSet()),
        EarlyStopping("val_loss", patience=5),
    ]


def compare(loop: TrainLoop, alone: TrainLoop, tolerance: float = 1e-6) -> None:
    for (name, a), b in zip(alone.model.named_parameters(), loop.model.parameters(), strict=True):
        assert type(b) is nn.Parameter
        torch.testing.assert_close(b, a, rtol=0, atol=tolerance, msg=name)
    assert loop.train_history.keys() == alone.train_history.keys()
    for name, values in alone.train_history.items():
        assert loop.train_history[name] == pytest.approx(values, abs=10 * tolerance), name
    assert loop.epochs_done == alone.epochs_done


@pytest.fixture(scope="module")
def alone() -> TrainLoop:
    loop = job()
    loop.fit(num_epochs=3, callbacks=evaluations())
    return loop


def test_two_processes_equal_one(alone: TrainLoop) -> None:
    loop = job(2, accumulation=2, gpu_mode="fsdp")
    trained = loop.fit(
        num_epochs=3,
        callbacks=evaluations(),
        grad_accumulation=2,
        num_gpus=2,
        fsdp_model_args=OPTIONS,
    )
    assert trained is loop.model
    compare(loop, alone)
    y_pred, y_true, metadata = loop.predict_on_validation_set()
    expected = alone.predict_on_validation_set()
    assert torch.equal(y_true, expected[1])
    assert torch.equal(metadata["first"], expected[2]["first"])
    assert torch.equal(y_pred, expected[0])


def test_a_fit_goes_on_from_and_to_one_process(alone: TrainLoop) -> None:
    loop = job()
    loop.fit(num_epochs=1)
    then = job(2, gpu_mode="fsdp")
    then.load_state_dict(copy.deepcopy(loop.state_dict()))
    then.fit(num_epochs=1, num_gpus=2, fsdp_model_args=OPTIONS)
    after = job()
    after.load_state_dict(copy.deepcopy(then.state_dict()))
    after.fit(num_epochs=1)
    for a, b in zip(alone.model.parameters(), after.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-6)


def sharded() -> ShardedStrategy:
    return ShardedStrategy(CPU, shard_modules=["Linear"])


class InEachProcess:
    """What can be seen only where the model is sharded; each loop fits where it is."""

    def __call__(self, strategy: Any) -> dict[str, Any]:
        return {
            "interchanged": self.interchanged(strategy.comm),
            "evaluated": self.evaluated(),
            "known": self.known(),
            "skipped": self.skipped(),
        }

    def interchanged(self, comm: Any) -> dict[str, list[Any]]:
        """One epoch under one strategy, the next under another, the third under the first."""
        found = {}
        for first, second in [(sharded, ddp), (ddp, sharded)]:
            state = None
            for make in (first, second, first):
                loop = job(2, gpu_mode=make())
                if state is not None:
                    loop.load_state_dict(state)
                loop.fit(num_epochs=1)
                state = comm.broadcast_object(copy.deepcopy(loop.state_dict()))
            assert state is not None
            found[first.__name__] = list(state["model"].values())
        return found

    def evaluated(self) -> dict[str, Any]:
        """Of a set with one sample, which one process has, before and after training."""
        loop = job(2, validation=1, gpu_mode=sharded())
        before = loop.evaluate_loss_on_validation_set()
        loop.fit(num_epochs=1)
        loop.fit(num_epochs=1)  # the same model again
        streamed = [len(found.y_pred) for found in loop.predict_batches(loop.validation_loader)]
        metric = loop.evaluate_metric(loop.validation_loader, Count())
        return {
            "before": before,
            "history": dict(loop.train_history),
            "predicted": loop.predict_on_validation_set()[0],
            "streamed": streamed,
            "counted": metric,
        }

    def known(self) -> list[bool]:
        """What is known of the present weights is not computed again, and only that."""
        loop = job(2, gpu_mode=sharded(), end_auto_eval=False)
        loop.fit(num_epochs=1)
        passes: list[int] = []
        loop.model.register_forward_hook(lambda *_: passes.append(1))
        first, made = loop.evaluate_loss_on_validation_set(), len(passes)
        is_known = loop.evaluate_loss_on_validation_set() == first and len(passes) == made > 0
        with torch.no_grad():
            loop.model.shift.add_(1.0)
        second = loop.evaluate_loss_on_validation_set()
        return [is_known, len(passes) == 2 * made, second != first]

    def skipped(self) -> list[float]:
        """A bad step of one process is left out in all."""
        poison = Poison()
        loop = job(2, gpu_mode=sharded(), nan_policy="skip")
        loop.fit(num_epochs=1, callbacks=[poison])
        return poison.skipped


class Poison(Callback):
    def __init__(self) -> None:
        super().__init__("poison")
        self.skipped: list[float] = []

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        loop = self.train_loop_obj
        if loop.iteration == 3 and loop.rank == 1:
            loop.model.shift.grad.to_local().fill_(float("nan"))

    def on_after_optimizer_step(self) -> None:
        if self.train_loop_obj.skipped():
            self.skipped.append(self.train_loop_obj.iteration)


class Count:
    """How many samples a metric sees."""

    def __init__(self) -> None:
        self.state = {"samples": 0}

    def reset(self) -> None:
        self.state = {"samples": 0}

    def update(self, y_true: Any, y_predicted: Any) -> None:
        self.state["samples"] += len(y_true)

    def merge(self, state: Any) -> None:
        self.state["samples"] += state["samples"]

    def compute(self) -> dict[str, int]:
        return dict(self.state)


def ddp() -> DistributedStrategy:
    return DistributedStrategy(CPU)


@pytest.fixture(scope="module")
def seen() -> list[dict[str, Any]]:
    return Spawn(2, make_strategy=ShardedStrategy).run(InEachProcess())


def test_states_go_from_each_strategy_to_the_other(
    alone: TrainLoop, seen: list[dict[str, Any]]
) -> None:
    for values in seen[0]["interchanged"].values():
        for own, other in zip(alone.model.parameters(), values, strict=True):
            torch.testing.assert_close(other, own.detach(), rtol=0, atol=1e-6)


def test_processes_without_a_sample_take_part_in_evaluation(seen: list[dict[str, Any]]) -> None:
    loop = job(validation=1)
    before = loop.evaluate_loss_on_validation_set()
    loop.fit(num_epochs=1)
    loop.fit(num_epochs=1)
    for process in seen:
        found = process["evaluated"]
        assert found["before"] == pytest.approx(before, abs=1e-6)
        assert found["history"].keys() == loop.train_history.keys()
        for name, values in loop.train_history.items():
            assert found["history"][name] == pytest.approx(values, abs=1e-5), name
        assert torch.equal(found["predicted"], loop.predict_on_validation_set()[0])
        assert found["counted"] == {"samples": 1}
    assert sorted(process["evaluated"]["streamed"] for process in seen) == [[], [1]]


def test_what_is_known_of_sharded_weights(seen: list[dict[str, Any]]) -> None:
    assert seen[0]["known"] == [True, True, True]


def test_all_processes_leave_a_bad_step_out(seen: list[dict[str, Any]]) -> None:
    assert [process["skipped"] for process in seen] == [[3], [3]]
