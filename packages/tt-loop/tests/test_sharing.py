"""Loaders of every kind, shared out among processes."""

import contextlib
import itertools
import random
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
)

from tt_loop.api import (
    EmptyLoaderError,
    LoopTypeError,
    LoopValueError,
    PerProcess,
    Prefetched,
    TensorLoader,
)
from tt_loop.data.agreement import Agreement
from tt_loop.data.batches import Batches, check_shareable
from tt_loop.data.training import TrainingData
from tt_loop.seeds import seed_everything

CPU = torch.device("cpu")
SECONDS = 30  # a hang is an error


class Crowd:
    """Threads as processes: one runs at a time, until it waits for the others."""

    def __init__(self, size: int) -> None:
        self.size, self.said = size, [None] * size
        self.turn, self.meeting = threading.Lock(), threading.Barrier(size)


class Member:
    """A `Collective` for one of them."""

    def __init__(self, crowd: Crowd, rank: int) -> None:
        self.crowd, self.rank, self.world_size = crowd, rank, crowd.size
        self.meetings = 0

    def _meet(self, value) -> list:
        crowd = self.crowd
        self.meetings += 1
        crowd.said[self.rank] = value
        crowd.turn.release()
        try:
            crowd.meeting.wait(SECONDS)
            said = [*crowd.said]
            with contextlib.suppress(threading.BrokenBarrierError):  # everybody has been heard
                crowd.meeting.wait(SECONDS)
        finally:
            crowd.turn.acquire()
        return said

    def all_reduce(self, tensor, op="sum"):
        said = torch.stack(self._meet(tensor))
        return said.amax(0) if op == "max" else said.sum(0)

    def gather_objects(self, obj):
        said = self._meet(obj)
        return said if self.rank == 0 else None

    def broadcast_object(self, obj):
        return self._meet(obj)[0]

    def barrier(self) -> None:
        self._meet(None)


