"""The same job in every mode that a CPU can run: one result."""

import copy
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from tt_loop.api import (
    Callback,
    EarlyStopping,
    LoopValueError,
    ModelPerformanceEvaluation,
    TrainLoop,
    TTModel,
)
from tt_metrics.api import AbstractResultPackage, ClassificationResultPackage
from tt_parallel.api import NotTransferable, ParallelValueError, TorchAmp, WorkerError, ddp

SAMPLES = 194  # global batches of 16 leave 2: some of four processes have none of the last


class Classifier(TTModel):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 3))

    def forward(self, x: torch.Tensor) -> Any:
        return self.layers(x)

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        x, y = batch_data
        return criterion(self(x.to(device)), y.to(device))

    def get_predictions(self, batch_data: Any, device: torch.device) -> tuple[Any, Any, Any]:
        x, y = batch_data
        return self(x.to(device)).argmax(1), y, {"first": x[:, 0]}


def job(processes: int = 1, accumulation: int = 1, **options: Any) -> TrainLoop:
    torch.manual_seed(4)
    x = torch.randn(SAMPLES, 6)
    y = (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 0.5).long()
    data = TensorDataset(x, y)
    train = DataLoader(data, batch_size=16 // processes // accumulation, shuffle=True)
    validation = DataLoader(TensorDataset(x[:37], y[:37]), batch_size=8)
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    return TrainLoop(
        model, train, validation, validation, optimizer, criterion, progress=False, **options
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


def in_float16() -> TorchAmp:
    return TorchAmp(torch.device("cpu"), torch.float16, init_scale=1024.0)


@pytest.fixture(scope="module")
def alone() -> TrainLoop:
    loop = job()
    loop.fit(num_epochs=3, callbacks=evaluations())
    return loop


def compare(loop: TrainLoop, alone: TrainLoop, tolerance: float) -> None:
    for (name, a), b in zip(alone.model.named_parameters(), loop.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=tolerance, msg=name)
    assert loop.train_history.keys() == alone.train_history.keys()
    for name, values in alone.train_history.items():
        assert loop.train_history[name] == pytest.approx(values, abs=10 * tolerance), name
    assert loop.total_iteration_idx >= alone.total_iteration_idx
    assert loop.epochs_done == alone.epochs_done


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (2, 2), (4, 1)])
def test_many_processes_equal_one(alone: TrainLoop, processes: int, accumulation: int) -> None:
    loop = job(processes, accumulation, gpu_mode="ddp")
    before = nn.utils.parameters_to_vector(loop.model.parameters()).clone()
    loop.fit(
        num_epochs=3,
        callbacks=evaluations(),
        grad_accumulation=accumulation,
        num_gpus=processes,
    )
    assert not torch.equal(before, nn.utils.parameters_to_vector(loop.model.parameters()))
    compare(loop, alone, 1e-6)
    y_pred, y_true, metadata = loop.predict_on_validation_set()
    expected = alone.predict_on_validation_set()
    assert torch.equal(y_true, expected[1])
    assert torch.equal(metadata["first"], expected[2]["first"])
    assert torch.equal(y_pred, expected[0])


@pytest.mark.slow
@pytest.mark.parametrize("make_amp", [lambda: True, in_float16])
def test_mixed_precision_in_processes(make_amp: Any) -> None:
    one, two = job(use_amp=make_amp()), job(2, gpu_mode="ddp", use_amp=make_amp())
    one.fit(num_epochs=2)
    two.fit(num_epochs=2, num_gpus=2)
    assert two.train_history["loss"] == pytest.approx(one.train_history["loss"], abs=2e-3)
    assert two.state_dict()["precision"] == one.state_dict()["precision"]


@pytest.mark.slow
def test_every_node_gets_the_trained_model(alone: TrainLoop, tmp_path: Path) -> None:
    meeting = f"file://{tmp_path}/meeting"
    nodes = [
        ddp(num_gpus=1, num_nodes=2, node_rank=rank, init_method=meeting, on_gpu=False)
        for rank in range(2)
    ]
    loops = [job(2, gpu_mode=node) for node in nodes]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda loop: loop.fit(num_epochs=3, callbacks=evaluations()), loops))
    for loop in loops:
        compare(loop, alone, 1e-6)


class Interrupt(Callback):
    """Ctrl-C in the middle of training, in the process that called ``fit``."""

    def __init__(self, notes: Path) -> None:
        super().__init__("interrupt")
        self.notes = notes

    def on_batch_end(self) -> None:
        loop = self.train_loop_obj
        if loop.epochs_done == 0 and loop.iteration == 2 and loop.rank == 0:
            os.kill(os.getppid(), signal.SIGINT)

    def on_exception(self, exception: BaseException) -> None:
        time.sleep(0.3)
        (self.notes / f"{self.train_loop_obj.rank}").write_text(type(exception).__name__)


