"""The callbacks and how they are kept."""

import math

import pytest
import torch

from tt_loop.api import (
    Callback,
    Checkpoint,
    CheckpointRef,
    EarlyStopping,
    GradNormClip,
    GradValueClip,
    LoopTypeError,
    LoopValueError,
    ModelPerformanceEvaluation,
    ModelPerformancePrintReport,
    direction_of,
)


class Logged(Callback):
    log: list[str] = []  # noqa: RUF012  # shared on purpose

    def __init__(self, name: str, order: int = 0, device: int | None = None) -> None:
        super().__init__(name, order, device)

    def on_train_loop_registration(self) -> None:
        assert self.train_loop_obj is not None

    def on_epoch_end(self) -> None:
        self.log.append(self.callback_name)


def test_callbacks_run_once_in_execution_order_and_on_their_rank(make_loop) -> None:
    Logged.log = []
    late, first, second, elsewhere = (
        Logged("late", 5),
        Logged("first"),
        Logged("second"),
        Logged("x", 0, 3),
    )
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[late, first, second, first, elsewhere])
    assert Logged.log == ["first", "second", "late"]
    assert loop.callbacks == [first, second, elsewhere, late]


def test_only_overridden_hooks_are_kept(make_loop) -> None:
    loop = make_loop()
    loop.callbacks_handler.register_callbacks([Logged("one"), EarlyStopping()])
    assert len(loop.callbacks_handler.hooks("on_epoch_end")) == 2
    assert loop.callbacks_handler.hooks("on_batch_end") == []
    loop.callbacks[0].on_batch_end = lambda: None  # overridden on the object
    assert len(loop.callbacks_handler.hooks("on_batch_end")) == 1


@pytest.mark.parametrize(
    ("wrong", "hint"), [(EarlyStopping, "pass an instance"), (print, "subclass it")]
)
def test_what_is_no_callback_is_refused(make_loop, wrong, hint: str) -> None:
    with pytest.raises(LoopTypeError, match=hint):
        make_loop().fit(num_epochs=1, callbacks=[wrong])


class Values(Callback):
    """Puts given values of a metric into the history."""

    def __init__(self, name: str, values: list) -> None:
        super().__init__("values", execution_order=-1)
        self.name, self.values = name, values

    def on_epoch_end(self) -> None:
        value = self.values[self.train_loop_obj.epoch]
        if value is not None:
            self.train_loop_obj.insert_metric_result_into_history(self.name, value)


@pytest.mark.parametrize(
    ("name", "values", "arguments", "epochs"),
    [
        ("val_acc", [0.1, 0.2, 0.2, 0.3], {}, 3),
        ("val_acc", [0.1, 0.2, 0.2, 0.3, 0.1, 0.1], {"patience": 1}, 6),
        ("val_acc", [0.5, 0.4, 0.3, 0.2], {"mode": "min"}, 4),
        ("my_error", [3.0, 2.0, 2.5, 1.0], {}, 3),
        ("my_error", [3.0, 2.9, 2.8, 2.7], {"min_delta": 0.5}, 2),
        ("val_acc", [0.1, math.nan, 0.3, 0.2], {"patience": 1}, 4),
        ("val_acc", [0.2, None, None, 0.1, 0.0], {"patience": 0}, 4),
    ],
)
def test_early_stopping(make_loop, name, values, arguments, epochs: int) -> None:
    loop = make_loop()
    loop.fit(
        num_epochs=len(values), callbacks=[Values(name, values), EarlyStopping(name, **arguments)]
    )
    assert loop.epochs_done == epochs


def test_early_stopping_on_a_metric_that_nobody_measures(make_loop) -> None:
    with pytest.raises(
        LoopValueError, match=r"'val_F1'.*\['accumulated_loss', 'loss', 'val_loss'\]"
    ):
        make_loop().fit(num_epochs=2, callbacks=[EarlyStopping("val_F1")])


def test_early_stopping_waits_for_a_loss_of_every_second_epoch(make_loop) -> None:
    loop = make_loop(end_auto_eval=2)
    loop.fit(num_epochs=9, callbacks=[EarlyStopping("val_loss", min_delta=100.0)])
    assert loop.epochs_done == 4


def test_what_is_evaluated_every_second_epoch_may_be_monitored_and_shown(make_loop) -> None:
    loop = make_loop()
    measure = ModelPerformanceEvaluation(Package(), {"lr": 0}, eval_frequency=2)
    watch = EarlyStopping("val_n", mode="min")
    loop.fit(num_epochs=9, callbacks=[measure, watch, ModelPerformancePrintReport(["val_n"])])
    assert loop.epochs_done == 4  # the same value came twice


def test_direction_of_metrics() -> None:
    assert direction_of("val_loss") == direction_of("Mean_absolute_error") == "min"
    assert direction_of("train_Perplexity") == "min"
    assert direction_of("Accuracy") == "max"


