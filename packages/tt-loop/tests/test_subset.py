"""Test runs on a few batches."""

import pickle

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from tt_loop.api import Callback, LocalCollective, LoopValueError, Prefetched
from tt_loop.callbacks.subset import DataSubsetTestRun
from tt_loop.data.tensor_loader import TensorLoader


class Seen(Callback):
    """Notes what the loop has at a few moments."""

    def __init__(self) -> None:
        super().__init__("seen")
        self.begin = self.end = None
        self.batches = []

    def now(self):
        loop = self.train_loop_obj
        return loop.train_loader, loop.validation_loader, loop.test_loader

    def on_train_begin(self) -> None:
        self.begin = self.now()

    def on_batch_end(self) -> None:
        self.batches.append(self.train_loop_obj.epoch)

    def on_train_end(self) -> None:
        self.end = self.now()


def loaders_of(loop):
    return loop.train_loader, loop.validation_loader, loop.test_loader


def test_only_the_first_batches_are_trained_on_and_other_sets_are_left_out(make_loop) -> None:
    loop, seen = make_loop(test=True), Seen()
    own = loaders_of(loop)
    loop.fit(num_epochs=2, callbacks=[seen, DataSubsetTestRun(num_train_batches=2)])
    assert seen.batches == [0, 0, 1, 1]
    assert seen.begin == seen.end
    assert seen.begin[1:] == (None, None)
    assert not {"val_loss", "train_end_test_loss"} & set(loop.train_history)
    assert loaders_of(loop) == own


def test_so_many_batches_of_each_set_are_evaluated_as_asked(make_loop) -> None:
    loop = make_loop(test=True)
    loop.validation_loader = DataLoader(loop.train_loader.dataset, batch_size=4)
    loop.fit(num_epochs=1, callbacks=[DataSubsetTestRun(1, 2, 3)])
    features, targets = loop.train_loader.dataset.tensors
    loop.model.eval()
    for name, samples in (("val_loss", 2 * 4), ("train_end_test_loss", 3 * 8)):
        with torch.no_grad():
            expected = loop.criterion(loop.model(features[:samples]), targets[:samples])
        assert loop.train_history[name] == [pytest.approx(float(expected), rel=1e-6)]


def test_a_fit_on_the_subset_is_that_on_a_loader_of_the_first_samples(make_loop) -> None:
    fitted, by_hand = make_loop(validation=False, seed=3), make_loop(validation=False, seed=3)
    dataset = TensorDataset(*(each[:16] for each in by_hand.train_loader.dataset.tensors))
    by_hand.train_loader = DataLoader(dataset, batch_size=8, shuffle=True)
    torch.manual_seed(1)
    fitted.fit(num_epochs=3, callbacks=[DataSubsetTestRun(2)])
    torch.manual_seed(1)
    by_hand.fit(num_epochs=3)
    pairs = zip(fitted.model.parameters(), by_hand.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


class Fails(Callback):
    def __init__(self, hook: str) -> None:
        super().__init__("fails")
        setattr(self, hook, self.fail)

    def fail(self) -> None:
        message = "on purpose"
        raise KeyboardInterrupt(message)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_batch_end", "on_train_end"])
def test_the_loaders_are_back_after_an_exception(make_loop, hook) -> None:
    loop = make_loop(test=True)
    own = loaders_of(loop)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(num_epochs=1, callbacks=[DataSubsetTestRun(), Fails(hook)])
    assert loaders_of(loop) == own


def test_a_second_fit_is_a_test_run_too(make_loop) -> None:
    loop, seen = make_loop(), Seen()
    loop.fit(num_epochs=1, callbacks=[DataSubsetTestRun(1), seen])
    loop.fit(num_epochs=1)
    assert seen.batches == [0, 1]
    assert len(loop.train_loader) == 5


class ReadOnce(TensorDataset):
    """Counts what is read."""

    read = 0

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def test_plain_loaders_are_not_read_and_keep_their_generators_state(make_loop) -> None:
    loop = make_loop(validation=False)
    tensors = loop.train_loader.dataset.tensors
    generator = torch.Generator().manual_seed(5)
    dataset = ReadOnce(*tensors)
    loader = DataLoader(dataset, batch_size=8, shuffle=True, generator=generator, drop_last=True)
    callback = DataSubsetTestRun().register_train_loop_object(loop)
    before, random = generator.get_state(), torch.get_rng_state()
    subset = callback.subset_data_loader(loader, 3)
    assert dataset.read == 0
    assert torch.equal(before, generator.get_state())
    assert torch.equal(random, torch.get_rng_state())
    assert len(subset) == 3
    assert subset.generator is generator  # its seed is that of the order
    assert callback.subset_data_loader(loader, 5) is loader


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_tensor_loader_stays_one(make_loop, shuffle) -> None:
    callback = DataSubsetTestRun().register_train_loop_object(make_loop())
    generator = torch.Generator().manual_seed(5)
    loader = TensorLoader(torch.arange(10), batch_size=3, shuffle=shuffle, generator=generator)
    before = generator.get_state()
    subset = callback.subset_data_loader(loader, 2)
    assert torch.equal(before, generator.get_state())
    batches = [batch.tolist() for (batch,) in subset]
    assert [len(batch) for batch in batches] == [3, 3]
    samples = [sample for batch in batches for sample in batch]
    assert (sorted(samples) if shuffle else samples) == list(range(6))
    loader.rows = torch.arange(10).flip(0)
    rows = callback.subset_data_loader(loader, 1)
    assert sorted(next(iter(rows))[0].tolist()) == [7, 8, 9]
    assert len(loader) == len(callback.subset_data_loader(loader, 9)) == 4


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(10.0))