@pytest.mark.slow
def test_an_interrupted_fit_comes_to_its_end_in_every_process(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        job(2, gpu_mode="ddp").fit(num_epochs=10_000, num_gpus=2, callbacks=[Interrupt(tmp_path)])
    assert {note.name: note.read_text() for note in tmp_path.iterdir()} == {
        "0": "KeyboardInterrupt",
        "1": "KeyboardInterrupt",
    }


class StopAtOnce(Callback):
    """One process wants to stop before the first epoch."""

    def __init__(self) -> None:
        super().__init__("stop at once", device_idx_execution=1)

    def on_train_begin(self) -> None:
        self.train_loop_obj.early_stop = True


@pytest.mark.slow
def test_processes_do_not_wait_for_one_that_stopped_before_training() -> None:
    loop = job(2, gpu_mode="ddp")
    loop.fit(num_epochs=3, num_gpus=2, callbacks=[StopAtOnce()])
    assert loop.epochs_done == 0


@pytest.mark.slow
def test_parameters_that_nobody_averages_are_refused() -> None:
    loop = job(2, gpu_mode="ddp")
    loop.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(()))]})
    with pytest.raises(WorkerError, match="the optimizer has others"):
        loop.fit(num_epochs=1, num_gpus=2)


@pytest.mark.slow
def test_a_fit_in_processes_can_be_continued(alone: TrainLoop) -> None:
    loop = job(2, gpu_mode="ddp")
    loop.fit(num_epochs=1, num_gpus=2)
    assert loop.epochs_done == 1
    loop.fit(num_epochs=2, num_gpus=2)
    for a, b in zip(alone.model.parameters(), loop.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_state_goes_from_one_process_to_two(alone: TrainLoop) -> None:
    first = job()
    first.fit(num_epochs=1)
    then = job(2, gpu_mode="ddp")
    then.load_state_dict(copy.deepcopy(first.state_dict()))
    then.fit(num_epochs=2, num_gpus=2)
    for a, b in zip(alone.model.parameters(), then.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-6)


def test_data_parallel_without_gpus_is_one_device(alone: TrainLoop) -> None:
    loop = job(gpu_mode="dp")
    loop.fit(num_epochs=3, callbacks=evaluations())
    compare(loop, alone, 0.0)


@pytest.mark.parametrize("make_amp", [lambda: True, in_float16])
def test_mixed_precision_is_close(alone: TrainLoop, make_amp: Any) -> None:
    loop = job(use_amp=make_amp())
    loop.fit(num_epochs=3)
    assert loop.train_history["val_loss"][-1] == pytest.approx(
        alone.train_history["val_loss"][-1], abs=0.02
    )
    state = copy.deepcopy(loop.state_dict())
    again = job(use_amp=make_amp())
    again.load_state_dict(state)
    again.fit(num_epochs=1)
    loop.fit(num_epochs=1)
    for a, b in zip(loop.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


class AskToStop(Callback):
    """One process wants to stop in the middle of an epoch; all stop at the same step."""

    def __init__(self, rank: int) -> None:
        super().__init__("ask to stop", device_idx_execution=rank)

    def on_batch_end(self) -> None:
        if self.train_loop_obj.iteration == 2:
            self.train_loop_obj.early_stop = True


@pytest.mark.slow
def test_processes_stop_together() -> None:
    loop = job(2, gpu_mode="ddp")
    loop.fit(num_epochs=3, num_gpus=2, callbacks=[AskToStop(rank=1)])
    assert loop.epochs_done == 1
    assert loop.total_iteration_idx == 3  # the wish travels with the next step's message


class Seeds(Callback):
    """Each process draws numbers of its own."""

    def __init__(self) -> None:
        super().__init__("seeds")

    def on_multiprocess_start(self) -> None:
        self.drawn = torch.rand(1).item()

    def on_train_end(self) -> None:
        comm = self.train_loop_obj.ready()[0].comm
        self.all_drawn = comm.gather_objects(self.drawn)

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": getattr(self, "all_drawn", None)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.all_drawn = state["drawn"]


@pytest.mark.slow
def test_each_process_has_random_numbers_of_its_own() -> None:
    seeds = Seeds()
    job(2, gpu_mode="ddp").fit(num_epochs=1, num_gpus=2, callbacks=[seeds])
    assert len(set(seeds.all_drawn)) == 2  # type: ignore[arg-type]  # rank 0 has a list


class Break(Callback):
    def __init__(self, at: str) -> None:
        super().__init__("break", device_idx_execution=1)
        self.at = at

    def on_epoch_end(self) -> None:
        if self.at == "exit":
            os._exit(3)
        msg = "broken on rank 1"
        raise ValueError(msg)


@pytest.mark.slow
@pytest.mark.parametrize(("at", "said"), [("raise", "broken on rank 1"), ("exit", "exit")])
def test_a_process_that_breaks_ends_the_fit(at: str, said: str) -> None:
    threads = threading.active_count()
    with pytest.raises(WorkerError, match=said):
        job(2, gpu_mode="ddp").fit(num_epochs=1, num_gpus=2, callbacks=[Break(at)])
    assert threading.active_count() == threads


def test_what_cannot_be_sent_to_a_process_is_named() -> None:
    loop = job(2, gpu_mode="ddp")
    loop.criterion = lambda *_: torch.zeros(())
    with pytest.raises(NotTransferable, match=r"TrainLoop\.criterion"):
        loop.fit(num_epochs=1, num_gpus=2)


def test_what_processes_cannot_share_is_refused_before_they_start() -> None:
    loop = job(2, gpu_mode="ddp")
    data = loop.validation_loader.dataset
    loop.validation_loader = DataLoader(data, 4, sampler=DistributedSampler(data, 2, 0))
    with pytest.raises(LoopValueError, match="same in each of those that fit starts"):
        loop.fit(num_epochs=1, num_gpus=2)


def test_processes_on_the_cpu_must_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParallelValueError, match="num_gpus=2"):
        job(2, gpu_mode="ddp").fit(num_epochs=1)