def together(size: int, work) -> list:
    """What ``work(member)`` returned or raised in each of so many processes."""
    crowd, results = Crowd(size), [None] * size

    def live(rank: int) -> None:
        with crowd.turn:
            try:
                results[rank] = work(Member(crowd, rank))
            except Exception as error:
                results[rank] = error
                crowd.meeting.abort()

    threads = [threading.Thread(target=live, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    return results


class Numbers(Dataset):
    """Samples that are their index, with noise where it is asked for."""

    def __init__(self, samples: int, noise: bool = False) -> None:
        self.samples, self.noise = samples, noise

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index):
        return (index, random.random()) if self.noise else (index,)


def listed(batch) -> list[int]:
    return (batch[0] if isinstance(batch, list) else batch).tolist()


def reader(loader, rank: int, world_size: int, seed: int | None = 0, **options) -> Batches:
    return Batches(loader, "training", rank=rank, world_size=world_size, seed=seed, **options)


def given_by(batches: Batches, epoch: int = 0, start: int = 0) -> list[tuple[list[int], bool]]:
    """Each batch and whether it counts for nothing; only the last one says that it is."""
    given, lasts = [], []
    for batch in batches.epoch(epoch, start):
        given.append((listed(batch), batches.is_filler))
        lasts.append(batches.is_last)
    if not batches.interleaved:
        assert lasts == [number + 1 == len(lasts) for number in range(len(lasts))]
    return given


def rounds(make, world_size: int, epoch: int = 0, start: int = 0, **options) -> list[list]:
    """What each process reads in each step, without what counts for nothing."""
    shares = [
        given_by(reader(make(), rank, world_size, **options), epoch, start)
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1  # nobody waits for a batch that never comes
    return [
        [batch for batch, is_filler in step if not is_filler] for step in zip(*shares, strict=True)
    ]


def flat(lists) -> list:
    return [*itertools.chain.from_iterable(lists)]


def global_batches(steps) -> list[list]:
    return [sorted(flat(step)) for step in steps]


def cut(sequence, size: int, drop_last: bool = False) -> list[list]:
    parts = [list(sequence[at : at + size]) for at in range(0, len(sequence), size)]
    return [part for part in parts if len(part) == size or not drop_last]


# Samplers


class Every(Sampler):
    """A sampler of the user's own, without a length; draws from all three global generators."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __iter__(self):
        first = random.randrange(self.samples) + np.random.randint(self.samples)
        return (int(i + first) % self.samples for i in torch.randperm(self.samples))


SAMPLERS = {
    "weighted": lambda n, g: WeightedRandomSampler([1.0 + i for i in range(n)], n + 3, generator=g),
    "subset": lambda n, g: SubsetRandomSampler(range(0, n, 2), generator=g),
    "replacement": lambda n, g: RandomSampler(range(n), True, 2 * n, generator=g),
    "twice": lambda n, g: RandomSampler(range(n), num_samples=2 * n + 1, generator=g),
    "own": lambda n, g: Every(n),
}

shares = given(
    samples=st.integers(1, 30),
    batch_size=st.integers(1, 4),
    world_size=st.integers(2, 5),
    drop_last=st.booleans(),
    kind=st.sampled_from([*SAMPLERS]),
    epoch=st.integers(0, 2),
)


def sampled(samples: int, batch_size: int, kind: str, seed: int | None = None, **options):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    options = {"sampler": SAMPLERS[kind](samples, generator), "generator": generator, **options}
    return DataLoader(Numbers(samples), batch_size, **options)


@settings(max_examples=80, deadline=None)
@shares
def test_a_samplers_global_batches_are_those_of_one_process(
    samples, batch_size, world_size, drop_last, kind, epoch
) -> None:
    if kind == "own":
        kind = "weighted"  # it has no generator to give both the same sequence
    whole = sampled(samples, batch_size * world_size, kind, 5, drop_last=drop_last)
    expected = [[sorted(listed(batch)) for batch in whole] for _ in range(epoch + 1)]
    if not len(whole):
        with pytest.raises(EmptyLoaderError):
            reader(sampled(samples, batch_size, kind, drop_last=drop_last), 0, world_size)
        return
    readers = [
        reader(sampled(samples, batch_size, kind, 5, drop_last=drop_last), rank, world_size)
        for rank in range(world_size)
    ]
    for number in range(epoch + 1):  # the generator goes on from epoch to epoch
        parts = [given_by(each, number) for each in readers]
        found = [
            sorted(flat(batch for batch, is_filler in step if not is_filler))
            for step in zip(*parts, strict=True)
        ]
        assert found == expected[number]
        assert {each.sized for each in readers} == {len(found)}


@settings(max_examples=80, deadline=None)
@shares
def test_what_samplers_draw_depends_on_seed_and_epoch_only(
    samples, batch_size, world_size, drop_last, kind, epoch
) -> None:
    def of(size: int, processes: int, seed: int = 0):
        seed_everything(random.getrandbits(20))  # what others draw must not matter
        make = partial(sampled, samples, size, kind, drop_last=drop_last)
        try:
            return global_batches(rounds(make, processes, epoch, seed=seed))
        except EmptyLoaderError:
            return []  # the only batch is not full

    assert of(batch_size, 2 * world_size) == of(2 * batch_size, world_size)


def test_the_last_batch_is_known_wherever_the_sampler_ends() -> None:
    for batches in (15, 16, 17, 63, 64, 65, 128, 256):
        make = partial(DataLoader, Numbers(999, noise=True), 1, sampler=range(2 * batches))
        assert global_batches(rounds(make, 2)) == cut(range(2 * batches), 2)


def test_each_epoch_and_seed_has_another_sequence() -> None:
    make = lambda: sampled(30, 4, "weighted")  # noqa: E731  # short
    found = [
        str(rounds(make, 2, epoch, seed=seed)) for epoch, seed in itertools.product((0, 1), (1, 2))
    ]
    assert len({*found}) == 4


def test_a_sampled_epoch_can_be_begun_anywhere() -> None:
    for kind in SAMPLERS:
        whole = rounds(lambda kind=kind: sampled(30, 4, kind), 2, 1)
        for start in range(len(whole) + 1):
            rest = rounds(lambda kind=kind: sampled(30, 4, kind), 2, 1, start)
            assert rest == whole[start:], kind


class Endless(Sampler):
    def __iter__(self):
        return iter(itertools.count())


def test_an_endless_sampler_is_read_as_far_as_it_is_wanted() -> None:
    loader = DataLoader(Numbers(10**9), 2, sampler=Endless())
    read = reader(loader, 1, 2).epoch(0)
    assert [listed(batch) for batch in itertools.islice(read, 40)] == [
        [4 * k + 1, 4 * k + 3] for k in range(40)
    ]
    read.close()


def test_a_sample_that_comes_again_is_augmented_anew_and_alike_in_all_processes() -> None:
    def noise(processes: int) -> list:
        found = []
        for rank in range(processes):
            sampler = WeightedRandomSampler([1.0, 0.0, 0.0], 12)
            loader = DataLoader(Numbers(3, noise=True), 12 // processes, sampler=sampler)
            found += flat(batch[1].tolist() for batch in reader(loader, rank, processes).epoch(0))
        return sorted(found)

    assert noise(2) == noise(4)
    assert len({*noise(2)}) == 12


# Batch samplers


class Pairs:
    """Batches of unequal sizes in a drawn order, with or without a length."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def __iter__(self):
        starts = list(itertools.accumulate(range(1, self.batches + 1), initial=0))
        for k in torch.randperm(self.batches).tolist():
            yield list(range(starts[k], starts[k + 1]))


class SizedPairs(Pairs):
    def __len__(self) -> int:
        return self.batches


@settings(max_examples=60, deadline=None)
@given(
    batches=st.integers(1, 12),
    world_size=st.integers(2, 5),
    kind=st.sampled_from([Pairs, SizedPairs]),
    start=st.integers(0, 3),
)
def test_batches_of_a_batch_sampler_take_turns(batches, world_size, kind, start) -> None:
    make = lambda: DataLoader(Numbers(100), batch_sampler=kind(batches))  # noqa: E731  # short
    steps = rounds(make, world_size)
    one = rounds(make, 1 + batches)  # as many processes as there are batches, and one
    assert flat(steps) == flat(one)
    assert [len(step) for step in steps] == [len(part) for part in cut(range(batches), world_size)]
    assert rounds(make, world_size, start=start) == steps[start:]


def test_a_filler_is_one_sample_of_the_first_batch() -> None:
    batches = reader(DataLoader(Numbers(9), batch_sampler=[[3, 4], [5], [8, 7]]), 1, 2)
    assert given_by(batches) == [([5], False), ([8], True)]


# Streams


class Stream(IterableDataset):
    """Numbers in turn, or each worker's part of them; may draw from the global generators."""

    def __init__(self, samples: int, noise: bool = False) -> None:
        self.samples, self.noise = samples, noise

    def __iter__(self):
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(first, self.samples, every):
            yield number + ((random.random() + float(torch.rand(()))) / 2 if self.noise else 0)


class Anew:
    """An iterable of batches without a length."""

    def __init__(self, batches) -> None:
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 30),
    batch_size=st.integers(1, 4),
    world_size=st.integers(2, 5),
    kind=st.sampled_from(["stream", "noise", "list", "iterable", "unbatched", "prefetched"]),
    epoch=st.integers(0, 2),
)
def test_batches_of_a_stream_take_turns(samples, batch_size, world_size, kind, epoch) -> None:
    batches = [torch.tensor(part) for part in cut(range(samples), batch_size)]

    def make():
        if kind in ("stream", "noise"):
            return DataLoader(Stream(samples, kind == "noise"), batch_size)
        if kind == "unbatched":
            return DataLoader(batches, batch_size=None)
        return {"list": batches, "iterable": Anew(batches), "prefetched": Prefetched(batches)}[kind]

    steps = rounds(make, world_size, epoch)
    read = [[int(number) for number in batch] for batch in flat(steps)]
    assert read == cut(range(samples), batch_size)
    assert [len(step) for step in steps] == [len(part) for part in cut(read, world_size)]
    assert flat(steps) == flat(rounds(make, world_size + 1, epoch))