def test_loaders_with_an_order_of_their_own_give_their_first_batches(make_loop) -> None:
    callback = DataSubsetTestRun().register_train_loop_object(make_loop())
    dataset = TensorDataset(torch.arange(30.0))
    sampler = WeightedRandomSampler([1.0] * 30, 30)
    generator = torch.Generator().manual_seed(5)
    custom = DataLoader(dataset, batch_size=4, sampler=sampler, generator=generator)
    torch.manual_seed(2)
    states = torch.get_rng_state(), generator.get_state()
    subset = callback.subset_data_loader(custom, 3)
    assert torch.equal(states[0], torch.get_rng_state())
    assert torch.equal(states[1], generator.get_state())
    whole = list(custom)
    assert len(subset) == 3
    assert all(torch.equal(a[0], b[0]) for a, b in zip(subset, whole, strict=False))
    stream = callback.subset_data_loader(DataLoader(Stream(), batch_size=4), 2)
    assert [batch.tolist() for batch in stream] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    batches = [[torch.ones(2)], [torch.zeros(2)]]
    assert callback.subset_data_loader(batches, 1) == batches[:1]
    assert callback.subset_data_loader(batches, 9) == batches


def test_each_of_several_processes_gets_the_number_of_batches(make_loop, monkeypatch) -> None:
    loop = make_loop()
    monkeypatch.setattr(LocalCollective, "world_size", 2)
    callback = DataSubsetTestRun().register_train_loop_object(loop)
    subset = callback.subset_data_loader(loop.train_loader, 2)
    assert len(subset.dataset) == 2 * 2 * 8


def test_it_can_be_sent_to_another_process(make_loop) -> None:
    loop = make_loop()
    loop.callbacks_handler.register_callbacks([DataSubsetTestRun()])
    copy = pickle.loads(pickle.dumps(loop))
    first, *_, last = copy.callbacks
    assert isinstance(first, DataSubsetTestRun)
    assert last.test_run is first


@pytest.mark.parametrize("numbers", [(0,), (-1,), (1, -1), (1, 0, -1)])
def test_a_run_without_training_batches_and_negative_numbers_are_refused(numbers) -> None:
    with pytest.raises(LoopValueError, match="at least 1 training batch"):
        DataSubsetTestRun(*numbers)


def test_a_loader_that_is_read_ahead_becomes_a_list(make_loop) -> None:
    loop = make_loop()
    loop.train_loader = ahead = Prefetched(TensorLoader(*loop.train_loader.dataset.tensors))
    loop.fit(num_epochs=1, callbacks=[DataSubsetTestRun(2)])
    assert loop.total_iteration_idx == 1
    assert loop.train_loader is ahead
