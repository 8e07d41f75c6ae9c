"""The batch size finder, with memory that is pretended to run out."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset

from tt_loop.api import EarlyStopping, LoopStateError, LoopTypeError, LoopValueError, TrainLoop
from tt_loop.callbacks import batch_size_finder
from tt_loop.callbacks.batch_size_finder import BatchSizeFinder
from tt_loop.data.tensor_loader import TensorLoader


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    """Collecting garbage takes longer than everything else here."""
    monkeypatch.setattr(batch_size_finder.gc, "collect", int)


class Small(nn.Module):
    """A model whose memory holds batches of at most so many samples."""

    def __init__(self, room: int, error: BaseException) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.room, self.error = room, error
        self.tried: list[int] = []

    def forward(self, x):
        if not self.tried or self.tried[-1] != len(x):
            self.tried.append(len(x))
        if len(x) > self.room:
            raise self.error
        return self.layer(x)


def job(room: int, samples: int = 300, error: BaseException | None = None, **loader) -> TrainLoop:
    data = TensorDataset(torch.randn(samples, 2), torch.randn(samples, 1))
    model = Small(room, error or torch.OutOfMemoryError("CUDA out of memory."))
    optimizer = torch.optim.Adam(model.parameters())
    loader = DataLoader(data, **{"batch_size": 8, "shuffle": True, "drop_last": True, **loader})
    return TrainLoop(model, loader, None, None, optimizer, nn.MSELoss(), progress=False)


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    room=st.integers(1, 80),
    start=st.integers(1, 100),
    max_size=st.integers(1, 90),
    samples=st.integers(1, 70),
)
def test_bisecting_finds_exactly_what_fits(room, start, max_size, samples) -> None:
    loop = job(room, samples, batch_size=1)
    finder = BatchSizeFinder(start, max_size=max_size, steps_per_trial=1)
    assert finder.run(loop) == min(room, max_size, samples)
    assert max(loop.model.tried) <= min(max_size, samples)


def test_sizes_are_doubled_and_then_bisected() -> None:
    loop = job(room=90)
    assert BatchSizeFinder().run(loop) == 90
    assert loop.model.tried[:5] == [8, 16, 32, 64, 128]
    loop = job(room=90)
    assert BatchSizeFinder(bisect=False).run(loop) == 64
    assert loop.model.tried == [8, 16, 32, 64, 128]


def test_a_first_size_that_does_not_fit_is_halved() -> None:
    loop = job(room=10, batch_size=64)
    assert BatchSizeFinder(bisect=False).run(loop) == 8
    assert loop.model.tried == [64, 32, 16, 8]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_whatever_means_too_little_memory_is_understood(error) -> None:
    assert BatchSizeFinder().run(job(20, error=error)) == 20


def test_another_error_is_not_taken_for_too_little_memory() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        BatchSizeFinder().run(job(20, error=RuntimeError("mat1 and mat2 shapes differ")))


def test_when_not_even_one_sample_fits_the_memory_error_is_raised() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        BatchSizeFinder().run(job(room=0))


def test_an_accelerators_cache_is_emptied_after_a_failure(monkeypatch) -> None:
    emptied = []
    monkeypatch.setattr(torch.accelerator, "empty_cache", lambda: emptied.append(True))
    loop = job(room=10)
    batch_size_finder._free(loop)
    assert not emptied
    loop.device = torch.device("cuda")
    batch_size_finder._free(loop)
    assert emptied == [True]


def test_everything_is_afterwards_as_it_was() -> None:
    loop = job(room=40)
    loop.fit(num_epochs=1, callbacks=[EarlyStopping("loss", patience=5)])
    loader, rng = loop.train_loader, torch.get_rng_state()
    state = copy.deepcopy(loop.state_dict())
    BatchSizeFinder().run(loop)
    after = loop.state_dict()
    assert loop.train_loader is loader
    assert torch.equal(torch.get_rng_state(), rng)
    for part in ("loop", "history", "callbacks", "precision"):
        assert after[part] == state[part]
    for name, tensor in state["model"].items():
        assert torch.equal(after["model"][name], tensor)
    for name, values in state["optimizers"][0]["state"].items():
        for key, value in values.items():
            assert torch.equal(after["optimizers"][0]["state"][name][key], value)


def test_each_size_takes_some_optimizer_steps() -> None:
    loop = job(room=10**9, samples=64)
    steps = []
    loop.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    assert BatchSizeFinder(16, max_size=32, steps_per_trial=5).run(loop) == 32
    assert len(steps) == 10


def test_the_found_size_may_be_applied() -> None:
    loop = job(room=40, num_workers=0)
    old = loop.train_loader
    assert BatchSizeFinder().run(loop, apply=True) == 40
    new = loop.train_loader
    assert new.batch_size == 40
    assert new.dataset is old.dataset
    assert new.drop_last
    assert isinstance(new.sampler, RandomSampler)
    loop.fit(num_epochs=1)
    assert loop.total_iteration_idx == 300 // 40 - 1


def test_a_sequential_loader_stays_one() -> None:
    loop = job(room=40, shuffle=False)
    BatchSizeFinder().run(loop, apply=True)
    assert isinstance(loop.train_loader.sampler, SequentialSampler)


def test_a_tensor_loader_is_rebuilt_too() -> None:
    loop = job(room=40)
    loader = TensorLoader(loop.train_loader.dataset, batch_size=8, shuffle=True)
    loop.train_loader = loader
    assert BatchSizeFinder().run(loop, apply=True) == 40
    assert (loop.train_loader.batch_size, loop.train_loader.shuffle) == (40, True)
    assert loader.batch_size == 8


@pytest.mark.parametrize(
    "loader",
    [
        [[torch.ones(4, 2), torch.ones(4, 1)]],
        DataLoader(TensorDataset(torch.ones(4, 2), torch.ones(4, 1)), batch_size=None),
        DataLoader(TensorDataset(torch.ones(4, 2), torch.ones(4, 1)), batch_sampler=[[0, 1], [2]]),
    ],
)
def test_a_loader_without_a_batch_size_is_refused(loader) -> None:
    loop = job(room=40)
    loop.train_loader = loader
    with pytest.raises(LoopTypeError, match="with a batch_size"):
        BatchSizeFinder().run(loop)


def test_a_loop_without_an_optimizer_is_refused() -> None:
    loop = job(room=40)
    loop.optimizer = None
    with pytest.raises(LoopValueError, match="an optimizer"):
        BatchSizeFinder().run(loop)


def test_a_loop_of_several_processes_is_refused() -> None:
    class Elsewhere:
        in_process = False

        def run(self, fn, /):
            raise AssertionError

    loop = job(room=40)
    loop.gpu_mode = Elsewhere()
    with pytest.raises(LoopStateError, match="one process"):
        BatchSizeFinder().run(loop)


@pytest.mark.parametrize("setting", ["start_size", "max_size", "steps_per_trial"])
def test_settings_that_cannot_work_are_refused(setting: str) -> None:
    with pytest.raises(LoopValueError):
        BatchSizeFinder(**{setting: 0})
