"""Metrics made of other metrics."""

import logging
import math
import pickle

import pytest

from tt_loop.api import Callback, LoopTypeError, LoopValueError
from tt_loop.callbacks.history_format import MetricHistoryRename, TrainHistoryFormatter


def losses(history):
    return history["val_loss"]


def perplexity(values):
    return "val_perplexity", math.exp(values[-1])


class Values(Callback):
    """Puts given values of a metric into the history, one an epoch; ``None`` is not measured."""

    def __init__(self, name: str, values: list) -> None:
        super().__init__("values", execution_order=-1)
        self.name, self.values = name, values

    def on_epoch_end(self) -> None:
        value = self.values[self.train_loop_obj.epoch]
        if value is not None:
            self.train_loop_obj.insert_metric_result_into_history(self.name, value)


def test_the_new_metric_has_one_value_for_each_of_the_other(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=3, callbacks=[TrainHistoryFormatter(losses, perplexity)])
    history = loop.train_history
    assert history["val_perplexity"] == [math.exp(loss) for loss in history["val_loss"]]
    assert len(history["val_perplexity"]) == 3


def test_the_setter_gets_all_values(make_loop) -> None:
    loop = make_loop()
    lowest = TrainHistoryFormatter(losses, lambda values: ("lowest", min(values)))
    loop.fit(num_epochs=4, callbacks=[lowest])
    values = loop.train_history["val_loss"]
    assert loop.train_history["lowest"] == [min(values[: n + 1]) for n in range(4)]


@pytest.mark.parametrize("path", ["m", lambda history: [-value for value in history["m"]]])
def test_a_renamed_metric_is_kept_under_both_names_as_often_as_it_is_measured(
    make_loop, path
) -> None:
    loop = make_loop(end_auto_eval=2)
    values = [0.5, None, None, 0.25]
    sign = 1 if path == "m" else -1
    loop.fit(num_epochs=4, callbacks=[Values("m", values), MetricHistoryRename(path, "other")])
    assert loop.train_history["m"] == [0.5, 0.25]
    assert loop.train_history["other"] == [sign * 0.5, sign * 0.25]


class AtTheEnd(Callback):
    def on_train_end(self) -> None:
        self.train_loop_obj.insert_metric_result_into_history("m", 7)


def test_it_can_be_done_at_the_end_only(make_loop) -> None:
    loop = make_loop()
    rename = MetricHistoryRename("m", "other", epoch_end=False, train_end=True)
    loop.fit(num_epochs=2, callbacks=[AtTheEnd("end", execution_order=-1), rename])
    assert loop.train_history["other"] == [7]


def test_at_the_end_nothing_is_done_twice(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=2, callbacks=[MetricHistoryRename("val_loss", "other", train_end=True)])
    assert loop.train_history["other"] == loop.train_history["val_loss"]


def test_a_metric_that_nothing_measures_is_an_error(make_loop) -> None:
    with pytest.raises(LoopValueError, match=r"MetricHistoryRename reads 'm'.*'loss', 'val_loss'"):
        make_loop().fit(num_epochs=1, callbacks=[MetricHistoryRename("m", "other")])


def test_without_strictness_it_is_warned_of(make_loop, caplog) -> None:
    loop = make_loop()
    callbacks = [MetricHistoryRename("m", "other", strict_metric_extract=False)]
    loop.fit(num_epochs=2, callbacks=callbacks)
    warnings = [each for each in caplog.records if "reads 'm'" in each.message]
    assert [each.levelno for each in warnings] == [logging.WARNING] * 2
    assert "other" not in loop.train_history


def test_a_metric_that_comes_every_few_epochs_is_waited_for_but_not_past_the_end(make_loop) -> None:
    class Rarely(Callback):
        eval_frequency = 3

    loop = make_loop()
    callbacks = [Rarely("rarely"), MetricHistoryRename("m", "other", train_end=True)]
    with pytest.raises(LoopValueError, match="reads 'm'"):
        loop.fit(num_epochs=2, callbacks=callbacks)
    assert loop.epochs_done == 2


def test_a_second_fit_passes_over_what_was_measured_before(make_loop) -> None:
    values = Values("m", [1, None, 2])
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[values])
    loop.fit(num_epochs=2, callbacks=[MetricHistoryRename("m", "other")])
    assert loop.train_history["other"] == [2]


class Interrupts(Callback):
    """Takes the loop's state after the first epoch and ends training."""

    def __init__(self) -> None:
        super().__init__("interrupts", execution_order=100)
        self.state = None

    def on_epoch_end(self) -> None:
        self.state = pickle.dumps(self.train_loop_obj.state_dict())
        raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["epoch_end", "train_end"])
def test_a_resumed_fit_makes_what_an_uninterrupted_one_does(make_loop, moment) -> None:
    def callbacks():
        chosen = {"epoch_end": False, "train_end": False, moment: True}
        return [Values("m", [1, None, None]), MetricHistoryRename("m", "other", **chosen)]

    whole = make_loop()
    whole.fit(num_epochs=3, callbacks=callbacks())
    first, resumed, interrupts = make_loop(), make_loop(), Interrupts()
    with pytest.raises(KeyboardInterrupt):
        first.fit(num_epochs=3, callbacks=[*callbacks(), interrupts])
    resumed.load_state_dict(pickle.loads(interrupts.state))
    resumed.fit(num_epochs=3, callbacks=callbacks())
    assert whole.train_history["other"] == resumed.train_history["other"] == [1]


def test_a_renaming_can_be_sent_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(MetricHistoryRename("m", "other")))
    assert copy.input_metric_getter({"m": [1]}) == [1]
    assert copy.output_metric_setter([1, 2]) == ("other", 2)


@pytest.mark.parametrize(
    ("getter", "setter", "rule"),
    [
        (lambda history: history["val_loss"][-1], perplexity, "as a list, got float"),
        (lambda history: "text", perplexity, "as a list, got str"),
        (losses, lambda values: values[-1], "a name and a value"),
        (losses, lambda values: (values[-1], "name"), "a name and a value"),
    ],
)
def test_functions_that_give_something_else_are_an_error(make_loop, getter, setter, rule) -> None:
    with pytest.raises(LoopTypeError, match=rule):
        make_loop().fit(num_epochs=1, callbacks=[TrainHistoryFormatter(getter, setter)])


def test_no_moment_and_equal_names_are_refused() -> None:
    with pytest.raises(LoopValueError, match="TrainHistoryFormatter needs epoch_end or train_end"):
        TrainHistoryFormatter(losses, perplexity, epoch_end=False)
    with pytest.raises(LoopValueError, match="must differ"):
        MetricHistoryRename("m", "m")
