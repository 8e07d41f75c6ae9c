"""The order of batches and their shares."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tt_loop.api import EmptyLoaderError, to_device
from tt_loop.data.batches import Batches, batch_weight


def loader(samples: int, batch_size: int = 4, **options) -> DataLoader:
    return DataLoader(TensorDataset(torch.arange(samples)), batch_size=batch_size, **options)


def share(source, rank: int = 0, world_size: int = 1, seed: int | None = 0) -> Batches:
    return Batches(source, "training", rank=rank, world_size=world_size, seed=seed)


def flat(lists) -> list:
    return [*itertools.chain.from_iterable(lists)]


def indices(batches: Batches, epoch: int = 0) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches.epoch(epoch)]


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 40),
    batch_size=st.integers(1, 5),
    world_size=st.integers(1, 4),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_processes_together_see_the_batches_of_one(
    samples, batch_size, world_size, epoch, shuffle
) -> None:
    one = indices(share(loader(samples, batch_size * world_size, shuffle=shuffle)), epoch)
    shares = [
        share(loader(samples, batch_size, shuffle=shuffle), rank, world_size)
        for rank in range(world_size)
    ]
    parts = [
        [(batch[0].tolist(), part.is_filler, part.is_last) for batch in part.epoch(epoch)]
        for part in shares
    ]
    assert {len(part) for part in parts} == {len(one)}  # nobody waits for a batch that never comes
    for number, batch in enumerate(one):
        together = [part[number] for part in parts]
        own = [found for found, is_filler, _ in together if not is_filler]
        assert sorted(flat(own)) == sorted(batch)
        assert {is_last for *_, is_last in together} == {number + 1 == len(one)}


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 40), batch_size=st.integers(1, 5), world_size=st.integers(1, 6))
def test_evaluation_sees_each_sample_once_in_the_datasets_order(
    samples, batch_size, world_size
) -> None:
    source = loader(samples, batch_size, shuffle=True, drop_last=samples >= batch_size)
    parts = [indices(share(source, rank, world_size, seed=None)) for rank in range(world_size)]
    assert flat(flat(parts)) == list(range(samples))


def test_epochs_are_different_permutations_of_the_seed_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        torch.rand(3)  # what others draw must not matter
        return flat(indices(share(loader(30, shuffle=True), seed=seed), epoch))

    assert sorted(order(1, 0)) == list(range(30))
    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_the_seed_of_the_loaders_own_generator_counts() -> None:
    def order(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return indices(share(loader(30, shuffle=True, generator=generator)))

    assert order(5) == order(5) != order(6)


def test_reading_batches_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    for seed in (None, 1):
        indices(share(loader(9, shuffle=True, num_workers=1), seed=seed))
    assert torch.equal(before, torch.get_rng_state())


def test_the_rebuilt_loader_keeps_what_the_user_chose() -> None:
    def collate(samples):
        return [torch.stack([sample[0] for sample in samples]) + 100]

    source = loader(5, 2, collate_fn=collate, drop_last=True)
    assert indices(share(source)) == [[100, 101], [102, 103]]


def test_other_loaders_are_read_as_they_are() -> None:
    sampler = WeightedRandomSampler([1.0] * 6, 6)
    subset = SubsetRandomSampler(range(3))
    by_four = DataLoader(range(8), batch_sampler=BatchSampler(subset, 2, drop_last=False))
    first_half = loader(6, sampler=SequentialSampler(range(3)))
    for source in (loader(6, sampler=sampler), [torch.zeros(2)], by_four, first_half):
        for seed in (None, 0):
            batches = share(source, seed=seed)
            assert not batches.driven
            given = [batches.is_last for _ in batches.epoch(0)]
            assert given == [number + 1 == batches.sized for number in range(len(given))]


@pytest.mark.parametrize(
    "source", [[], loader(3, 4, drop_last=True), DataLoader(TensorDataset(torch.zeros(0)))]
)
def test_a_loader_without_batches_is_refused(source) -> None:
    with pytest.raises(EmptyLoaderError, match="at least one batch"):
        share(source)


def test_a_global_batch_that_is_never_full_is_refused() -> None:
    with pytest.raises(EmptyLoaderError):
        share(loader(6, 4, drop_last=True), 0, 2)


@pytest.mark.parametrize(
    ("batch", "weight"),
    [
        ([torch.zeros(3, 2), torch.zeros(3)], 3),
        ({"ids": torch.zeros(5, 1)}, 5),
        ((["a", "b"], torch.zeros(2)), 2),
        (["a", "b", "c"], 3),
        ({"text": ["a", "b", "c"], "label": [0, 1, 2]}, 3),
        ([("a", "b", "c"), ("x", "y", "z")], 3),
        ((["a", "b", "c"], [0, 1, 2]), 3),
        (torch.tensor(1.0), 1),
        (1.0, 1),
    ],
)
def test_weight_of_a_batch(batch, weight: int) -> None:
    assert batch_weight(batch) == weight


def test_moving_a_nested_batch_keeps_its_shape() -> None:
    from collections import namedtuple

    pair = namedtuple("pair", ["x", "names"])
    batch = {"a": [torch.zeros(1), "text"], "b": pair(torch.ones(2), ("t",))}
    moved = to_device(batch, torch.device("meta"))
    assert moved["a"][0].device.type == moved["b"].x.device.type == "meta"
    assert moved["a"][1] == "text"
    assert moved["b"].names == ("t",)
    same = torch.zeros(1)
    assert to_device([same], torch.device("cpu"))[0] is same
