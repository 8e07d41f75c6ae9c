"""Functions as callbacks."""

import inspect
import pickle

import pytest

from tt_loop.api import Callback, LoopTypeError, LoopValueError
from tt_loop.callbacks.function import FunctionOnTrainLoop

MOMENTS = {  # how often each comes in 2 epochs of 5 batches
    "tl_registration": 1,
    "epoch_begin": 2,
    "epoch_end": 2,
    "train_begin": 1,
    "train_end": 1,
    "batch_begin": 10,
    "batch_end": 10,
    "after_gradient_update": 10,
    "after_optimizer_step": 10,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_function_is_called_with_the_loop_at_the_chosen_moment_only(make_loop, moment) -> None:
    called = []
    loop = make_loop(validation=False)
    loop.fit(num_epochs=2, callbacks=[FunctionOnTrainLoop(called.append, **{moment: True})])
    assert called == [loop] * MOMENTS[moment]


@pytest.mark.parametrize("moment", MOMENTS)
def test_hooks_that_were_not_chosen_are_not_in_the_step(make_loop, moment) -> None:
    loop = make_loop()
    loop.callbacks_handler.register_callbacks([FunctionOnTrainLoop(print, **{moment: True})])
    hooks = {name for name, _ in inspect.getmembers(Callback) if name.startswith("on_")}
    chosen = {name for name in hooks if loop.callbacks_handler.hooks(name)}
    assert chosen == {f"on_{moment}".replace("on_tl", "on_train_loop")}


def test_the_arguments_have_aitoolboxs_order() -> None:
    names = list(inspect.signature(FunctionOnTrainLoop).parameters)
    assert names == ["fn_to_execute", *MOMENTS, "execution_order", "device_idx_execution"]


def test_order_and_rank_are_those_of_every_callback(make_loop) -> None:
    called = []
    late = FunctionOnTrainLoop(lambda _: called.append("late"), epoch_end=True, execution_order=2)
    early = FunctionOnTrainLoop(lambda _: called.append("early"), epoch_end=True)
    other = FunctionOnTrainLoop(
        lambda _: called.append("?"), epoch_end=True, device_idx_execution=1
    )
    make_loop().fit(num_epochs=1, callbacks=[late, other, early])
    assert called == ["early", "late"]


def test_the_chosen_hooks_survive_on_the_way_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(FunctionOnTrainLoop(id, batch_end=True)))
    assert copy.on_batch_end.__self__ is copy
    assert copy.on_batch_end.__func__ is FunctionOnTrainLoop.execute_callback


def test_what_cannot_be_called_or_never_would_be_is_refused() -> None:
    with pytest.raises(LoopTypeError, match="callable, got str"):
        FunctionOnTrainLoop("print", epoch_end=True)
    with pytest.raises(LoopValueError, match="needs a moment"):
        FunctionOnTrainLoop(print)
