"""Loaders of every kind in two processes: the weights are those of one."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)

from tt_loop.api import EmptyLoaderError, LoopValueError, PerProcess, TrainLoop
from tt_parallel.api import Spawn

SAMPLES, EPOCHS = 46, 2
X = torch.randn(SAMPLES, 5, generator=torch.Generator().manual_seed(1))
Y = (X.sum(1) > 0).long()
DATA = TensorDataset(X, Y)
BATCHES = [[*range(at, min(at + 1 + at % 5, SAMPLES))] for at in range(0, SAMPLES, 5)] + [[4, 4, 9]]


def rows(indices: Any) -> list[torch.Tensor]:
    return [X[indices], Y[indices]]


class Shards(IterableDataset[Any]):
    """Each worker has a part."""

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        assert worker is not None
        return (DATA[i] for i in range(worker.id, SAMPLES, worker.num_workers))


class Anew:
    """Batches without a length."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def weighted(batch_size: int) -> DataLoader[Any]:
    sampler = WeightedRandomSampler(
        [1.0 + i for i in range(SAMPLES)], 37, generator=torch.Generator().manual_seed(8)
    )
    return DataLoader(DATA, batch_size, sampler=sampler)


def parts(rank: int) -> list[list[torch.Tensor]]:
    """Seven batches for the first process, four for the second."""
    own = [*range(28)] if rank == 0 else [*range(28, 44)]
    return [rows(own[at : at + 4]) for at in range(0, len(own), 4)]


def both_parts() -> list[list[torch.Tensor]]:
    together = itertools.zip_longest(parts(0), parts(1))
    return [
        [torch.cat(each) for each in zip(*[part for part in step if part], strict=True)]
        for step in together
    ]


class Case(NamedTuple):
    """A loader, and how one process reads the same."""

    shared: Callable[[int], Any]
    alone: Callable[[], Any]
    accumulation: int = 1
    more_alone: int = 2  # a step of two processes is so many batches of one

    def fit(
        self, loader: Any, accumulation: int, gpu_mode: Any, validation: Any = None
    ) -> tuple[Any, ...]:
        torch.manual_seed(4)
        model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
        validation = validation or [rows(batch) for batch in BATCHES]
        loop = TrainLoop(
            model,
            loader,
            validation,
            None,
            optimizer,
            nn.CrossEntropyLoss(),
            gpu_mode=gpu_mode,
            progress=False,
            seed=0,
        )
        loop.fit(EPOCHS, grad_accumulation=accumulation)
        weights = nn.utils.parameters_to_vector(model.parameters()).detach()
        history = {name: loop.train_history[name] for name in ("loss", "val_loss")}
        return weights, history, loop.updates_done


CASES = {
    "weighted": Case(lambda _: weighted(4), lambda: weighted(8), 1, 1),
    "weighted, windows": Case(lambda _: weighted(2), lambda: weighted(4), 2, 1),
    "batch sampler": Case(
        lambda _: DataLoader(DATA, batch_sampler=BATCHES),
        lambda: DataLoader(DATA, batch_sampler=BATCHES),
    ),
    "workers": Case(
        lambda _: DataLoader(Shards(), 4, num_workers=2),
        lambda: DataLoader(Shards(), 4, num_workers=2),
    ),
    "list": Case(lambda _: [rows(b) for b in BATCHES], lambda: [rows(b) for b in BATCHES]),
    "no length, windows": Case(
        lambda _: Anew([rows(b) for b in BATCHES]), lambda: Anew([rows(b) for b in BATCHES]), 2
    ),
    "own": Case(lambda rank: PerProcess(parts(rank)), both_parts, 1, 1),
    "own, no length, windows": Case(
        lambda rank: PerProcess(Anew(parts(rank))), lambda: Anew(both_parts()), 2, 1
    ),
}


class ByRank(IterableDataset[Any]):
    """Reads other data in each process, and nobody has said so."""

    def __iter__(self) -> Iterator[Any]:
        rank = torch.distributed.get_rank()
        return iter([DATA[i] for i in range(rank, SAMPLES, 2)])


class OwnDraws:
    """Batches that a process draws for itself."""

    def __init__(self, rank: int) -> None:
        self.generator = torch.Generator().manual_seed(rank)

    def __iter__(self) -> Iterator[Any]:
        return (rows(torch.randint(SAMPLES, (4,), generator=self.generator)) for _ in range(3))


def gone_on_with(strategy: Any) -> list[bool]:
    """Whether a run that was saved after its first epoch reads what one without a break does."""

    def weights(*epochs: int) -> torch.Tensor:
        torch.manual_seed(4)
        model = nn.Linear(5, 2)
        state = None
        for number in epochs:
            loader = PerProcess(OwnDraws(strategy.comm.rank))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
            loss, mode = nn.CrossEntropyLoss(), {"gpu_mode": strategy, "progress": False}
            loop = TrainLoop(model, loader, None, None, optimizer, loss, **mode)
            if state is not None:
                loop.load_state_dict(state)
            loop.fit(number)
            state = strategy.comm.broadcast_object(loop.state_dict())
        return nn.utils.parameters_to_vector(model.parameters()).detach()

    return [torch.equal(weights(2), weights(1, 1))]


def fit_all(strategy: Any) -> dict[str, Any]:
    """Every case in one of two processes."""
    rank = strategy.comm.rank
    found: dict[str, Any] = {
        name: case.fit(case.shared(rank), case.accumulation, strategy)
        for name, case in CASES.items()
    }
    with pytest.raises(LoopValueError) as error:
        CASES["list"].fit(DataLoader(ByRank(), 4), 1, strategy)
    found["by rank"] = str(error.value)
    with pytest.raises(EmptyLoaderError, match="validation loader yields none"):
        CASES["list"].fit([rows([0, 1])], 1, strategy, Anew([]))
    found["gone on with"] = gone_on_with(strategy)
    return found


@pytest.fixture(scope="module")
def shared(monkeypatch_module: None) -> list[dict[str, Any]]:
    return Spawn(2).run(fit_all)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES])
def test_two_processes_end_with_the_weights_of_one(shared: list[Any], name: str) -> None:
    case = CASES[name]
    alone = case.fit(case.alone(), case.accumulation * case.more_alone, "single")
    weights, history, updates = alone
    for found in shared:
        torch.testing.assert_close(found[name][0], weights, rtol=0, atol=1e-6)
        for measured, values in history.items():
            assert found[name][1][measured] == pytest.approx(values, abs=1e-6)
        assert found[name][2] == updates


@pytest.mark.slow
def test_other_data_in_each_process_must_be_said_so(shared: list[Any]) -> None:
    for found in shared:
        assert "wrap it in tt_loop.api.PerProcess" in found["by rank"]


@pytest.mark.slow
def test_each_process_goes_on_with_its_own_loader(shared: list[Any]) -> None:
    assert [found["gone on with"] for found in shared] == [[True], [True]]
