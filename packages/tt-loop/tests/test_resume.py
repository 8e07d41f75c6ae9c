"""A run that is cut anywhere and gone on from ends with the same bits."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from tt_loop.api import (
    Callback,
    EarlyStopping,
    GradNormClip,
    LoopStateError,
    TrainLoop,
)
from tt_loop.seeds import seed_everything

SAMPLES = 44  # batches of 4: windows of 3 leave a partial one


class Augmented(Dataset):
    """Every sample draws from all three global generators."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(SAMPLES, 6, generator=generator)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int):
        noise = random.random() + float(np.random.rand()) + torch.rand(6)
        return self.x[index] + 0.1 * noise, int(self.x[index].sum() > 0)


def masked(samples):
    """A collate function that draws, as those for masked language models do."""
    x = torch.stack([sample[0] for sample in samples])
    return x * (torch.rand(x.shape) > 0.1), torch.tensor([sample[1] for sample in samples])


def make_loop(workers: int = 0, make_loader=None, **options) -> TrainLoop:
    seed_everything(1)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )
    loader = (
        DataLoader(Augmented(), 4, shuffle=True, num_workers=workers, collate_fn=masked)
        if make_loader is None
        else make_loader()
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    validation = DataLoader(Augmented(), 8)
    return TrainLoop(
        model,
        loader,
        validation,
        None,
        optimizer,
        nn.CrossEntropyLoss(),
        seed=5,
        progress=False,
        **options,
    )


class Cut(Exception):  # noqa: N818  # it is no error
    pass


class CutAfter(Callback):
    """Copies the state after so many batches and ends the run."""

    def __init__(self, batches: int) -> None:
        super().__init__("cut", execution_order=100)
        self.batches = batches
        self.state: dict = {}

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx + 1 == self.batches:
            self.state = copy.deepcopy(self.train_loop_obj.state_dict())
            raise Cut


def callbacks() -> list[Callback]:
    return [GradNormClip(1.0), EarlyStopping(patience=9)]


def assert_same(whole: TrainLoop, resumed: TrainLoop) -> None:
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()
    for name in ("epochs_done", "total_iteration_idx", "updates_done"):
        assert getattr(whole, name) == getattr(resumed, name), name
    states = [loop.optimizer.state_dict()["state"] for loop in (whole, resumed)]
    for number, state in states[0].items():
        for key, value in state.items():
            assert torch.equal(value, states[1][number][key]), key


def cut_and_resume(after: int, first: dict, then: dict, **fit) -> TrainLoop:
    cut = CutAfter(after)
    broken = make_loop(**first)
    with pytest.raises(Cut):
        broken.fit(callbacks=[*callbacks(), cut], **fit)
    resumed = make_loop(**then)
    resumed.load_state_dict(cut.state)
    seed_everything(99)  # whatever happens in between
    resumed.fit(callbacks=callbacks(), **fit)
    return resumed


def uninterrupted(options: dict, **fit) -> TrainLoop:
    loop = make_loop(**options)
    loop.fit(callbacks=callbacks(), **fit)
    return loop


@pytest.mark.parametrize("after", [1, 2, 7, 11, 13, 22, 32])
@pytest.mark.parametrize("window", [1, 3])
def test_cut_after_any_batch(after: int, window: int) -> None:
    fit = {"num_epochs": 3, "grad_accumulation": window}
    resumed = cut_and_resume(after, {}, {}, **fit)
    assert_same(uninterrupted({}, **fit), resumed)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "later"), [(2, 0), (0, 1), (1, 2)])
def test_with_another_number_of_workers(before: int, later: int) -> None:
    fit = {"num_epochs": 2, "grad_accumulation": 2}
    resumed = cut_and_resume(15, {"workers": before}, {"workers": later}, **fit)
    assert_same(uninterrupted({}, **fit), resumed)


def weighted() -> DataLoader:
    """Its sampler draws from the global generator, and so do its samples."""
    sampler = WeightedRandomSampler(range(1, SAMPLES + 1), SAMPLES)
    return DataLoader(Augmented(), 4, sampler=sampler)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        for _ in range(14):
            yield torch.randn(6), random.randrange(2)


