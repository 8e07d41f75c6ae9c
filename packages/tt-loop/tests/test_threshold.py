"""Stopping at a threshold."""

import itertools
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_loop.api import Callback, LoopValueError, ModelPerformanceEvaluation, TrainingHistory
from tt_loop.callbacks.threshold import ThresholdEarlyStopping


class Values(Callback):
    """Puts given values of a metric into the history, one an epoch; ``None`` is not measured."""

    def __init__(self, name: str, values: list) -> None:
        super().__init__("values", execution_order=-1)
        self.name, self.values = name, values

    def on_epoch_end(self) -> None:
        value = self.values[self.train_loop_obj.epoch]
        if value is not None:
            self.train_loop_obj.insert_metric_result_into_history(self.name, value)


def epochs_until_stop(make_loop, values: list, name: str = "quality", **options) -> int:
    loop = make_loop(validation=False)
    stopping = ThresholdEarlyStopping(name, 0.5, **{"mode": "max", **options})
    loop.fit(num_epochs=len(values), callbacks=[stopping, Values(name, values)])
    return loop.epochs_done


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([0.9, 0.4, 0.9], {}, 2),
        ([0.5, 0.5, 0.5], {}, 3),
        ([0.4, 0.9, 0.4, 0.4, 0.9], {"patience": 1}, 4),
        ([0.4, 0.6, 0.4], {"mode": "min"}, 2),
        ([0.4, math.nan, 0.4], {"mode": "min"}, 2),
        ([0.9, math.nan, 0.9], {}, 2),
        ([0.4, None, None, 0.4, 0.9], {"patience": 1}, 4),
    ],
    ids=["worse", "equal", "in a row", "min", "NaN of min", "NaN of max", "stale"],
)
def test_training_ends_when_the_values_have_been_worse_too_often(
    make_loop, values, options, epochs
) -> None:
    assert epochs_until_stop(make_loop, values, **options) == epochs


@pytest.mark.parametrize(("name", "mode"), [("val_loss", "min"), ("val_Accuracy", "max")])
def test_the_direction_is_that_of_the_name_unless_it_is_given(name, mode) -> None:
    assert ThresholdEarlyStopping(name, 0.5).mode == mode
    other = "max" if mode == "min" else "min"
    assert ThresholdEarlyStopping(name, 0.5, mode=other).mode == other


class FakeLoop:
    """What the callback needs of a loop."""

    def __init__(self) -> None:
        self.train_history = TrainingHistory()
        self.early_stop = False
        self.epoch, self.total_iteration_idx = 0, -1
        self.fit_began = {"total_iteration_idx": -1}
        self.callbacks_handler = SimpleNamespace(may_measure_later=lambda: True)


def stops_at(loop, stopping, values) -> int | None:
    """The index of the value after which it stops."""
    for number, value in enumerate(values):
        if value is not None:
            loop.train_history["m"] = value
        loop.total_iteration_idx += 1
        stopping.on_epoch_end()
        if loop.early_stop:
            return number
    return None


@given(
    st.lists(st.none() | st.floats(0, 1, width=16), max_size=20),
    st.integers(0, 3),
    st.sampled_from(["min", "max"]),
    st.data(),
)
def test_it_stops_at_the_first_run_of_worse_values_that_is_too_long_also_if_resumed(
    values, patience, mode, data
) -> None:
    def longer(run: int, value: float | None) -> int:
        if value is None:
            return run
        return run + 1 if (value > 0.5 if mode == "min" else value < 0.5) else 0

    runs = list(itertools.accumulate(values, longer, initial=0))[1:]
    expected = next((n for n, run in enumerate(runs) if run > patience), None)

    loop, stopping = FakeLoop(), ThresholdEarlyStopping("m", 0.5, patience, mode=mode)
    stopping.register_train_loop_object(loop)
    stopping.on_train_begin()
    assert stops_at(loop, stopping, values) == expected

    cut = data.draw(st.integers(0, len(values) if expected is None else expected))
    loop, first = FakeLoop(), ThresholdEarlyStopping("m", 0.5, patience, mode=mode)
    first.register_train_loop_object(loop)
    assert stops_at(loop, first, values[:cut]) is None
    second = ThresholdEarlyStopping("m", 0.5, patience, mode=mode)
    second.register_train_loop_object(loop)
    second.load_state_dict(first.state_dict())
    second.on_train_begin()
    rest = stops_at(loop, second, values[cut:])
    assert (None if rest is None else cut + rest) == expected


def test_a_second_fit_waits_anew_and_passes_over_what_the_first_measured(make_loop) -> None:
    values = Values("quality", [0.4, None, 0.4, 0.4, None, None, 0.4])
    loop = make_loop(validation=False)
    stopping = ThresholdEarlyStopping("quality", 0.5, patience=1, mode="max")
    loop.fit(num_epochs=1, callbacks=[values, stopping])
    loop.fit(num_epochs=4)
    assert loop.epochs_done == 4
    late = ThresholdEarlyStopping("quality", 0.5, mode="max")
    loop.fit(num_epochs=3, callbacks=[late])
    assert (
        loop.epochs_done == 7
    )  # it stops at 0.4 of the last epoch, not at the one before its time


def test_a_metric_that_nothing_measures_is_an_error(make_loop) -> None:
    with pytest.raises(LoopValueError, match=r"ThresholdEarlyStopping monitors 'quality'"):
        make_loop().fit(num_epochs=1, callbacks=[ThresholdEarlyStopping("quality", 1, mode="max")])


class Quality:
    """A metric that is always 1."""

    state = {}  # noqa: RUF012  # it has none

    def reset(self) -> None: ...
    def update(self, y_true, y_predicted, /) -> None: ...
    def merge(self, state, /) -> None: ...
    def compute(self) -> dict:
        return {"quality": 1.0}


def test_a_metric_that_comes_every_few_epochs_is_waited_for(make_loop) -> None:
    loop = make_loop()
    stopping = ThresholdEarlyStopping("val_quality", 2.0, mode="max")
    loop.fit(
        num_epochs=5, callbacks=[ModelPerformanceEvaluation(Quality(), eval_frequency=3), stopping]
    )
    assert loop.epochs_done == 3


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"patience": -1}, "patience not negative"),
        ({"threshold": math.nan}, "must be a number"),
        ({"mode": "up"}, "'min' or 'max'"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, rule) -> None:
    with pytest.raises(LoopValueError, match=rule):
        ThresholdEarlyStopping(**{"monitor": "loss", "threshold": 1.0, **options})
