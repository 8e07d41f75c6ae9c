from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from torch.utils.data._utils.collate import collate_tensor_fn, default_collate_fn_map

from tt_loop.data.tensor_loader import TensorLoader, tensors_of
from tt_loop.errors import LoopTypeError, LoopValueError

SIZES = st.integers(1, 40)
FLAGS = st.booleans()


def data(samples: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(samples)
    images = torch.randn(samples, 1, 2, 3, generator=generator)
    return [images, torch.arange(samples), torch.rand(samples, 4, generator=generator) > 0.5]


def assert_same(batches, expected) -> None:
    for batch, other in zip(batches, expected, strict=True):
        assert type(batch) is type(other) is list
        for a, b in zip(batch, other, strict=True):
            assert type(a) is type(b)
            assert (a.dtype, a.stride(), a.requires_grad) == (b.dtype, b.stride(), b.requires_grad)
            assert torch.equal(a, b)


@given(
    SIZES, st.integers(1, 12), FLAGS, FLAGS, st.lists(st.integers(0, 50), min_size=1, max_size=4)
)
def test_batches_are_the_data_loaders_epoch_after_epoch(
    samples: int, batch_size: int, shuffle: bool, drop_last: bool, lengths: list[int]
) -> None:
    tensors = data(samples)
    options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    generator = torch.Generator().manual_seed(3)
    theirs = DataLoader(TensorDataset(*tensors), generator=generator, **options)
    ours = TensorLoader(*tensors, seed=3, **options)
    assert len(ours) == len(theirs)
    for length in lengths:  # epochs that are broken off, too
        assert_same(
            [batch for _, batch in zip(range(length), ours, strict=False)],
            [batch for _, batch in zip(range(length), theirs, strict=False)],
        )
        assert torch.equal(ours.generator.get_state(), generator.get_state())


@given(SIZES, st.integers(1, 12), FLAGS, FLAGS)
def test_without_a_generator_it_draws_from_the_global_one_as_the_data_loader_does(
    samples: int, batch_size: int, shuffle: bool, drop_last: bool
) -> None:
    tensors = data(samples)
    options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    found = []
    for loader in (
        TensorLoader(*tensors, **options),
        DataLoader(TensorDataset(*tensors), **options),
    ):
        torch.manual_seed(5)
        batches = []
        for _ in range(2):
            iterator = iter(loader)
            drawn = torch.rand(())  # between the iterator and its first batch
            batches += [*iterator, [drawn]]
        found.append((batches, torch.get_rng_state()))
    (ours, our_state), (theirs, their_state) = found
    assert_same(ours, theirs)
    assert torch.equal(our_state, their_state)


@settings(max_examples=30)
@given(st.integers(0, 12), st.integers(1, 5), FLAGS)
def test_a_sized_loader_yields_as_many_batches(samples, batch_size, drop_last: bool) -> None:
    loader = TensorLoader(*data(samples), batch_size=batch_size, drop_last=drop_last)
    assert len(list(loader)) == len(loader)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(7, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(4, 7).t(),
        torch.randn(14)[::2],
        torch.randn(1, 3).expand(7, 3),
        torch.randn(7, 0, 2),
        torch.randn(7, 2, dtype=torch.complex64).conj(),
        torch.randn(7, 2).to(torch.float8_e4m3fn).view(torch.uint8),
        torch.randint(0, 9, (7, 2)).to(torch.uint16),
    ],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_memory_layout_is_that_of_stacked_samples(tensor: torch.Tensor, shuffle: bool) -> None:
    options = {"batch_size": 3, "shuffle": shuffle}
    theirs = DataLoader(
        TensorDataset(tensor), generator=torch.Generator().manual_seed(1), **options
    )
    assert_same(TensorLoader(tensor, seed=1, **options), theirs)


@pytest.mark.parametrize("shuffle", [False, True])
def test_changing_a_batch_changes_no_data(shuffle: bool) -> None:
    tensors = data(10)
    before = [tensor.clone() for tensor in tensors]
    for images, numbers, flags in TensorLoader(*tensors, batch_size=10, shuffle=shuffle):
        images.mul_(2)
        numbers.zero_()
        flags.logical_not_()
    assert all(map(torch.equal, tensors, before))


def test_a_mapping_gives_batches_that_are_dicts() -> None:
    images, numbers, _ = data(5)
    samples = [{"x": x, "y": y} for x, y in zip(images, numbers, strict=True)]
    options = {"batch_size": 2, "shuffle": True}
    theirs = DataLoader(samples, generator=torch.Generator().manual_seed(1), **options)
    ours = TensorLoader({"x": images, "y": numbers}, seed=1, **options)
    for batch, other in zip(ours, theirs, strict=True):
        assert type(batch) is dict
        assert list(batch) == list(other)
        assert all(torch.equal(batch[name], other[name]) for name in batch)
    assert list(ours.take(torch.tensor([3]))["y"]) == [3]


def test_a_tensor_dataset_stands_for_its_tensors() -> None:
    tensors = data(6)
    assert_same(
        TensorLoader(TensorDataset(*tensors), batch_size=4), TensorLoader(*tensors, batch_size=4)
    )


def test_take_gathers_any_samples_in_any_order() -> None:
    loader = TensorLoader(*data(6))
    assert loader.take(torch.tensor([5, 0, 5]))[1].tolist() == [5, 0, 5]
    assert (loader.samples, loader.batch_size, loader.shuffle) == (6, 1, False)
    assert (loader.drop_last, loader.generator, loader.rows) == (False, None, None)
    assert [tuple(tensor.shape) for tensor in loader.tensors] == [(6, 1, 2, 3), (6,), (6, 4)]


def test_tensors_move_to_the_device_once() -> None:
    loader = TensorLoader(
        torch.zeros(3, 2), torch.zeros(3), batch_size=2, device="meta", shuffle=True
    )
    assert [tuple(x.shape) for x, _ in loader] == [(2, 2), (1, 2)]
    assert loader.device.type == loader.take(torch.tensor([0]))[0].device.type == "meta"


@pytest.mark.parametrize(
    ("arguments", "options", "rule"),
    [
        ([], {}, "at least one tensor"),
        ([{}], {}, "at least one tensor"),
        ([torch.zeros(3), torch.zeros(2)], {}, "equal length"),
        ([{"a": torch.zeros(3), "b": torch.zeros(2)}], {}, r"equal length.*'b': \(2,\)"),
        ([torch.zeros(())], {}, "equal length"),
        ([torch.zeros(3)], {"batch_size": 0}, "at least 1"),
        ([torch.zeros(3)], {"seed": 1, "generator": torch.Generator()}, "exclude each other"),
        ([torch.zeros(3), torch.zeros(3, device="meta")], {}, "one device"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments, options, rule: str) -> None:
    with pytest.raises(LoopValueError, match=rule):
        TensorLoader(*arguments, **options)


class Doubled(TensorDataset):
    def __getitem__(self, index):
        return tuple(2 * tensor for tensor in super().__getitem__(index))


@pytest.mark.parametrize("thing", [np.zeros(3), [1, 2], Doubled(torch.zeros(3))])
def test_other_things_than_tensors_are_refused(thing) -> None:
    with pytest.raises(LoopTypeError, match=type(thing).__name__):
        TensorLoader(thing)


def test_a_tensor_that_torch_cannot_gather_is_refused() -> None:
    with pytest.raises(LoopTypeError, match=r"rows.*torch.uint16.*convert"):
        TensorLoader(torch.zeros(3), torch.zeros(3, dtype=torch.uint16))


INDICES = st.integers(1, 20).flatmap(
    lambda samples: st.tuples(
        st.just(samples), st.lists(st.integers(-samples, samples - 1), min_size=1)
    )
)


@given(
    INDICES, st.integers(1, 6), FLAGS, FLAGS, st.sampled_from([list, tuple, np.array, torch.tensor])
)
def test_a_subset_is_recognised(drawn, batch_size, shuffle, drop_last, kind) -> None:
    samples, indices = drawn
    dataset = Subset(TensorDataset(*data(samples)), kind(indices))

    def loader() -> DataLoader:
        generator = torch.Generator().manual_seed(2)
        return DataLoader(dataset, batch_size, shuffle, drop_last=drop_last, generator=generator)

    theirs, like = loader(), loader()
    ours = tensors_of(like)
    assert ours.samples == len(indices)
    for _ in range(2):
        assert_same(ours, theirs)
    assert torch.equal(like.generator.get_state(), theirs.generator.get_state())


def test_a_split_of_a_split_is_recognised_without_a_copy_of_the_data() -> None:
    tensors = data(20)
    half, _ = random_split(TensorDataset(*tensors), [10, 10])
    quarter, _ = random_split(half, [5, 5])
    ours = tensors_of(DataLoader(quarter, batch_size=2))
    assert_same(ours, DataLoader(quarter, batch_size=2))
    assert ours.tensors[0] is tensors[0]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loader_with_its_own_generator_or_none_is_recognised(shuffle: bool) -> None:
    dataset = TensorDataset(*data(10))
    loader = DataLoader(dataset, batch_size=3, shuffle=shuffle, drop_last=True)
    ours = tensors_of(loader)
    torch.manual_seed(1)
    expected = list(loader)
    torch.manual_seed(1)
    assert_same(ours, expected)
    assert ours.generator is None
    assert not tensors_of(DataLoader(dataset)).drop_last


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_change_nothing(persistent: bool) -> None:
    def loader() -> DataLoader:
        return DataLoader(
            TensorDataset(*data(9)),
            batch_size=2,
            shuffle=True,
            generator=torch.Generator().manual_seed(4),
            num_workers=1,
            persistent_workers=persistent,
        )

    theirs, like, begun = loader(), loader(), loader()
    ours = tensors_of(like)
    assert_same(ours, theirs)
    assert_same(begun, [*tensors_of(loader())])
    later = tensors_of(begun)  # in the middle of the workers' life
    for ours_now, theirs_now, later_now in zip(ours, theirs, later, strict=True):
        assert_same([ours_now, later_now], [theirs_now] * 2)
    assert torch.equal(like.generator.get_state(), theirs.generator.get_state())


class Own(torch.Tensor):
    pass


FOUR = TensorDataset(torch.arange(4.0))


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Doubled(torch.zeros(4))),
        DataLoader([1, 2, 3]),
        DataLoader(FOUR, collate_fn=list),
        DataLoader(FOUR, batch_size=None),
        DataLoader(FOUR, batch_sampler=BatchSampler(SequentialSampler(FOUR), 2, drop_last=False)),
        DataLoader(FOUR, sampler=RandomSampler(FOUR, replacement=True)),
        DataLoader(FOUR, sampler=RandomSampler(FOUR, num_samples=2)),
        DataLoader(FOUR, sampler=RandomSampler(FOUR, generator=torch.Generator())),
        DataLoader(FOUR, sampler=SequentialSampler(range(2))),
        DataLoader(FOUR, sampler=WeightedRandomSampler([1.0, 2.0], 2)),
        DataLoader(FOUR, num_workers=1, worker_init_fn=print),
        DataLoader(FOUR, num_workers=1, in_order=False),
        DataLoader(TensorDataset(torch.zeros(4, requires_grad=True))),
        DataLoader(TensorDataset(nn.Parameter(torch.zeros(4), requires_grad=False))),
        DataLoader(TensorDataset(torch.zeros(4).as_subclass(Own))),
        DataLoader(TensorDataset(torch.eye(4).to_sparse())),
        DataLoader(TensorDataset(torch.zeros(4), torch.zeros(4, device="meta"))),
        DataLoader(TensorDataset(torch.zeros(4, device="meta")), pin_memory=True),
        DataLoader(TensorDataset(torch.empty(4, dtype=torch.uint16))),
        DataLoader(Subset(FOUR, [0, 4])),
        DataLoader(Subset(FOUR, [True, 2])),
        DataLoader(Subset(FOUR, [1.0])),
        DataLoader(Subset(FOUR, torch.tensor([1, 0], dtype=torch.bool))),
        DataLoader(Subset(Subset(FOUR, [0, 1]), [0, 2])),
        DataLoader(Subset(Doubled(torch.zeros(4)), [0])),
        TensorLoader(torch.zeros(4)),
    ],
)
def test_what_yields_other_batches_is_not_recognised(loader) -> None:
    assert tensors_of(loader) is None