def test_reading_a_shared_loader_draws_nothing_from_the_global_generators() -> None:
    def states() -> str:
        return repr((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))

    loaders = [
        DataLoader(Stream(12, noise=True), 2),
        DataLoader(Numbers(12, noise=True), 2, sampler=Every(12)),
        DataLoader(Numbers(12), batch_sampler=Pairs(4)),
    ]
    before = states()
    for loader, seed in itertools.product(loaders, (0, None)):
        batches = reader(loader, 1, 2, seed)
        for _ in batches.epoch(0):
            assert states() == before
        assert states() == before


def test_streams_that_draw_are_alike_in_all_processes_and_new_each_epoch() -> None:
    def noise(rank: int, epoch: int) -> list:
        seed_everything(rank)
        batches = reader(DataLoader(Stream(12, noise=True), 2), rank, 2)
        list(batches.epoch(epoch))
        return batches.filler_batch().tolist()  # the first batch of the last round, in each

    assert noise(0, 0) == noise(1, 0) != noise(0, 1)


# Evaluation


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 30),
    batch_size=st.integers(1, 4),
    world_size=st.integers(2, 5),
    kind=st.sampled_from(["sampler", "batches", "stream", "list"]),
)
def test_evaluation_has_each_batch_once_and_the_processes_take_turns(
    samples, batch_size, world_size, kind
) -> None:
    order = [*reversed(range(samples))] if kind in ("sampler", "batches") else [*range(samples)]
    parts = cut(order, batch_size)
    loader = {
        "sampler": DataLoader(Numbers(samples), batch_size, sampler=order),
        "batches": DataLoader(Numbers(samples), batch_sampler=parts),
        "stream": DataLoader(Stream(samples), batch_size),
        "list": [torch.tensor(part) for part in parts],
    }[kind]

    def read(member: Member):
        agreement = Agreement(member, CPU)
        batches = reader(loader, member.rank, world_size, None, agreement=agreement)
        given = [
            (listed(batch), batches.samples_of(number))
            for number, batch in enumerate(batches.epoch(0))
        ]
        assert batches.sized in (None, len(given))
        return given, member.meetings, batches

    found, meetings, readers = zip(*together(world_size, read), strict=True)
    assert set(meetings) == {2}  # none waits for another that has one batch more
    turns = readers[0].in_order(found)
    assert [batch for batch, _ in turns] == parts
    assert [place for _, places in turns for place in places] == [*range(samples)]


