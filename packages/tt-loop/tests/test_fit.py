"""Lengths, continuing, stopping, failing, and what is shown and recorded."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tt_loop.api import (
    Callback,
    EarlyStopping,
    EmptyLoaderError,
    LoopStateError,
    LoopTypeError,
    LoopValueError,
    SingleDevice,
    TrainLoop,
)


class Spy(Callback):
    """Writes down its hooks."""

    def __init__(self, at: str = "", order: int = 0, action=None) -> None:
        super().__init__("spy", execution_order=order)
        self.calls: list[str] = []
        self.at, self.action = at, action

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at and self.action:
            self.action(self.train_loop_obj)

    def on_train_begin(self) -> None:
        self._note("train_begin")

    def on_epoch_begin(self) -> None:
        self._note("epoch_begin")

    def on_batch_begin(self) -> None:
        self._note("batch_begin")

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        self._note(f"gradient {optimizer_idx}")

    def on_after_optimizer_step(self) -> None:
        self._note("step")

    def on_batch_end(self) -> None:
        self._note("batch_end")

    def on_epoch_end(self) -> None:
        self._note("epoch_end")

    def on_train_end(self) -> None:
        self._note("train_end")

    def on_exception(self, exception: BaseException) -> None:
        self._note(type(exception).__name__)


class Notes:
    """A recorder."""

    def __init__(self) -> None:
        self.lines: list = []

    def open(self, run, /) -> None:
        self.lines.append(("open", run.step, run.epoch))

    def scalars(self, step, values, /, *, epoch) -> None:
        self.lines.append((step, sorted(values), epoch))

    def event(self, kind, data, /) -> None:
        self.lines.append((kind, data))

    def close(self, status, /) -> None:
        self.lines.append(("close", status))


def test_hooks_are_called_in_aitoolbox_order(make_loop) -> None:
    spy = Spy()
    make_loop(samples=16).fit(num_epochs=1, callbacks=[spy])
    batch = ["batch_begin", "gradient 0", "step", "batch_end"]
    assert spy.calls == ["train_begin", "epoch_begin", *batch, *batch, "epoch_end", "train_end"]


def test_fit_called_again_goes_on(make_loop) -> None:
    once, twice, spy = make_loop(), make_loop(), Spy()
    torch.manual_seed(9)
    once.fit(num_epochs=3)
    torch.manual_seed(9)
    twice.fit(num_epochs=1, callbacks=[spy])
    twice(num_epochs=2, callbacks=[spy])
    assert twice.epochs_done == 3
    assert twice.total_iteration_idx == 14
    assert spy.calls.count("epoch_end") == len(twice.train_history["loss"]) == 3
    for a, b in zip(once.model.parameters(), twice.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_number_of_iterations_ends_inside_an_epoch(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_iterations=7, grad_accumulation=4)
    assert loop.total_iteration_idx == 6
    assert len(loop.train_history["loss"]) == 2
    loop.fit(num_iterations=5)
    assert loop.total_iteration_idx == 11


def test_stopping_takes_effect_after_the_step(make_loop) -> None:
    spy = Spy("batch_end", action=lambda loop: setattr(loop, "early_stop", loop.iteration == 1))
    loop = make_loop()
    loop.fit(num_epochs=5, callbacks=[spy])
    assert spy.calls.count("step") == 2
    assert spy.calls[-2:] == ["epoch_end", "train_end"]
    spy.action = None
    loop.fit(num_epochs=1)
    assert spy.calls.count("step") == 7  # the stop flag was cleared


def test_an_exception_reaches_callbacks_and_recorder_and_the_caller(make_loop) -> None:
    def fail(loop: TrainLoop) -> None:
        raise ZeroDivisionError("mine")

    notes, spy = Notes(), Spy("epoch_end", action=fail)
    loop = make_loop(recorder=notes)
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        loop.fit(num_epochs=2, callbacks=[spy])
    assert "Raised in the hook on_epoch_end of the callback Spy." in caught.value.__notes__
    assert spy.calls[-1] == "ZeroDivisionError"
    event = ("exception", {"type": "ZeroDivisionError", "text": "mine"})
    assert notes.lines[-2:] == [event, ("close", "failed")]


def test_ctrl_c_is_an_interruption(make_loop) -> None:
    def interrupt(loop: TrainLoop) -> None:
        raise KeyboardInterrupt

    notes, spy = Notes(), Spy("batch_end", action=interrupt)
    loop = make_loop(recorder=notes)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(num_epochs=2, callbacks=[spy])
    assert notes.lines[-1] == ("close", "interrupted")
    with pytest.raises(LoopStateError, match="between steps"):
        loop.state_dict()
    spy.action = None
    loop.fit(num_epochs=1)  # it can go on all the same
    assert loop.epochs_done == 1


def test_the_recorder_gets_each_number_once(make_loop) -> None:
    notes = Notes()
    make_loop(test=True, recorder=notes).fit(num_epochs=2)
    losses = ["loss", "val_loss"]
    assert notes.lines == [
        ("open", 0, 0),
        (5, losses, 0),
        (10, losses, 1),
        (10, ["train_end_test_loss"], 1),
        ("close", "completed"),
    ]


def test_one_line_per_epoch_and_a_bar(make_loop, capsys) -> None:
    make_loop(progress=True).fit(num_epochs=2)
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("val_loss 0." in line for line in lines)
    assert "/10" in shown.err  # batches of the whole fit
    make_loop().fit(num_epochs=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("every", "evaluations"), [(True, 4), (2, 2), (False, 0)])
def test_automatic_evaluation(make_loop, every, evaluations: int) -> None:
    loop = make_loop(test=True, end_auto_eval=every)
    loop.fit(num_epochs=4)
    assert len(loop.train_history.get_train_history().get("val_loss", [])) == evaluations
    assert ("train_end_test_loss" in loop.train_history) is bool(every)


def test_the_model_is_returned_trained(make_loop) -> None:
    loop = make_loop()
    before = [p.clone() for p in loop.model.parameters()]
    assert loop.fit(num_epochs=1) is loop.model
    assert not any(torch.equal(a, b) for a, b in zip(before, loop.model.parameters(), strict=True))
    assert loop.is_main_process()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({}, "exactly one positive length"),
        ({"num_epochs": 0}, "exactly one positive length"),
        ({"num_epochs": 2, "num_iterations": 2}, "exactly one positive length"),
        ({"num_epochs": -1, "num_iterations": 2}, "exactly one positive length"),
        ({"num_epochs": 1, "grad_accumulation": 0}, "at least 1"),
    ],
)
def test_a_length_that_cannot_be_is_refused(make_loop, arguments, rule: str) -> None:
    with pytest.raises(LoopValueError, match=rule):
        make_loop().fit(**arguments)


def test_an_unknown_option_of_fit_is_refused(make_loop) -> None:
    with pytest.raises(LoopTypeError, match=r"\['epochs'\]; gpu_mode='single' knows none"):
        make_loop().fit(num_epochs=1, epochs=3)


def model_and(**options) -> TrainLoop:
    model = nn.Linear(2, 2)
    loader = [[torch.zeros(3, 2), torch.zeros(3, dtype=torch.long)]]
    arguments = {
        "model": model,
        "train_loader": loader,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": nn.CrossEntropyLoss(),
        **options,
    }
    return TrainLoop(
        arguments.pop("model"),
        arguments.pop("train_loader"),
        arguments.pop("validation_loader", None),
        None,
        arguments.pop("optimizer"),
        arguments.pop("criterion"),
        progress=False,
        **arguments,
    )


@pytest.mark.parametrize(
    ("options", "error", "rule"),
    [
        ({"model": "net"}, LoopTypeError, "must be a torch.nn.Module"),
        ({"criterion": None}, LoopValueError, "no get_loss and there is no criterion"),
        ({"optimizer": "adam"}, LoopTypeError, "a MultiOptimizer, got str"),
        ({"train_loader": 3}, LoopTypeError, "training loader must be"),
        ({"validation_loader": 3}, LoopTypeError, "validation loader must be"),
        ({"train_loader": []}, EmptyLoaderError, "the training loader yields none"),
        ({"validation_loader": []}, EmptyLoaderError, "the validation loader yields none"),
        ({"gpu_mode": "tpu"}, LoopValueError, "gpu_mode='tpu' is not provided"),
        ({"gpu_mode": 3}, LoopTypeError, "a Strategy or a Launcher, got int"),
        ({"use_amp": "fp16"}, LoopTypeError, "use_amp must be a bool"),
        ({"cuda_device_idx": 99}, LoopValueError, "CUDA devices, got 99"),
        ({"gpu_mode": SingleDevice("cpu"), "use_amp": True}, LoopValueError, "its precision"),
        ({"gpu_mode": SingleDevice("cpu"), "cuda_device_idx": 0}, LoopValueError, "'single'"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options, error, rule: str) -> None:
    with pytest.raises(error, match=rule):
        model_and(**options)


@pytest.mark.parametrize(
    ("options", "error", "rule"),
    [
        ({"train_loader": None}, LoopValueError, "fit needs a train_loader"),
        ({"optimizer": None}, LoopValueError, "fit needs an optimizer"),
        ({"train_loader": iter(())}, EmptyLoaderError, "the training loader yields none"),
        ({"criterion": lambda *_: 3.0}, LoopTypeError, "scalar tensor.* got float"),
        ({"criterion": lambda out, _: out}, LoopTypeError, r"got a tensor of shape \(3, 2\)"),
        ({"criterion": lambda out, _: out.sum().detach()}, LoopTypeError, "require gradients"),
    ],
)
def test_what_cannot_be_trained_is_refused(options, error, rule: str) -> None:
    loop = model_and(**options)
    with pytest.raises(error, match=rule):
        loop.fit(num_epochs=1)


def test_a_mode_whose_package_is_missing_names_it(monkeypatch) -> None:
    single = {"single": SimpleNamespace(load=lambda: None)}
    registered = {"tt_loop.strategies": single, "tt_loop.precisions": {}}
    monkeypatch.setattr("tt_loop.plugins._registered", registered.__getitem__)
    with pytest.raises(ImportError, match="pip install tt-parallel"):
        model_and(gpu_mode="ddp")
    with pytest.raises(ImportError, match="pip install tt-parallel"):
        model_and(use_amp=True)


def test_a_fit_after_a_failed_one_starts_clean(make_loop) -> None:
    def fail(loop: TrainLoop) -> None:
        raise ZeroDivisionError

    clean, again = make_loop(), make_loop()
    spy = Spy("batch_begin", action=lambda loop: fail(loop) if loop.iteration == 1 else None)
    with pytest.raises(ZeroDivisionError):
        again.fit(num_epochs=1, grad_accumulation=3, callbacks=[spy])  # inside a window
    spy.action = None
    torch.manual_seed(0)
    again.fit(num_epochs=1, grad_accumulation=3)
    torch.manual_seed(0)
    clean.fit(num_epochs=1, grad_accumulation=3)
    for a, b in zip(clean.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_modules_are_in_training_mode_only_during_fit(make_loop) -> None:
    loop = make_loop()
    loop.model[1].eval()
    seen = []
    spy = Spy("batch_begin", action=lambda loop: seen.append(loop.model[1].training))
    loop.fit(num_epochs=1, callbacks=[spy])
    assert seen == [True] * 5
    assert [module.training for module in loop.model] == [True, False, True, True]


def test_a_callback_that_fails_on_an_exception_hides_nothing(make_loop) -> None:
    class Clumsy(Callback):
        def on_exception(self, exception: BaseException) -> None:
            raise OSError("and this")

    def fail(loop: TrainLoop) -> None:
        raise ZeroDivisionError("first")

    spy = Spy("epoch_begin", order=1, action=fail)
    with pytest.raises(ZeroDivisionError, match="first") as caught:
        make_loop().fit(num_epochs=1, callbacks=[Clumsy("clumsy"), spy])
    assert spy.calls[-1] == "ZeroDivisionError"
    assert any("Clumsy failed too" in note for note in caught.value.__notes__)


def test_a_callback_that_refuses_a_loop_does_not_stay(make_loop) -> None:
    class Refuse(Callback):
        def on_train_loop_registration(self) -> None:
            raise ValueError("not this loop")

    loop = make_loop()
    with pytest.raises(ValueError, match="not this loop"):
        loop.fit(num_epochs=1, callbacks=[Refuse("refuse")])
    loop.fit(num_epochs=1)


def test_early_stopping_waits_anew_in_a_new_fit(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=50, callbacks=[EarlyStopping("val_loss", min_delta=10.0, patience=2)])
    loop.fit(num_epochs=2)
    assert loop.epochs_done == 6


def test_numbers_of_numpy_and_torch_are_shown_and_recorded(make_loop) -> None:
    import numpy as np

    notes = Notes()
    loop = make_loop(recorder=notes)

    def measure(loop: TrainLoop) -> None:
        loop.insert_metric_result_into_history("a", np.float32(0.5))
        loop.insert_metric_result_into_history("b", torch.tensor(2))
        loop.insert_metric_result_into_history("c", np.zeros(3))

    loop.fit(num_epochs=1, callbacks=[Spy("epoch_end", action=measure)])
    assert notes.lines[1][1] == ["a", "b", "loss", "val_loss"]


def test_early_stopping_by_the_validation_loss(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=50, callbacks=[EarlyStopping("val_loss", min_delta=10.0, patience=2)])
    assert loop.epochs_done == 4  # the first is better than nothing, then three that are not


def test_what_is_replaced_when_an_epoch_begins_counts_in_it(make_loop) -> None:
    steps = []

    class Replace(Callback):
        def on_epoch_begin(self) -> None:
            loop = self.train_loop_obj
            batch = [torch.zeros(4, 4), torch.zeros(4, dtype=torch.long)]
            loop.train_loader = [batch] * (2 if loop.epoch == 0 else 8)
            loop.criterion = nn.CrossEntropyLoss(label_smoothing=0.1 * loop.epoch)

        def on_after_optimizer_step(self) -> None:
            steps.append((self.train_loop_obj.epoch, self.train_loop_obj.iteration))

    make_loop(validation=False).fit(
        num_epochs=2, grad_accumulation=4, callbacks=[Replace("replace")]
    )
    assert steps == [(0, 1), (1, 3), (1, 7)]


@pytest.mark.parametrize("name", ["num_epochs", "num_iterations", "grad_accumulation"])
def test_a_length_that_is_not_whole_is_refused(make_loop, name: str) -> None:
    with pytest.raises(LoopTypeError, match=rf"{name} must be a whole number, got 2\.5"):
        make_loop().fit(**{"num_epochs": 1, name: 2.5})


def test_parameter_groups_stay_the_users_own(make_loop) -> None:
    loop = make_loop()
    group = loop.optimizer.param_groups[0]
    loop.fit(num_epochs=1)
    loop.fit(num_epochs=1)
    assert loop.optimizer.param_groups[0] is group