@pytest.mark.parametrize("make_loader", [weighted, lambda: DataLoader(Stream(), 4)])
@pytest.mark.parametrize("after", [2, 5])
def test_loaders_that_draw_from_the_global_generators_are_replayed(make_loader, after) -> None:
    options, fit = {"make_loader": make_loader}, {"num_epochs": 2}
    assert_same(uninterrupted(options, **fit), cut_and_resume(after, options, options, **fit))


def test_a_fit_of_iterations_with_validation_inside_epochs() -> None:
    fit = {"num_iterations": 27, "eval_every": 4}
    whole = uninterrupted({}, **fit)
    assert len(whole.train_history["val_loss"]) == 6 + 3
    for after in (4, 9, 22):
        assert_same(whole, cut_and_resume(after, {}, {}, **fit))


def test_a_state_inside_a_step_is_refused() -> None:
    class Early(Callback):
        def on_after_optimizer_step(self) -> None:
            self.train_loop_obj.state_dict()

    with pytest.raises(LoopStateError, match="between steps"):
        make_loop().fit(num_epochs=1, callbacks=[Early("early")])


def test_an_order_of_the_loaders_own_belongs_to_as_many_processes() -> None:
    cut = CutAfter(3)
    loop = make_loop()
    loop.train_loader = list(loop.train_loader)
    with pytest.raises(Cut):
        loop.fit(num_epochs=1, callbacks=[cut])
    cut.state["inside"]["ranks"] *= 2
    loop = make_loop()
    loop.train_loader = list(loop.train_loader)
    loop.load_state_dict(cut.state)
    with pytest.raises(LoopStateError, match="as many processes as saved it: 2, not 1"):
        loop.fit(num_epochs=1)


def test_a_stop_that_was_decided_stays_decided() -> None:
    cut = CutAfter(4)

    class Stop(Callback):
        def on_batch_end(self) -> None:
            self.train_loop_obj.early_stop = self.train_loop_obj.total_iteration_idx == 3

    with pytest.raises(Cut):
        make_loop().fit(num_epochs=2, callbacks=[Stop("stop"), cut])
    resumed = make_loop()
    resumed.load_state_dict(cut.state)
    resumed.fit(num_epochs=2)
    assert resumed.total_iteration_idx == 3


class Learned(nn.Module):
    """A criterion with a parameter and a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.norm = nn.Parameter(torch.ones(())), nn.BatchNorm1d(2)

    def forward(self, out, target):
        return nn.functional.cross_entropy(self.norm(out) * self.scale, target)


def test_what_a_criterion_has_learned_is_part_of_the_state() -> None:
    def loop_of() -> TrainLoop:
        loop = make_loop()
        loop.criterion = Learned()
        loop.optimizer.add_param_group({"params": list(loop.criterion.parameters())})
        return loop

    whole = loop_of()
    whole.fit(num_epochs=2)
    cut = CutAfter(13)
    with pytest.raises(Cut):
        loop_of().fit(num_epochs=2, callbacks=[cut])
    resumed = loop_of()
    resumed.load_state_dict(cut.state)
    resumed.fit(num_epochs=2)
    assert_same(whole, resumed)
    for name, value in whole.criterion.state_dict().items():
        assert torch.equal(value, resumed.criterion.state_dict()[name]), name


def test_a_start_that_fails_leaves_the_loaded_state_to_be_gone_on_from() -> None:
    class FailsOnce(Callback):
        failed = False

        def on_train_begin(self) -> None:
            if not self.failed:
                self.failed = True
                raise OSError("not reachable")

    fit, cut = {"num_epochs": 2, "callbacks": [FailsOnce("once")]}, CutAfter(13)
    with pytest.raises(Cut):
        make_loop().fit(num_epochs=2, callbacks=[cut])
    resumed = make_loop()
    resumed.load_state_dict(cut.state)
    with pytest.raises(OSError, match="not reachable"):
        resumed.fit(**fit)
    resumed.fit(**fit)
    whole = make_loop()
    whole.fit(num_epochs=2)
    assert_same(whole, resumed)