def test_numbers_of_samples_are_known_however_far_a_loader_is_read_ahead() -> None:
    order = [[i] for i in range(2400)]
    ahead = Prefetched(DataLoader(Numbers(2400), batch_sampler=order, num_workers=1))
    batches = reader(ahead, 1, 2, None)
    found = [batches.samples_of(number) for number, _ in enumerate(batches.epoch(0))]
    assert found == [[i] for i in range(1, 2400, 2)]


def test_plain_loaders_are_evaluated_in_one_part_each() -> None:
    readers = [reader(DataLoader(Numbers(9), 2), rank, 2, None) for rank in range(2)]
    found = [[batch for batch, _ in given_by(each)] for each in readers]
    assert flat(readers[0].in_order(found)) == [*range(9)]


@pytest.mark.parametrize(
    ("loader", "rank", "expected"),
    [
        (DataLoader(Numbers(5), 2), 0, [0]),
        (TensorLoader(torch.arange(5), batch_size=2), 0, [0]),
        (DataLoader(Numbers(5), 2, sampler=[3, 1, 0]), 8, [3]),
        (DataLoader(Numbers(5), batch_sampler=[[3, 1], [0]]), 8, [3]),
        ([torch.tensor([3, 1])], 8, [3, 1]),
    ],
)
def test_a_process_without_a_batch_can_have_one(loader, rank, expected) -> None:
    batches = reader(loader, rank, 9, None)
    assert [*batches.epoch(0)] == []
    assert listed(batches.filler_batch()) == expected


# Workers and other options


def shift_data(number: int) -> None:
    get_worker_info().dataset.shift = 100


class Shifted(Numbers):
    shift = 0

    def __getitem__(self, index):
        return (index + self.shift,)


def doubled(samples) -> torch.Tensor:
    return torch.tensor([2 * sample[0] for sample in samples])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "parts"),
    [
        (
            {"sampler": [5, 1, 1, 4, 0, 2, 3], "batch_size": 2},
            [[[5, 1], [0, 3]], [[1, 4], [2]]],
        ),
        (
            {"batch_sampler": [[5, 1], [1], [4, 0, 2], [3]]},
            [[[5, 1], [4, 0, 2]], [[1], [3]]],
        ),
    ],
)
def test_the_loaders_own_options_are_kept(order, parts) -> None:
    loader = DataLoader(
        Shifted(6),
        num_workers=2,
        worker_init_fn=shift_data,
        collate_fn=doubled,
        persistent_workers=True,
        prefetch_factor=1,
        in_order=False,
        **order,
    )
    for rank, own in enumerate(parts):
        batches = reader(loader, rank, 2)
        expected = [([2 * (i + 100) for i in part], False) for part in own]
        try:
            assert [given_by(batches, epoch) for epoch in range(2)] == [expected] * 2
        finally:
            batches.close()


