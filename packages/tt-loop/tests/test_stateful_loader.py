"""Loaders with a state of their own, torchdata's above all: a run that was cut goes on from it."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from tt_loop.api import Callback, TrainLoop
from tt_loop.seeds import seed_everything

torchdata = pytest.importorskip("torchdata.stateful_dataloader")

pytestmark = pytest.mark.filterwarnings(
    "ignore:'set_vital' is deprecated"
)  # torchdata 0.11 calls it

SAMPLES, SIZE, EPOCHS = 22, 4, 2  # six batches, the last of two samples


class Counted(Dataset):
    """Counts how often it is read in this process; may draw."""

    def __init__(self, draws: bool = False) -> None:
        self.x = torch.randn(SAMPLES, 6, generator=torch.Generator().manual_seed(3))
        self.draws, self.read = draws, 0

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int):
        self.read += 1
        noise = torch.rand(6) + random.random() if self.draws else 0.0
        return self.x[index] + noise, int(self.x[index].sum() > 0)


def stateful(draws: bool = False, **options):
    return torchdata.StatefulDataLoader(Counted(draws), SIZE, shuffle=True, **options)


def make_loop(make=stateful, **options) -> TrainLoop:
    seed_everything(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
    return TrainLoop(
        model,
        make(**options),
        None,
        None,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        nn.CrossEntropyLoss(),
        progress=False,
    )


class Cut(Exception):  # noqa: N818  # it is no error
    pass


class CutAfter(Callback):
    """Copies the state after a batch, or after its epoch, and ends the run."""

    def __init__(self, batches: int, epoch: bool = False) -> None:
        super().__init__("cut", execution_order=100)
        self.batches, self.epoch, self.state = batches, epoch, {}

    def _cut(self) -> None:
        if self.train_loop_obj.total_iteration_idx + 1 == self.batches:
            self.state = copy.deepcopy(self.train_loop_obj.state_dict())
            raise Cut

    def on_batch_end(self) -> None:
        if not self.epoch:
            self._cut()

    def on_epoch_end(self) -> None:
        self._cut()


class EvaluateTraining(Callback):
    """Reads the training set in the midst of training."""

    def on_batch_end(self) -> None:
        if self.train_loop_obj.iteration == 1:
            self.train_loop_obj.evaluate_loss_on_train_set()


def resumed(cut: CutAfter, callbacks=(), window: int = 1, **options) -> TrainLoop:
    with pytest.raises(Cut):
        make_loop(**options).fit(EPOCHS, callbacks=[*callbacks, cut], grad_accumulation=window)
    loop = make_loop(**options)
    loop.load_state_dict(cut.state)
    seed_everything(99)
    loop.fit(EPOCHS, callbacks=callbacks, grad_accumulation=window)
    return loop


def uninterrupted(callbacks=(), window: int = 1, **options) -> TrainLoop:
    loop = make_loop(**options)
    loop.fit(EPOCHS, callbacks=callbacks, grad_accumulation=window)
    return loop


def assert_same(loop: TrainLoop, other: TrainLoop) -> None:
    for name, value in loop.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    assert loop.train_history.state_dict() == other.train_history.state_dict()
    assert loop.updates_done == other.updates_done


@pytest.mark.parametrize("after", [1, 3, 5, 6, 7, 11])
@pytest.mark.parametrize("draws", [False, True])
def test_a_run_cut_after_any_batch_goes_on_exactly(after: int, draws: bool) -> None:
    loop = resumed(CutAfter(after), draws=draws)
    assert_same(uninterrupted(draws=draws), loop)


def test_what_is_behind_is_not_read_again() -> None:
    loop = resumed(CutAfter(5))
    assert loop.train_loader.dataset.read == 2 + SAMPLES


@pytest.mark.parametrize("draws", [False, True])
def test_a_run_cut_between_epochs_goes_on_exactly(draws: bool) -> None:
    assert_same(uninterrupted(draws=draws), resumed(CutAfter(6, epoch=True), draws=draws))


def test_a_fit_after_a_saved_one_goes_on_exactly() -> None:
    once = uninterrupted()
    first = make_loop()
    first.fit(1)
    state = copy.deepcopy(first.state_dict())
    then = make_loop()
    then.load_state_dict(state)
    seed_everything(99)
    then.fit(EPOCHS - 1)
    assert_same(once, then)


def test_inside_a_window() -> None:
    assert_same(uninterrupted(window=3), resumed(CutAfter(4), window=3))


def test_evaluating_the_training_set_on_the_way_does_not_lose_the_position() -> None:
    loop = uninterrupted()
    callbacks = [EvaluateTraining("evaluate")]
    assert_same(loop, uninterrupted(callbacks=callbacks))
    assert_same(loop, resumed(CutAfter(3), callbacks))


@pytest.mark.slow
@pytest.mark.parametrize("cut", [CutAfter(2), CutAfter(9), CutAfter(6, epoch=True)])
def test_with_workers(cut: CutAfter) -> None:
    assert_same(uninterrupted(num_workers=2), resumed(cut, num_workers=2))


def weighted(seed: int, **options) -> DataLoader:
    """Torch's own loader, whose sampler has a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    sampler = WeightedRandomSampler([1.0, 2.0] * (SAMPLES // 2), SAMPLES, generator=generator)
    return DataLoader(Counted(draws=True), SIZE, sampler=sampler, **options)


@pytest.mark.parametrize("cut", [CutAfter(2), CutAfter(6), CutAfter(9), CutAfter(6, epoch=True)])
def test_a_samplers_own_generator_goes_on_exactly(cut: CutAfter) -> None:
    whole = uninterrupted(make=lambda: weighted(4))
    assert_same(whole, resumed(cut, make=lambda: weighted(4)))
    callbacks = [EvaluateTraining("evaluate")]
    assert_same(whole, uninterrupted(callbacks, make=lambda: weighted(4)))


def test_taking_the_state_at_any_time_changes_nothing() -> None:
    class Take(Callback):
        def on_train_begin(self) -> None:
            self.train_loop_obj.state_dict()

        on_batch_end = on_epoch_end = on_train_end = on_train_begin

    for make in (stateful, lambda: weighted(4)):
        assert_same(uninterrupted(make=make), uninterrupted([Take("take")], make=make))
