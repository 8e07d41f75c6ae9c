"""A sample's randomness is a function of the seed, the epoch and the sample's index alone."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
    get_worker_info,
)

from tt_loop.api import TrainLoop, TTModel
from tt_loop.data.batches import Batches
from tt_loop.data.prefetch import Prefetched
from tt_loop.seeds import seed_everything

SAMPLES, SEED = 19, 3


def noise() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.normal()),
        float(torch.rand(())),
        float(torch.randn(())),
    ]


class Noisy(Dataset):
    """Samples ``[index, *noise]``; only some draw where ``draws`` says so."""

    def __init__(self, samples: int = SAMPLES, draws=lambda index: True) -> None:
        self.samples, self.draws, self.shift = samples, draws, 0.0

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int):
        drawn = noise() if self.draws(index) else [0.0] * 6
        return torch.tensor([index + self.shift, *drawn], dtype=torch.float64)


class Whole(Noisy):
    """Reads whole batches in its own way."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def read(loader, epoch: int = 0, start: int = 0, seed: int | None = SEED, **share) -> list:
    """The batches that a loop reads of a loader."""
    share = {"rank": 0, "world_size": 1, **share}
    return [*Batches(loader, "training", seed=seed, **share).epoch(epoch, start)]


def rows(batches) -> dict[int, list[float]]:
    """Noise by index."""
    return {int(row[0]): row[1:].tolist() for batch in batches for row in batch}


EXPECTED = rows(read(DataLoader(Noisy(), 1)))


def test_every_sample_has_noise_of_its_own() -> None:
    assert len({value for row in EXPECTED.values() for value in row}) == SAMPLES * 6


@settings(max_examples=50, deadline=None)
@given(
    batch_size=st.integers(1, SAMPLES + 1),
    shuffle=st.booleans(),
    start=st.integers(0, 4),
    seeds=st.tuples(*[st.integers(0, 9)] * 2),
    subset=st.booleans(),
)
def test_neither_order_nor_batches_nor_position_matter(batch_size, shuffle, start, seeds, subset):
    seed_everything(seeds[0])
    order = torch.randperm(SAMPLES).tolist() if subset else [*range(SAMPLES)]
    source = Subset(Noisy(), order) if subset else Noisy()
    options = {"shuffle": shuffle, "generator": torch.Generator().manual_seed(SEED)}
    seed_everything(seeds[1])
    found = rows(read(DataLoader(source, batch_size, **options), start=start))
    assert len(found) == max(0, SAMPLES - start * batch_size)
    assert found == {index: EXPECTED[order.index(index)] for index in found}


@settings(max_examples=30, deadline=None)
@given(world_size=st.integers(1, 4), batch_size=st.integers(1, 6), shuffle=st.booleans())
def test_processes_together_read_what_one_reads(world_size, batch_size, shuffle) -> None:
    together = {}
    for rank in range(world_size):
        loader = DataLoader(Noisy(), batch_size, shuffle=shuffle)
        together |= rows(read(loader, rank=rank, world_size=world_size))
    assert together == EXPECTED
    evaluated = [
        rows(read(DataLoader(Noisy(), batch_size), seed=None, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    whole = rows(read(DataLoader(Noisy(), batch_size), seed=None))
    assert dict(itertools.chain.from_iterable(each.items() for each in evaluated)) == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 1},
        {"num_workers": 2, "prefetch_factor": 1},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "in_order": False},
    ],
)
def test_workers_do_not_matter(options) -> None:
    loader = DataLoader(Noisy(), 3, shuffle=True, **options)
    batches = Batches(loader, "training", rank=0, world_size=1, seed=SEED)
    plain = DataLoader(Noisy(), 3, shuffle=True)
    for epoch, start in ((0, 0), (1, 0), (0, 2)):
        found = rows(batches.epoch(epoch, start))
        assert found == rows(read(plain, epoch, start))
    assert rows(read(Prefetched(loader))) == EXPECTED


DRAWING = {
    "all": lambda index: True,
    "none": lambda index: False,
    "later ones": lambda index: index > 9,
    "a few": lambda index: index % 7 == 3,
    "the first": lambda index: index == 0,
}


@pytest.mark.parametrize("kind", DRAWING)
@pytest.mark.parametrize("make", [Noisy, Whole])
def test_the_global_generators_are_left_alone(make, kind: str) -> None:
    draws = DRAWING[kind]
    seed_everything(8)
    np.random.normal(), random.gauss(0, 1)  # each of which holds a second one back
    torch.randn(1)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    for loader in (
        DataLoader(make(draws=draws), 2),
        DataLoader(make(draws=draws), 2, collate_fn=noisy_collate),
        DataLoader(TensorDataset(torch.zeros(5)), 2, shuffle=True),
    ):
        read(loader)
        read(loader, seed=None)
        assert random.getstate() == before[0]
        after = np.random.get_state()
        assert [*after[2:], after[1].tolist()] == [*before[1][2:], before[1][1].tolist()]
        assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("kind", DRAWING)