@pytest.mark.slow
def test_workers_of_a_stream_share_it_out_within_each_process() -> None:
    def read(processes: int) -> list:
        loader = DataLoader(Stream(22, noise=True), 3, num_workers=2)
        return rounds(lambda: loader, processes)

    assert sorted(int(number) for number in flat(flat(read(2)))) == list(range(22))
    assert flat(read(2)) == flat(read(3))


@pytest.mark.slow
def test_a_sampled_loader_can_be_read_ahead() -> None:
    make = lambda: sampled(30, 4, "weighted", num_workers=1)  # noqa: E731  # short
    assert rounds(lambda: Prefetched(make()), 2) == rounds(make, 2)


# Samplers that shard by process


def distributed(rank: int, world_size: int, **options) -> DataLoader:
    data = Numbers(11)
    return DataLoader(data, 2, sampler=DistributedSampler(data, world_size, rank, **options))


def test_a_distributed_sampler_is_taken_as_it_is_and_told_the_epoch() -> None:
    def read(member: Member) -> list:
        loader, agreement = distributed(member.rank, 2), Agreement(member, CPU)
        return given_by(reader(loader, member.rank, 2, agreement=agreement), 3)

    for rank, found in enumerate(together(2, read)):
        theirs = distributed(rank, 2)
        theirs.sampler.set_epoch(3)
        assert found == [(listed(batch), False) for batch in theirs]


def test_a_distributed_sampler_of_another_process_is_refused_in_all() -> None:
    def make(member: Member) -> None:
        agreement = Agreement(member, CPU)
        reader(distributed(0, 2), member.rank, 2, agreement=agreement)

    for error in together(2, make):
        assert isinstance(error, LoopValueError)
        assert "made for process 0 of 2, but this is process 1 of 2. Leave it out" in str(error)
    for loader in (distributed(0, 2), distributed(0, 1), Prefetched(distributed(1, 2))):
        with pytest.raises(LoopValueError, match="same in each of those that fit starts"):
            check_shareable(loader, "training")


def test_evaluation_with_a_distributed_sampler_has_each_sample_once() -> None:
    inner = BatchSampler(DistributedSampler(Numbers(11), 2, 0), 3, drop_last=False)
    for loader in (distributed(0, 2), DataLoader(Numbers(11), batch_sampler=inner)):
        parts = [given_by(reader(loader, rank, 2, None)) for rank in range(2)]
        assert [i for part in parts for batch, _ in part for i in batch] == list(range(11))


class Told(SequentialSampler):
    def __init__(self, samples: int) -> None:
        super().__init__(range(samples))
        self.told = []

    def set_epoch(self, epoch: int) -> None:
        self.told.append(epoch)


@pytest.mark.parametrize("world_size", [1, 2])
def test_what_asks_for_the_epoch_is_told_once(world_size) -> None:
    sampler, batch_sampler, data = Told(6), Told(6), Stream(6)
    data.told, data.set_epoch = [], lambda epoch: data.told.append(epoch)
    loaders = [
        DataLoader(Numbers(6), 2, sampler=sampler),
        DataLoader(Numbers(6), batch_sampler=BatchSampler(batch_sampler, 2, False)),
        DataLoader(data, 2),
    ]
    for loader in loaders:
        batches = reader(loader, 0, world_size)
        for epoch in (4, 5):
            list(batches.epoch(epoch))
        list(reader(loader, 0, world_size, None).epoch(0))  # evaluation leaves the training alone
    assert sampler.told == batch_sampler.told == data.told == [4, 5]


# Data of each process's own


