"""Saving the state of a loop and going on from it."""

import copy

import pytest
import torch

from tt_loop.api import EarlyStopping, LoopStateError


def weights(loop) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(loop.model.parameters())


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_resumed_run_ends_with_the_same_bits(make_loop, first: int) -> None:
    class Stop(Exception):  # noqa: N818  # it is no error
        pass

    saved = {}

    class Save(EarlyStopping):
        """Keeps a copy of the state after some epochs and dies."""

        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            if self.train_loop_obj.epochs_done == first and not saved:
                saved.update(copy.deepcopy(self.train_loop_obj.state_dict()))
                raise Stop

    whole = make_loop()
    whole.fit(num_epochs=4, callbacks=[EarlyStopping(min_delta=0.001, patience=1)])
    broken = make_loop()
    with pytest.raises(Stop):
        broken.fit(num_epochs=4, callbacks=[Save(min_delta=0.001, patience=1)])
    saved["callbacks"] = {"EarlyStopping.0": saved["callbacks"]["Save.0"]}

    resumed = make_loop()
    torch.rand(5)
    resumed.load_state_dict(saved)
    torch.rand(5)
    resumed.fit(num_epochs=4, callbacks=[EarlyStopping(min_delta=0.001, patience=1)])
    assert torch.equal(weights(whole), weights(resumed))
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()
    assert whole.epochs_done == resumed.epochs_done


def test_a_finished_fit_has_nothing_left(make_loop) -> None:
    loop = make_loop()
    saved = {}

    class Keep(EarlyStopping):
        def on_train_end(self) -> None:
            saved.update(copy.deepcopy(self.train_loop_obj.state_dict()))

    loop.fit(num_epochs=2, callbacks=[Keep(patience=9)])
    again = make_loop()
    again.load_state_dict(saved)
    again.fit(num_epochs=2)
    assert again.epochs_done == 2
    again.fit(num_epochs=1)
    assert again.epochs_done == 3


def test_the_optimizers_state_is_kept_by_parameter_name(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=1)
    state = copy.deepcopy(loop.state_dict())
    assert set(state["optimizers"][0]["state"]) == {"0.weight", "0.bias", "3.weight", "3.bias"}

    model = copy.deepcopy(loop.model)
    reordered = torch.optim.SGD(reversed(list(model.parameters())), lr=0.1, momentum=0.9)
    other = type(loop)(
        model, loop.train_loader, None, None, reordered, loop.criterion, progress=False
    )
    other.load_state_dict(state)
    buffer = reordered.state[model[0].weight]["momentum_buffer"]
    assert torch.equal(buffer, loop.optimizer.state[loop.model[0].weight]["momentum_buffer"])


def test_a_state_of_other_parameters_is_refused(make_loop) -> None:
    loop = make_loop()
    state = loop.state_dict()
    partial = torch.optim.SGD(list(loop.model.parameters())[:2], lr=0.1)
    other = type(loop)(loop.model, loop.train_loader, None, None, partial, loop.criterion)
    with pytest.raises(LoopStateError, match=r"parameters of group 0  0\.bias, 0\.weight, 3"):
        other.load_state_dict(state)


def test_a_state_of_something_else_is_refused(make_loop) -> None:
    with pytest.raises(LoopStateError, match="lacks"):
        make_loop().load_state_dict({"model": {}})


def test_a_state_of_mixed_precision_is_refused_in_full_precision(make_loop) -> None:
    state = make_loop().state_dict()
    state["precision"] = {"dtype": "bfloat16"}
    loop = make_loop()
    loop.load_state_dict(state)
    with pytest.raises(LoopStateError, match="mixed precision"):
        loop.fit(num_epochs=1)


def test_a_loaded_state_can_be_saved_again_before_it_is_used(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[EarlyStopping(patience=3)])
    state = copy.deepcopy(loop.state_dict())
    other = make_loop()
    other.load_state_dict(copy.deepcopy(state))
    again = other.state_dict()
    assert again["callbacks"] == state["callbacks"]
    assert torch.equal(again["rng"][0]["torch"], state["rng"][0]["torch"])


def test_a_loop_that_only_evaluates_takes_the_weights(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=1)
    other = make_loop()
    other.optimizer = None
    other.load_state_dict(copy.deepcopy(loop.state_dict()))
    assert torch.equal(weights(loop), weights(other))


def test_parameters_of_the_criterion_travel_too(make_loop) -> None:
    loop = make_loop()
    scale = torch.nn.Parameter(torch.ones(()))
    loop.optimizer.add_param_group({"params": [scale]})
    loop.fit(num_epochs=1)
    loop.load_state_dict(copy.deepcopy(loop.state_dict()))
    assert "outside_the_model.4" in loop.state_dict()["optimizers"][0]["param_groups"][1]["params"]