@pytest.mark.parametrize("shuffle", [False, True])
def test_data_sets_that_draw_for_some_samples_only(kind: str, shuffle: bool) -> None:
    draws = DRAWING[kind]
    expected = {index: row if draws(index) else [0.0] * 6 for index, row in EXPECTED.items()}
    for start in (0, 3):
        seed_everything(random.getrandbits(30))
        found = rows(read(DataLoader(Noisy(draws=draws), 2, shuffle=shuffle), start=start))
        assert found == {index: expected[index] for index in found}


class Normal(Dataset):
    """Later samples draw one normal number, of which NumPy makes two and holds one back."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int):
        return torch.tensor([index, float(np.random.normal()) if index > 9 else 0.0])


def test_a_number_that_numpy_holds_back_is_neither_used_nor_lost() -> None:
    found = []
    for held in (False, True):
        seed_everything(4)
        if held:
            np.random.normal()
        found.append(rows(read(DataLoader(Normal(), 1))))
        assert np.random.get_state()[3] == held
    assert found[0] == found[1]
    assert len({*map(tuple, found[0].values())}) == SAMPLES - 9


def noisy_collate(samples):
    return default_collate(samples) + torch.rand(()) + random.random() + float(np.random.rand())


@pytest.mark.parametrize("make", [Noisy, Whole])
@pytest.mark.parametrize("draws", [lambda index: True, lambda index: index > 9])
def test_collating_and_reading_whole_batches_are_functions_of_the_batch(make, draws) -> None:
    def loader(workers: int = 0) -> DataLoader:
        options = {"shuffle": True, "num_workers": workers, "collate_fn": noisy_collate}
        return DataLoader(make(draws=draws), 3, **options)

    seed_everything(1)
    whole = read(loader())
    seed_everything(2)
    for again in (read(loader()), read(loader(1)), [*whole[:2], *read(loader(), start=2)]):
        assert all(torch.equal(*pair) for pair in zip(whole, again, strict=True))
    assert len({float(batch[0, 0]) for batch in whole}) == len(whole)


def test_epochs_and_seeds_differ() -> None:
    seen = [
        tuple(rows(read(DataLoader(Noisy(), 4), epoch=epoch, seed=seed))[0])
        for seed in (0, 1, -1, 2**40)
        for epoch in (0, 1, 2)
    ]
    assert len({value for row in seen for value in row}) == 6 * 12


def test_noise_is_uncorrelated_over_samples_and_epochs() -> None:
    count = 400
    epochs = [rows(read(DataLoader(Noisy(count), 50), epoch=epoch)) for epoch in (0, 1)]
    table = np.array([[epoch[index] for index in range(count)] for epoch in epochs])
    shifted = [table[0], table[1], np.roll(table[0], 1, axis=0)]
    series = np.concatenate(shifted, axis=1).T  # each of the six, of either epoch, and of the next
    correlations = np.corrcoef(series) - np.eye(len(series))
    assert np.abs(correlations).max() < 5.5 / count**0.5
    means, spreads = table.mean((0, 1)), table.std((0, 1))
    assert np.allclose(means, [0.5, 0, 0.5, 0, 0.5, 0], atol=0.18)
    assert np.allclose(spreads, [0.2887, 1, 0.2887, 1, 0.2887, 1], rtol=0.15)


def set_shift(worker: int) -> None:
    info = get_worker_info()
    info.dataset.shift = 100.0
    assert info.dataset.samples == SAMPLES


@pytest.mark.slow
def test_a_worker_init_function_sets_attributes_of_the_data_set() -> None:
    loader = DataLoader(Noisy(), 4, num_workers=1, worker_init_fn=set_shift)
    assert rows(read(loader)) == {index + 100: row for index, row in EXPECTED.items()}


class Echo(TTModel):
    """Predicts its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def get_loss(self, batch_data, criterion, device):
        return (batch_data * self.weight).mean()

    def get_predictions(self, batch_data, device):
        return batch_data, batch_data[:, 0], {}


def test_every_evaluation_sees_the_same_noise_and_training_other_in_each_epoch() -> None:
    model = Echo()
    loader = DataLoader(Noisy(), 4, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, loader, loader, None, optimizer, None, progress=False, seed=SEED)
    seen = []
    for _ in range(3):
        torch.rand(1)
        seen.append(loop.predict_on_validation_set(force_prediction=True)[0])
        loop.fit(num_epochs=1)
        seen.append(torch.cat([found.y_pred for found in loop.predict_batches(loader)]))
    assert all(torch.equal(seen[0], other) for other in seen)
    assert len({*loop.train_history["loss"]}) == 3