def own_epochs(lengths, make, epochs: int = 1):
    """What each process is given of its own loader, and how often they have met."""
    met = []

    def read(member: Member) -> list:
        loader = PerProcess(make([torch.tensor([k]) for k in range(lengths[member.rank])]))
        agreement = Agreement(member, CPU)
        batches = reader(loader, member.rank, member.world_size, agreement=agreement)
        found = [given_by(batches, epoch) for epoch in range(epochs)]
        met.append(member.meetings)
        return found

    return together(len(lengths), read), max(met, default=0)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    sized=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_processes_end_together_however_much_each_has(lengths, sized) -> None:
    kinds = iter(sized)
    found, _ = own_epochs(lengths, lambda part: part if next(kinds) else Anew(part), epochs=2)
    longest = max(lengths)
    for length, epochs in zip(lengths, found, strict=True):
        own = [([k], False) for k in range(length)]
        assert epochs == [own + [([length - 1], True)] * (longest - length)] * 2


def test_processes_whose_loaders_have_lengths_meet_once_an_epoch() -> None:
    few, many = own_epochs([3, 5], list)[1], own_epochs([30, 50], list)[1]
    assert few == many == 4  # a gather and a broadcast, for the lengths and for the epoch
    assert own_epochs([3, 5], Anew)[1] == 4 + 5


def test_a_process_without_data_is_an_error_in_all() -> None:
    for make in (list, Anew):
        found, _ = own_epochs([2, 0, 1], make)
        assert [type(error) for error in found] == [EmptyLoaderError] * 3
        assert "the training loader yields none in process 1" in str(found[0])


def test_own_data_is_not_shared_out_in_evaluation() -> None:
    batches = reader(PerProcess(DataLoader(Numbers(5), 2)), 1, 2, None)
    assert given_by(batches) == [([0, 1], False), ([2, 3], False), ([4], False)]
    assert not batches.interleaved


def test_on_one_process_own_data_is_read_as_its_loader() -> None:
    plain = DataLoader(Numbers(9), 2, shuffle=True)
    assert given_by(reader(PerProcess(plain), 0, 1)) == given_by(reader(plain, 0, 1))
    assert len(PerProcess(plain)) == 5


def test_own_data_must_be_iterable() -> None:
    with pytest.raises(LoopTypeError, match="iterable of batches, got int"):
        PerProcess(3)


# Processes that do not read the same


class Drifting:
    """Gives other numbers in each process."""

    def __init__(self, rank: int, late: bool = False) -> None:
        self.rank, self.late = rank, late

    def __iter__(self):
        yield from range(0 if self.late else self.rank, 7)
        yield 10 + self.rank

    def __len__(self) -> int:
        return 8


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("sampler", "the same indices from the Drifting of the training loader"),
        ("list", "the same batches from the training loader"),
        ("iterable", "tt_loop.api.PerProcess"),
    ],
)
def test_processes_that_read_other_data_are_told_so(kind, advice, late) -> None:
    def read(member: Member) -> tuple[int, bool]:
        drift, agreement = Drifting(member.rank, late), Agreement(member, CPU)
        loader = DataLoader(Numbers(20), 2, sampler=drift)
        if kind != "sampler":
            loader = [torch.tensor([k]) for k in drift]
            loader = Anew(loader) if kind == "iterable" else loader
        batches, steps = reader(loader, member.rank, 2, agreement=agreement), 0
        try:
            for _ in batches.epoch(0):
                steps += 1
        except LoopValueError as error:
            return steps, advice in str(error)
        return steps, False

    (first, is_told), other = together(2, read)
    assert is_told
    assert other == (first, is_told)  # all of them stop at the same step
    assert first == (4 if late and kind != "sampler" else 0)  # indices are drawn ahead


def seeded_by(rank: int) -> torch.Generator:
    return torch.Generator().manual_seed(rank)


@pytest.mark.parametrize(
    "make",
    [
        lambda rank: DataLoader(Numbers(8), 2, shuffle=True, generator=seeded_by(rank)),
        lambda rank: DataLoader(Numbers(8 + rank), 2),
        lambda rank: DataLoader(Numbers(8), 2 + rank),
        lambda rank: DataLoader(Numbers(9), 2, drop_last=bool(rank)),
        lambda rank: DataLoader(random_split(Numbers(8), [4, 4], seeded_by(rank))[0], 2),
        lambda rank: TensorLoader(torch.arange(8 + rank), batch_size=2),
        lambda rank: DataLoader(Numbers(4 * rank), 2),
    ],
)
def test_plain_loaders_that_differ_are_told_of(make) -> None:
    def read(member: Member) -> None:
        agreement = Agreement(member, CPU)
        reader(make(member.rank), member.rank, member.world_size, agreement=agreement)

    for error in together(2, read):
        assert isinstance(error, LoopValueError)
        assert "must have the same training loader" in str(error)


