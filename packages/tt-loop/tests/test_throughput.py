"""How fast training is, by a clock that the tests turn."""

import logging

import pytest

from tt_loop.api import Callback, LoopValueError
from tt_loop.callbacks import throughput
from tt_loop.callbacks.throughput import Throughput, ThroughputMonitor


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is turned."""

    class Clock:
        now = 100.0

        def perf_counter(self) -> float:
            return self.now

    made = Clock()
    monkeypatch.setattr(throughput, "time", made)
    return made


class Turn(Callback):
    """Makes batches, evaluations and ends of epochs take some seconds."""

    def __init__(self, clock, batch: float = 2.0, evaluation: float = 0.0) -> None:
        super().__init__("turn", execution_order=-5)
        self.clock, self.batch, self.evaluation = clock, batch, evaluation

    def on_batch_begin(self) -> None:
        self.clock.now += self.batch

    def on_after_batch_prediction(self, *_) -> None:
        self.clock.now += 50.0

    def on_epoch_end(self) -> None:
        self.clock.now += self.evaluation
        self.train_loop_obj.predict_with_model(self.train_loop_obj.validation_loader, True)


def test_an_epochs_rates_go_into_the_history(make_loop, clock) -> None:
    loop = make_loop(samples=44)
    loop.fit(num_epochs=2, callbacks=[ThroughputMonitor(), Turn(clock)])
    history = loop.train_history
    assert history["throughput_steps_per_second"] == [6 / 12] * 2
    assert history["throughput_samples_per_second"] == [44 / 12] * 2
    assert "throughput_tokens_per_second" not in history


def test_tokens_are_what_the_user_counts(make_loop, clock) -> None:
    loop = make_loop()
    monitor = ThroughputMonitor(tokens=lambda batch: batch[0].numel())
    loop.fit(num_epochs=1, callbacks=[monitor, Turn(clock)])
    assert loop.train_history["throughput_tokens_per_second"] == [40 * 4 / 10]


def test_evaluation_inside_an_epoch_does_not_count(make_loop, clock) -> None:
    class Evaluate(Callback):
        def on_batch_end(self) -> None:
            loop = self.train_loop_obj
            loop.predict_with_model(loop.validation_loader, execute_callbacks=True)

    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[ThroughputMonitor(), Turn(clock), Evaluate("evaluate")])
    assert loop.train_history["throughput_samples_per_second"] == [4.0]


def test_what_callbacks_do_after_an_epochs_evaluation_does_not_count(make_loop, clock) -> None:
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[ThroughputMonitor(), Turn(clock, evaluation=1000.0)])
    assert loop.train_history["throughput_samples_per_second"] == [4.0]


def test_rates_are_logged_every_so_many_batches(make_loop, clock, caplog) -> None:
    caplog.set_level(logging.INFO, logger="tt_loop.callbacks.throughput")
    monitor = ThroughputMonitor(every=2)
    make_loop().fit(num_epochs=1, callbacks=[monitor, Turn(clock)])
    assert caplog.messages == [
        "per second after batch 1: steps 0.5, samples 4",
        "per second after batch 3: steps 0.5, samples 4",
    ]
    assert monitor.latest == Throughput(4.0, 2, 16, 0)


def test_nothing_is_logged_where_it_is_not_wanted(make_loop, clock, caplog) -> None:
    caplog.set_level(logging.INFO, logger="tt_loop.callbacks.throughput")
    make_loop().fit(num_epochs=1, callbacks=[ThroughputMonitor(every=0)])
    assert not caplog.messages


def test_samples_and_tokens_of_all_processes_are_added_up(make_loop, clock) -> None:
    class Two:
        """Stands for two processes that do the same."""

        rank, world_size = 0, 2

        def all_reduce(self, tensor, op="sum", /):
            return tensor * 2

    monitor = ThroughputMonitor(tokens=lambda batch: 7)
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[monitor])
    loop.ready()[0].comm = Two()
    total = monitor._of_all_processes(Throughput(4.0, 2, 16, 14))
    assert total.per_second() == {
        "throughput_steps_per_second": 0.5,
        "throughput_samples_per_second": 8.0,
        "throughput_tokens_per_second": 7.0,
    }


def test_no_time_gives_no_rate() -> None:
    assert Throughput(0.0, 1, 1, 0).per_second()["throughput_steps_per_second"] == 0.0


def test_a_negative_interval_is_refused() -> None:
    with pytest.raises(LoopValueError, match="every"):
        ThroughputMonitor(-1)