@pytest.mark.parametrize(
    "make",
    [
        lambda: EarlyStopping(patience=-1),
        lambda: GradNormClip(0),
        lambda: GradValueClip(float("nan")),
        lambda: ModelPerformancePrintReport([]),
        lambda: ModelPerformancePrintReport("val_loss"),
        lambda: ModelPerformanceEvaluation(Package(), on_val_data=False),
        lambda: Checkpoint(Memory(), every_epochs=0),
    ],
)
def test_settings_that_cannot_work_are_refused(make) -> None:
    with pytest.raises(LoopValueError):
        make()


class Package:
    """A result package of the old kind."""

    pkg_name = "Package"
    requires_loss = True

    def prepare_result_package(self, y_true, y_predicted, hyperparameters=None, **kwargs):
        self.results = {
            "n": len(y_true),
            "right": {"share": float((y_predicted.argmax(1) == y_true).float().mean())},
            "loss": kwargs["loss"],
            "lr": hyperparameters["lr"],
        }

    def get_results(self):
        return self.results


def test_performance_evaluation_goes_into_the_history(make_loop) -> None:
    loop = make_loop()
    callback = ModelPerformanceEvaluation(
        Package(), {"lr": 0.1}, on_train_data=True, eval_frequency=2
    )
    loop.fit(num_epochs=4, callbacks=[callback])
    history = loop.train_history
    y_pred, y_true, _ = loop.predict_on_validation_set()
    share = float((y_pred.argmax(1) == y_true).float().mean())
    assert history["val_n"] == [40, 40]
    assert history["val_right_share"][-1] == share == history["train_end_val_right_share"][0]
    assert history["train_loss"][-1] == pytest.approx(history["val_loss"][-1])
    assert history["train_end_train_lr"] == [0.1]


def test_performance_evaluation_only_at_the_end(make_loop) -> None:
    loop = make_loop()
    loop.fit(
        num_epochs=2,
        callbacks=[ModelPerformanceEvaluation(Package(), {"lr": 0}, on_each_epoch=False)],
    )
    assert "val_n" not in loop.train_history
    assert loop.train_history["train_end_val_n"] == [40]


def test_performance_evaluation_without_its_loader_is_refused_before_training(make_loop) -> None:
    with pytest.raises(LoopValueError, match="validation_loader"):
        make_loop(validation=False).fit(
            num_epochs=1, callbacks=[ModelPerformanceEvaluation(Package(), {})]
        )
    with pytest.raises(LoopTypeError, match="ResultPackage or a Metric, got int"):
        ModelPerformanceEvaluation(3)


def test_the_report_chooses_what_a_line_shows(make_loop, capsys) -> None:
    loop = make_loop(progress=True)
    loop.fit(num_epochs=1, callbacks=[ModelPerformancePrintReport(["val_loss"])])
    line = capsys.readouterr().out
    assert "val_loss" in line
    assert "  loss" not in line
    with pytest.raises(LoopValueError, match=r"\['val_x'\]"):
        loop.fit(num_epochs=1, callbacks=[ModelPerformancePrintReport(["val_x"])])


def test_the_report_may_be_lenient(make_loop) -> None:
    make_loop().fit(
        num_epochs=1, callbacks=[ModelPerformancePrintReport(["x"], strict_metric_reporting=False)]
    )


class Memory:
    """A checkpoint store in memory."""

    def __init__(self, fail: bool = False) -> None:
        self.saved, self.fail = [], fail

    def save(self, tree, /, *, step, scores):
        self.saved.append((step, dict(scores), tree))
        return self

    def wait_staged(self) -> None:
        pass

    def wait_committed(self, timeout=None, /) -> CheckpointRef:
        if self.fail:
            raise OSError("disk full")
        return CheckpointRef(self.saved[-1][0], "memory", {})


def test_checkpoints_are_kept_with_the_scores_of_their_own_epoch(make_loop) -> None:
    store = Memory()
    values = Values("val_acc", [0.9, 0.1, 0.2, 0.3])
    make_loop().fit(num_epochs=4, callbacks=[Checkpoint(store, every_epochs=2), values])
    assert [(step, scores["val_acc"]) for step, scores, _ in store.saved] == [(10, 0.1), (20, 0.3)]
    assert store.saved[0][2]["loop"]["epochs_done"] == 2


def test_a_save_that_failed_is_said(make_loop) -> None:
    with pytest.raises(OSError, match="disk full"):
        make_loop().fit(num_epochs=2, callbacks=[Checkpoint(Memory(fail=True))])


def test_value_clipping_bounds_each_element(make_loop) -> None:
    seen = []

    class Look(Callback):
        def on_before_optimizer_step(self, optimizer_idx: int) -> None:
            grads = [p.grad.abs().max() for p in self.train_loop_obj.model.parameters()]
            seen.append(float(torch.stack(grads).max()))

    make_loop().fit(num_epochs=1, callbacks=[GradValueClip(1e-3), Look("look", execution_order=1)])
    assert max(seen) == pytest.approx(1e-3)