def test_samplers_that_differ_late_are_told_of_at_the_epochs_end() -> None:
    def read(member: Member) -> list:
        loader = DataLoader(Numbers(2000), 2, sampler=[*range(1999), member.rank])
        batches = reader(loader, member.rank, 2, agreement=Agreement(member, CPU))
        return given_by(batches)

    for error in together(2, read):
        assert isinstance(error, LoopValueError)
        assert "the same indices from the list of the training loader" in str(error)


def test_processes_that_read_the_same_meet_twice_an_epoch() -> None:
    def read(member: Member) -> int:
        loader = DataLoader(Stream(40, noise=True), 2)
        batches = reader(loader, member.rank, 2, agreement=Agreement(member, CPU))
        list(batches.epoch(0))
        return member.meetings

    assert max(together(2, read)) == 4  # each time a gather and a broadcast


# Refused


def test_what_a_thread_cannot_read_is_refused() -> None:
    for loader in (DataLoader(Stream(4)), sampled(8, 2, "weighted"), Anew([1])):
        with pytest.raises(LoopValueError, match="read ahead by a thread"):
            reader(Prefetched(loader), 0, 2)
    endless = DataLoader(Numbers(9), 2, sampler=Endless(), num_workers=1)
    with pytest.raises(LoopValueError, match="its sampler has no length"):
        reader(Prefetched(endless), 0, 2)


# Going on inside an epoch


def loop_over(loader, **settings) -> SimpleNamespace:
    settings = {"dry_run": 0, "overfit": 0, **settings}
    counters = {"epoch": 1, "iteration": -1, "shared": None}
    return SimpleNamespace(
        train_loader=loader, seed=3, settings=SimpleNamespace(**settings), **counters
    )


def generated(kind: str):
    def make(rank: int):
        return sampled(30, 3, kind, 7)

    return make


GOING_ON = {
    "weighted": generated("weighted"),
    "drawn": lambda rank: sampled(30, 3, "own"),
    "batches": lambda rank: DataLoader(Numbers(40), batch_sampler=Pairs(8)),
    "stream": lambda rank: DataLoader(Stream(30, noise=True), 3),
    "own, sized": lambda rank: PerProcess(DataLoader(Numbers(9 + 6 * rank), 2, shuffle=True)),
    "own, not sized": lambda rank: PerProcess(DataLoader(Stream(9 + 6 * rank), 2)),
}


@pytest.mark.parametrize("kind", [*GOING_ON])
@pytest.mark.parametrize("batches", [1, 3])
def test_an_epoch_is_gone_on_with_exactly(kind: str, batches: int) -> None:
    def noted(data: TrainingData, read) -> list:
        return [(listed(batch), data.batches.is_filler, data.batches.is_last) for batch in read]

    def uninterrupted(member: Member) -> list:
        seed_everything(member.rank)
        data = TrainingData(loop_over(GOING_ON[kind](member.rank)), member, CPU, inside=False)
        found = []
        for _ in range(2):  # a generator of the loader's has gone on when the second one begins
            data.begin_epoch()
            read = data.epoch(0)
            first = noted(data, itertools.islice(read, batches))
            state = data.state_dict()
            found.append((state, noted(data, read), first))
        return found[1]

    before = together(2, uninterrupted)

    def resumed(member: Member) -> list:
        seed_everything(9)
        data = TrainingData(loop_over(GOING_ON[kind](member.rank)), member, CPU, inside=False)
        data.load_state_dict(before[member.rank][0])
        return noted(data, data.epoch(batches))

    after = together(2, resumed)
    assert after == [rest for _, rest, _ in before]


def test_the_same_epoch_is_repeated_for_overfitting() -> None:
    for make in (lambda: sampled(30, 3, "weighted", 7), lambda: DataLoader(Stream(30, True), 2)):
        for rank in range(2):
            batches = reader(make(), rank, 2, limit=2, repeat=True)
            first = given_by(batches, 0)
            assert len(first) == 2
            assert given_by(batches, 1) == first
