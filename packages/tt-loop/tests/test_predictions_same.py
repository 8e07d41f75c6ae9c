"""Models that predict the same for everything."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from tt_loop.api import LoopValueError
from tt_loop.callbacks.predictions_same import AllPredictionsSame

WARNING = "all predictions"


class FakeLoop:
    """What the callback needs of a loop."""

    def __init__(self, predictions) -> None:
        self.predictions = predictions
        self.epoch, self.early_stop = 0, False

    def predict_part_on_main(self, part):
        assert part == "validation"
        return self.predictions


def stops(predictions, value: float = 0.0) -> bool:
    loop = FakeLoop((predictions, None, {}))
    callback = AllPredictionsSame(value, stop_training=True, verbose=False)
    callback.register_train_loop_object(loop).on_epoch_end()
    return loop.early_stop


@pytest.mark.parametrize(
    "predictions",
    [
        torch.zeros(6),
        torch.zeros(3, 2),
        torch.zeros(2, 3, 4, 5, dtype=torch.int64),
        np.zeros((3, 2)),
        [0, 0.0, False, np.float32(0)],
        [[0.0], [0.0, 0.0], torch.zeros(2, 2)],
        (torch.zeros(2), {"start": torch.zeros(2), "end": [0]}),
        torch.tensor(0.0),
    ],
    ids=["1-D", "2-D", "4-D", "array", "list", "nested", "dict", "0-D"],
)
def test_equal_predictions_of_any_shape_are_noticed_and_others_are_not(predictions) -> None:
    assert stops(predictions)
    assert not stops(predictions, value=1.0)
    assert not stops([predictions, 1e-9])
    assert not stops([torch.ones(1), predictions])


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0),
        elements=st.sampled_from([0.0, 0.0, 0.0, 1.0]),
    )
)
def test_the_answer_is_numpys_for_arrays_tensors_and_lists(array) -> None:
    expected = array.size > 0 and bool(np.all(array == 0))
    assert stops(array) is stops(torch.from_numpy(array)) is stops(array.tolist()) is expected


@pytest.mark.parametrize("nothing", [[], torch.zeros(0), [torch.zeros(0, 2), []], ["", "a"]])
def test_no_predictions_and_texts_are_not_the_value(nothing) -> None:
    assert not stops(nothing)


def dead(loop):
    for parameter in loop.model.parameters():
        nn.init.zeros_(parameter)
    for group in loop.optimizer.param_groups:
        group["lr"] = 0.0
    return loop


def test_a_dead_model_is_warned_of_and_goes_on(make_loop, caplog, capsys) -> None:
    loop = dead(make_loop())
    loop.fit(num_epochs=2, callbacks=[AllPredictionsSame()])
    warnings = [each for each in caplog.records if WARNING in each.message]
    assert [each.levelno for each in warnings] == [logging.WARNING] * 2
    assert loop.epochs_done == 2
    assert capsys.readouterr().out == ""


def test_it_can_stop_silently(make_loop, caplog) -> None:
    loop = dead(make_loop())
    loop.fit(num_epochs=3, callbacks=[AllPredictionsSame(stop_training=True, verbose=False)])
    assert loop.epochs_done == 1
    assert WARNING not in caplog.text


def test_a_model_that_lives_is_left_alone(make_loop, caplog) -> None:
    loop = make_loop()
    loop.fit(num_epochs=2, callbacks=[AllPredictionsSame(stop_training=True)])
    assert loop.epochs_done == 2
    assert WARNING not in caplog.text


def test_watching_does_not_change_the_weights(make_loop) -> None:
    watched, bare = make_loop(), make_loop()
    torch.manual_seed(1)
    watched.fit(num_epochs=2, callbacks=[AllPredictionsSame()])
    torch.manual_seed(1)
    bare.fit(num_epochs=2)
    pairs = zip(watched.model.parameters(), bare.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_loop_without_validation_set_is_refused_before_training(make_loop) -> None:
    loop = make_loop(validation=False)
    with pytest.raises(LoopValueError, match="validation"):
        loop.fit(num_epochs=1, callbacks=[AllPredictionsSame()])
    assert loop.total_iteration_idx == -1
