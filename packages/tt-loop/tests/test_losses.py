"""The mean of an epoch's losses, and which of them was the first that is no number."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tt_loop.api import LocalCollective, TrainLoop, TTModel
from tt_loop.training.losses import LossRecord

CPU = torch.device("cpu")
LOCAL = LocalCollective()

LENGTHS = st.one_of(st.integers(1, 40), st.integers(250, 262), st.integers(500, 530))
BAD = (math.nan, math.inf, -math.inf)


@st.composite
def jobs(draw, bad: bool = True):
    """Losses and weights: Python numbers, tensors, and weights of zero."""
    length, seed = draw(LENGTHS), draw(st.integers(0, 999))
    generator = np.random.default_rng(seed)
    losses = generator.normal(3.0, 10.0, length).astype(np.float32)
    weights = generator.integers(0, 9, length)
    for place in draw(st.lists(st.integers(0, length - 1), max_size=3)) if bad else ():
        losses[place] = draw(st.sampled_from(BAD))
    kinds = draw(st.sampled_from(["numbers", "tensors", "both"]))
    as_tensor = {
        "numbers": lambda _: False,
        "tensors": lambda _: True,
        "both": lambda n: n % 3 == 0,
    }
    given = [
        torch.tensor(int(weight)) if as_tensor[kinds](number) else int(weight)
        for number, weight in enumerate(weights)
    ]
    return losses, weights, given


def kept(losses, weights, record: LossRecord | None = None, **options) -> LossRecord:
    record = LossRecord(CPU, **options) if record is None else record
    for loss, weight in zip(losses, weights, strict=True):
        record.add(torch.tensor(loss), weight)
    return record


def same(some: float, other: float) -> bool:
    return some == other or (math.isnan(some) and math.isnan(other))


@settings(max_examples=60, deadline=None)
@given(jobs(bad=False))
def test_the_mean_is_numpys_weighted_mean_in_double_precision(job) -> None:
    losses, weights, given = job
    mean = kept(losses, given).mean(LOCAL)
    if weights.sum():
        expected = np.average(losses.astype(np.float64), weights=weights)
        assert mean == pytest.approx(expected, rel=1e-12, abs=1e-12)
    else:
        assert math.isnan(mean)


@settings(max_examples=60, deadline=None)
@given(jobs())
def test_a_bad_loss_spoils_the_mean_unless_it_has_no_weight(job) -> None:
    losses, weights, given = job
    mean, counted = kept(losses, given).mean(LOCAL), weights > 0
    if not counted.any():
        assert math.isnan(mean)
        return
    with np.errstate(invalid="ignore"):
        expected = np.average(losses[counted].astype(np.float64), weights=weights[counted])
    assert same(mean, expected) or mean == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(jobs())
def test_bad_losses_can_be_left_out(job) -> None:
    losses, weights, given = job
    mean, counted = kept(losses, given, skip_bad=True).mean(LOCAL), np.isfinite(losses)
    if weights[counted].sum():
        expected = np.average(losses[counted].astype(np.float64), weights=weights[counted])
        assert mean == pytest.approx(expected, rel=1e-12, abs=1e-12)
    else:
        assert math.isnan(mean)


def first_bad_by_hand(losses) -> tuple[int, float] | None:
    newest = math.nan
    for number, loss in enumerate(losses):
        if not math.isfinite(loss):
            return number, newest
        newest = float(loss)
    return None


@settings(max_examples=60, deadline=None)
@given(jobs(), st.lists(st.integers(0, 530), max_size=3))
def test_the_first_bad_loss_and_the_finite_one_before_it_are_known(job, looks) -> None:
    losses, _, given = job
    record = LossRecord(CPU)
    for number, (loss, weight) in enumerate(zip(losses, given, strict=True)):
        record.add(torch.tensor(loss), weight)
        if number in looks:  # also when it is asked for in between
            assert_first_bad(record, losses[: number + 1])
    assert_first_bad(record, losses)


def assert_first_bad(record: LossRecord, losses) -> None:
    found, expected = record.first_bad(), first_bad_by_hand(losses)
    finite = [float(loss) for loss in losses if math.isfinite(loss)]
    assert same(record.last_finite(), finite[-1] if finite else math.nan)
    if expected is None or found is None:
        assert found is expected
    else:
        assert found[0] == expected[0]
        assert same(found[1], expected[1])


@pytest.mark.parametrize("bad", [0, 1, 255, 256, 257, 511, 512])
def test_the_first_bad_loss_is_found_on_either_side_of_a_fold(bad: int) -> None:
    losses = np.arange(600, dtype=np.float32)
    losses[bad] = losses[550] = math.nan
    found = kept(losses, [1] * 600).first_bad()
    assert found is not None
    assert found[0] == bad
    assert same(found[1], float(bad - 1) if bad else math.nan)


def test_a_loss_has_the_number_of_its_batch_where_batches_lack_it() -> None:
    record = LossRecord(CPU)
    for number in range(0, 1200, 2):
        bad = number == 700
        record.add(torch.tensor(math.nan if bad else float(number)), 1, number)
    assert record.first_bad() == (700, 698.0)
    assert len(record) == 600


def moved(state):
    """A state on its way through a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@settings(max_examples=60, deadline=None)