@pytest.mark.parametrize("kind", [torch.Tensor, tuple])
def test_changed_default_collating_is_not_recognised(monkeypatch, kind) -> None:
    def own(batch, *, collate_fn_map=None):
        return collate_tensor_fn(batch)

    monkeypatch.setitem(default_collate_fn_map, kind, own)
    assert tensors_of(DataLoader(FOUR)) is None


def test_every_sample_is_drawn_once() -> None:
    loader = TensorLoader(torch.arange(10), batch_size=3, shuffle=True)
    assert Counter(x for (batch,) in loader for x in batch.tolist()) == Counter(range(10))


@pytest.mark.gpu
def test_batches_are_gathered_into_pinned_memory() -> None:
    tensors = data(10)
    for shuffle in (False, True):
        options = {"batch_size": 4, "shuffle": shuffle, "pin_memory": True}
        generator = torch.Generator().manual_seed(1)
        theirs = list(DataLoader(TensorDataset(*tensors), generator=generator, **options))
        ours = list(TensorLoader(*tensors, seed=1, **options))
        assert_same(ours, theirs)
        assert all(tensor.is_pinned() for batch in ours for tensor in batch)


@pytest.mark.gpu
def test_tensors_on_the_device_give_the_same_batches_there() -> None:
    tensors = data(10)
    options = {"batch_size": 4, "shuffle": True, "seed": 1}
    there = TensorLoader(*tensors, device="cuda", **options)
    assert_same([[x.cpu() for x in batch] for batch in there], TensorLoader(*tensors, **options))
    assert there.take(torch.tensor([1]))[0].device == torch.device("cuda", 0)
