"""What of the data a fit sees, what it shows, and what it leaves behind."""

import contextlib
import itertools
import logging
import multiprocessing

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

from tt_loop.api import Callback, EarlyStopping, LoopStateError, LoopValueError, TrainLoop
from tt_loop.data.tensor_loader import TensorLoader

BATCHES = 5


def batch(number: int) -> list[torch.Tensor]:
    return [torch.full((2, 1), float(number)), torch.zeros(2, 1)]


def forever():
    return map(batch, itertools.count())


class Stream(IterableDataset):
    """Samples, how many nobody knows."""

    def __init__(self, samples: int | None = 2 * BATCHES) -> None:
        self.samples = samples

    def __iter__(self):
        samples = ((torch.full((1,), float(n // 2)), torch.zeros(1)) for n in itertools.count())
        return itertools.islice(samples, self.samples)


def loop_of(train_loader=None, validation=None, test=None, **options) -> TrainLoop:
    model = nn.Linear(1, 1)
    return TrainLoop(
        model,
        [batch(number) for number in range(BATCHES)] if train_loader is None else train_loader,
        validation,
        test,
        torch.optim.SGD(model.parameters(), lr=1e-4),
        nn.MSELoss(),
        **{"progress": False, **options},
    )


class Seen(Callback):
    """Notes the batches, and does something after each."""

    def __init__(self, action=None) -> None:
        super().__init__("seen")
        self.action = action
        self.batches: list[list[float]] = []
        self.inside: list[int] = []
        self.steps: int | None = None

    def on_train_begin(self) -> None:
        with contextlib.suppress(LoopStateError):  # nobody knows the length of some
            self.steps = self.train_loop_obj.get_num_training_steps()

    def on_batch_begin(self) -> None:
        self.batches.append(self.train_loop_obj.batch[0].flatten().tolist())

    def on_batch_end(self) -> None:
        if self.action:
            self.action(self.train_loop_obj)

    def on_validation_inside_epoch(self) -> None:
        self.inside.append(self.train_loop_obj.total_iteration_idx)


def test_validation_after_every_so_many_batches() -> None:
    loop, seen = loop_of(validation=[batch(1)]), Seen()
    loop.fit(num_epochs=2, eval_every=4, callbacks=[seen])
    assert seen.inside == [3, 7]
    assert len(loop.train_history["val_loss"]) == 2 + 2
    stop = EarlyStopping("val_loss", min_delta=9e9, patience=1)
    loop.fit(num_epochs=5, eval_every=1, callbacks=[stop])
    assert loop.total_iteration_idx == 9 + 3  # the first is better than nothing, then two are not


class Read(Dataset):
    """Samples that note that they were read."""

    def __init__(self, samples: int = 2 * BATCHES) -> None:
        self.samples = samples
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int):
        self.read.append(index)
        return torch.full((1,), float(index)), torch.rand(1)


def test_a_dry_run_reads_so_many_batches_of_everything_in_one_epoch() -> None:
    sets = [Read(), Read(), Read()]
    loop, seen = loop_of(*(DataLoader(each, 2) for each in sets)), Seen()
    loop.fit(num_epochs=100, dry_run=2, callbacks=[seen])
    assert [each.read for each in sets] == [[0, 1, 2, 3]] * 3
    assert (loop.epochs_done, seen.steps) == (1, 2)
    assert {"loss", "val_loss", "train_end_test_loss"} <= set(loop.train_history)
    loop.fit(num_epochs=1, callbacks=[seen])
    assert sets[0].read == [0, 1, 2, 3, *range(10)]
    assert seen.steps == BATCHES


def weighted() -> DataLoader:
    return DataLoader(Read(), 2, sampler=WeightedRandomSampler([1.0] * 10, 10))


@pytest.mark.parametrize(
    "loader",
    [
        lambda: DataLoader(Read(), 2, shuffle=True),
        lambda: DataLoader(Read(), 2, shuffle=True, num_workers=1),
        lambda: TensorLoader(torch.rand(10, 1), torch.rand(10, 1), batch_size=2, shuffle=True),
        lambda: DataLoader(Stream(), 2),
        weighted,
        forever,
    ],
    ids=["DataLoader", "workers", "TensorLoader", "Stream", "weighted", "generator"],
)
def test_overfitting_sees_the_same_batches_in_each_epoch(loader) -> None:
    seen = Seen()
    loop_of(loader()).fit(num_epochs=3, overfit=2, callbacks=[seen])
    assert len(seen.batches) == 6
    assert seen.batches[:2] == seen.batches[2:4] == seen.batches[4:]
    assert seen.batches[0] != seen.batches[1]


@pytest.mark.parametrize(
    "options",
    [
        {"eval_every": -1},
        {"dry_run": True},
        {"overfit": 1.5},
        {"dry_run": 1, "overfit": 1},
        {"eval_every": 2},  # without validation set
    ],
)
def test_options_that_cannot_be_are_refused(options) -> None:
    with pytest.raises(LoopValueError, match=next(iter(options))):
        loop_of().fit(num_epochs=1, **options)


def test_the_callbacks_and_their_order_are_logged_on_request(caplog) -> None:
    caplog.set_level(logging.INFO)
    callbacks = [EarlyStopping("loss"), Seen()]
    loop_of(print_callbacks=True).fit(num_epochs=1, callbacks=callbacks)
    assert "callbacks in order: ['Seen', 'EarlyStopping']" in caplog.text
    caplog.clear()
    loop_of().fit(num_epochs=1, callbacks=callbacks[1:])
    assert "callbacks" not in caplog.text


def test_the_summary_reads_one_batch_of_a_loader_and_none_of_an_iterator() -> None:
    assert loop_of().summary().layers[0].output_shape == "[2, 1]"
    loop, seen = loop_of(forever()), Seen()
    assert loop.summary().layers[0].output_shape is None
    loop.fit(num_iterations=1, callbacks=[seen])
    assert seen.batches == [[0.0, 0.0]]


class Display:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def advance(self) -> None:
        self.calls.append("advance")

    def epoch_done(self, title, values, /) -> None:
        self.calls.append(title.split("  ")[0])

    def close(self) -> None:
        self.calls.append("close")


class Notes:
    def __init__(self) -> None:
        self.status: list[str] = []

    def open(self, run, /) -> None: ...
    def scalars(self, step, values, /, *, epoch) -> None: ...
    def event(self, kind, data, /) -> None: ...

    def close(self, status, /) -> None:
        self.status.append(status)


def test_a_display_of_ones_own_counts_batches_and_epochs() -> None:
    display = Display()
    loop_of(progress=display).fit(num_epochs=2)
    batches = ["advance"] * BATCHES
    assert display.calls == [*batches, "epoch 1/2", *batches, "epoch 2/2", "close"]


def test_calling_the_loop_is_fitting_also_where_a_subclass_does_it() -> None:
    class Own(TrainLoop):
        def fit(self, *arguments, **options):
            return "own"

    model = nn.Linear(1, 1)
    assert Own(model, [batch(0)], None, None, None, nn.MSELoss())(num_epochs=1) == "own"


class Failing(Read):
    def __getitem__(self, index: int):
        if index == 9:
            raise ZeroDivisionError
        return super().__getitem__(index)


def fail(loop: TrainLoop) -> None:
    if loop.total_iteration_idx == 2:
        raise ZeroDivisionError


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("cause", ["nothing", "callback", "data", "validation data"])
def test_no_worker_lives_on_when_a_fit_has_ended(cause: str, persistent: bool) -> None:
    def loader(samples: Dataset) -> DataLoader:
        return DataLoader(samples, 2, num_workers=1, persistent_workers=persistent)

    before = {*multiprocessing.active_children()}
    display, notes = Display(), Notes()
    loop = loop_of(
        loader(Failing() if cause == "data" else Read()),
        loader(Failing() if cause == "validation data" else Read()),
        progress=display,
        recorder=notes,
    )
    fails = contextlib.nullcontext() if cause == "nothing" else pytest.raises(ZeroDivisionError)
    with fails as caught:
        loop.fit(1, callbacks=[Seen(fail if cause == "callback" else None)], max_time=1e6)
    assert {*multiprocessing.active_children()} <= before
    assert display.calls[-1] == "close"
    assert notes.status == ["failed" if caught else "completed"]