@given(jobs(), st.data(), st.booleans())
def test_a_record_that_goes_on_from_any_cut_has_the_same_bits(job, data, numbered) -> None:
    losses, _, given = job
    cut = data.draw(st.integers(0, len(losses)))
    whole, first, second = LossRecord(CPU), LossRecord(CPU), LossRecord(CPU)
    for number, (loss, weight) in enumerate(zip(losses, given, strict=True)):
        if number == cut:
            second.load_state_dict(moved(first.state_dict()))
        for record in (whole, first if number < cut else second):
            record.add(torch.tensor(loss), weight, 2 * number if numbered else None)
    if cut == len(losses):
        second.load_state_dict(moved(first.state_dict()))
    assert len(whole) == len(second)
    assert same(whole.mean(LOCAL), second.mean(LOCAL))
    found = [record.first_bad() for record in (whole, second)]
    assert repr(found[0]) == repr(found[1])
    torch.testing.assert_close(
        whole.state_dict(), second.state_dict(), rtol=0, atol=0, equal_nan=True
    )


def test_an_empty_record_has_no_mean_and_nothing_bad() -> None:
    record = LossRecord(CPU)
    assert math.isnan(record.mean(LOCAL))
    assert record.first_bad() is None
    assert math.isnan(record.last_finite())
    assert len(record) == 0


def test_losses_of_low_precision_are_added_in_double_precision() -> None:
    losses = [torch.tensor(1.0, dtype=torch.bfloat16), *torch.full((999,), 2**-9).bfloat16()]
    record = LossRecord(CPU)
    for loss in losses:
        record.add(loss, 1)
    assert record.mean(LOCAL) == (1 + 999 * 2**-9) / 1000


class Other(LocalCollective):
    """The other process has had losses of this sum and weight."""

    def all_reduce(self, tensor, op="sum", /):
        return tensor.add_(torch.tensor([10.0, 4.0]))


def test_the_mean_is_over_the_samples_of_all_processes_and_may_be_asked_again() -> None:
    record = kept([1.0, 4.0], [2, 1])
    for _ in range(2):
        assert record.mean(Other()) == (1 * 2 + 4 + 10) / (3 + 4)


class Reads(TorchDispatchMode):
    """Counts the values that come to Python."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ in {"_local_scalar_dense", "nonzero", "equal"}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("as_weight", [int, torch.tensor])
def test_keeping_losses_reads_none_of_them(as_weight) -> None:
    losses, weights = torch.arange(600.0).unbind(), [as_weight(3)] * 600
    record = LossRecord(CPU)
    with Reads() as reads:
        for loss, weight in zip(losses, weights, strict=True):
            record.add(loss, weight)
    assert reads.count == 0


# The epoch's loss


class Told(TTModel):
    """Its loss is the mean of the batch; its weight is what the batch says, if it does."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def get_loss(self, batch_data, criterion, device):
        values, *weight = batch_data
        loss = values.mean() + 0 * self.zero
        return (loss, weight[0]) if weight else loss

    def get_predictions(self, batch_data, device):
        return batch_data[0], batch_data[0], {}


def epoch_losses(loader, validation=None, window: int = 1, epochs: int = 1) -> TrainLoop:
    model = Told()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, loader, validation, None, optimizer, None, progress=False)
    loop.fit(num_epochs=epochs, grad_accumulation=window)
    return loop


def values(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]


@pytest.mark.parametrize("window", [1, 2, 3])
def test_the_epochs_loss_is_the_mean_over_samples_of_uneven_batches(window: int) -> None:
    training, validation = values(5, 3, 1, 8), values(2, 7)
    loop = epoch_losses(
        [[batch] for batch in training], [[batch] for batch in validation], window, epochs=2
    )
    history = loop.train_history
    expected = float(torch.cat(training).mean())
    assert (
        history["loss"] == history["accumulated_loss"] == pytest.approx([expected] * 2, rel=1e-12)
    )
    assert history["val_loss"] == pytest.approx(
        [float(torch.cat(validation).mean())] * 2, rel=1e-12
    )


@pytest.mark.parametrize(
    "as_weight",
    [int, float, torch.tensor, lambda n: torch.tensor([n]), lambda n: torch.tensor(float(n))],
    ids=["int", "float", "tensor", "tensor of one", "float tensor"],
)
@pytest.mark.parametrize("window", [1, 3])
def test_the_weight_that_a_model_gives_is_that_of_its_loss(as_weight, window: int) -> None:
    losses, weights = values(4, 4, 4, 4), [7, 0, 30, 2]
    loader = [[batch, as_weight(n)] for batch, n in zip(losses, weights, strict=True)]
    loop = epoch_losses(loader, loader, window)
    expected = np.average([float(loss.mean()) for loss in losses], weights=weights)
    for name in ("loss", "accumulated_loss", "val_loss"):
        assert loop.train_history[name] == pytest.approx([expected], rel=1e-12)


def test_a_batch_of_padding_only_does_not_spoil_an_evaluation() -> None:
    sound, empty = values(4)[0], torch.full((4,), math.nan, dtype=torch.float64)
    loop = epoch_losses([[sound]], [[sound, 4], [empty, torch.tensor(0)]])
    assert loop.train_history["val_loss"] == pytest.approx([float(sound.mean())], rel=1e-12)


def test_more_batches_than_are_kept_at_once() -> None:
    batches = values(*([2, 3] * 300))
    loop = epoch_losses([[batch] for batch in batches])
    assert loop.train_history["loss"] == pytest.approx(
        [float(torch.cat(batches).mean())], rel=1e-11
    )


def test_what_was_kept_is_not_changed_by_what_comes_later() -> None:
    record = kept([1.0, 2.0, 3.0], [1, 1, 1])
    state = copy.deepcopy(record.state_dict())
    kept([5.0] * 600, [1] * 600, record)
    again = LossRecord(CPU)
    again.load_state_dict(state)
    kept([5.0] * 600, [1] * 600, again)
    assert again.mean(LOCAL) == record.mean(LOCAL)
    assert float(state["losses"].sum()) == 6.0
