"""Averaged weights, held against torch's own."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import (
    AveragedModel,
    get_ema_multi_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, LoopStateError, LoopValueError, TrainLoop
from tt_loop.callbacks._batch_norm import recompute_statistics
from tt_loop.callbacks.averaging import EMA, SWA
from tt_loop.data.batches import Batches


def norm_loop(shuffle: bool = True, validation: bool = True, **options) -> TrainLoop:
    """A job with batch norm and dropout."""
    torch.manual_seed(0)
    features = torch.randn(40, 4)
    data = TensorDataset(features, (features.sum(1) > 0).long())
    loader = DataLoader(data, batch_size=8, shuffle=shuffle)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    validation_loader = DataLoader(data, batch_size=16) if validation else None
    options = {"progress": False, **options}
    return TrainLoop(model, loader, validation_loader, None, optimizer, criterion, **options)


def fitted(callbacks, num_epochs: int, **options) -> TrainLoop:
    """Such a job, made and trained from the same random state."""
    loop = norm_loop()
    loop.fit(num_epochs=num_epochs, callbacks=callbacks, **options)
    return loop


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Torch(Callback):
    """torch's averaged model beside the loop, updated when ours is."""

    def __init__(self, average, when: str) -> None:
        super().__init__("torch", execution_order=95)
        self.average, self.when = average, when
        self.model = None

    def on_train_begin(self) -> None:
        if self.model is None:
            self.model = AveragedModel(self.train_loop_obj.model, **self.average)

    def on_after_optimizer_step(self) -> None:
        if self.when == "step":
            self.model.update_parameters(self.train_loop_obj.model)

    def on_epoch_end(self) -> None:
        if self.when == "epoch":
            self.model.update_parameters(self.train_loop_obj.model)


# EMA


@pytest.mark.parametrize("accumulation", [1, 3])
def test_ema_is_torchs_bit_for_bit(accumulation: int) -> None:
    oracle = Torch({"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, "step")
    loop = fitted([EMA(0.9), oracle], 3, grad_accumulation=accumulation)
    assert same(bits(loop.model), bits(oracle.model.module))


def test_ema_of_buffers_is_torchs() -> None:
    oracle = Torch({"multi_avg_fn": get_ema_multi_avg_fn(0.9), "use_buffers": True}, "step")
    loop = fitted([EMA(0.9, use_buffers=True), oracle], 2)
    ours, theirs = bits(loop.model), bits(oracle.model.module)
    assert ours["1.num_batches_tracked"] == 10  # a counter is copied
    del ours["1.num_batches_tracked"], theirs["1.num_batches_tracked"]
    assert same(ours, theirs)


@settings(deadline=None, max_examples=20)
@given(
    decay=st.floats(0, 0.9999),
    every=st.integers(1, 4),
    warmup=st.booleans(),
    epochs=st.integers(1, 3),
)
def test_ema_is_the_published_formula(decay, every, warmup, epochs) -> None:
    class ByHand(Callback):
        """The average of the weights after each update, in double precision."""

        average, updates, averaged = None, 0, 0

        def on_after_optimizer_step(self) -> None:
            self.updates += 1
            if self.updates % every:
                return
            weights = nn.utils.parameters_to_vector(self.train_loop_obj.model.parameters()).double()
            share = min(decay, (1 + self.averaged) / (10 + self.averaged)) if warmup else decay
            old = weights if self.average is None else self.average
            self.average = (share * old + (1 - share) * weights).detach()
            self.averaged += 1

    by_hand, ema = ByHand("by hand"), EMA(decay, update_every=every, warmup=warmup)
    loop = norm_loop(validation=False)
    loop.fit(num_epochs=epochs, callbacks=[ema, by_hand])
    assert ema.averages.count == by_hand.averaged
    averaged = nn.utils.parameters_to_vector(loop.model.parameters()).double()
    torch.testing.assert_close(averaged, by_hand.average, rtol=1e-5, atol=1e-6)


class Losses(Callback):
    """Evaluates a copy of torch's averaged model by hand after each epoch."""

    def __init__(self, oracle: Torch) -> None:
        super().__init__("losses", execution_order=96)
        self.oracle, self.losses = oracle, []

    def on_epoch_end(self) -> None:
        model = copy.deepcopy(self.oracle.model.module).eval()
        data = self.train_loop_obj.validation_loader.dataset
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(data.tensors[0]), data.tensors[1])
        self.losses.append(float(loss))


def test_evaluation_is_of_the_averages() -> None:
    oracle = Torch({"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, "step")
    losses = Losses(oracle)
    loop = fitted([EMA(0.9), oracle, losses], 3)
    assert loop.train_history["val_loss"] == pytest.approx(losses.losses, rel=1e-5)


def test_training_is_not_changed_by_averaging_and_evaluating() -> None:
    plain = fitted([], 3)
    averaged = fitted([EMA(0.9, at_end="trained")], 3, eval_every=2)
    swa = fitted([SWA(0, at_end="trained")], 3, eval_every=2)
    assert same(bits(plain.model), bits(averaged.model))
    assert same(bits(plain.model), bits(swa.model))
    assert (
        plain.train_history["loss"] == averaged.train_history["loss"] == swa.train_history["loss"]
    )


def test_tensors_stay_where_they_are_while_averages_are_in() -> None:
    class Look(Callback):
        """Notes addresses and versions outside and inside evaluation."""

        def __init__(self) -> None:
            super().__init__("look", execution_order=99)
            self.seen = []

        def note(self) -> None:
            parameters = self.train_loop_obj.model.parameters()
            self.seen.append([(p.data_ptr(), p._version) for p in parameters])

        def on_evaluate_begin(self, dataset_info) -> None:
            self.note()

        def on_epoch_end(self) -> None:
            self.note()

    look = Look()
    fitted([EMA(0.9), look], 1)
    assert look.seen[0] == look.seen[1]


def test_what_was_evaluated_is_known_until_the_weights_change() -> None:
    class Count(Callback):
        passes = 0

        def on_evaluate_begin(self, dataset_info) -> None:
            self.passes += 1

        def on_epoch_end(self) -> None:
            self.train_loop_obj.evaluate_loss_on_validation_set()

    count = Count("count")
    fitted([EMA(0.9), count], 3)
    assert count.passes == 3


@pytest.mark.parametrize("make", [lambda: EMA(0.9), lambda: SWA(0), lambda: SWA(0, evaluate=False)])
@pytest.mark.parametrize("at_end", ["averaged", "trained"])
def test_after_a_fit_what_the_model_has_is_evaluated(make, at_end: str) -> None:
    averaging = make()
    averaging.at_end = at_end
    loop = fitted([averaging], 2)
    alone = copy.deepcopy(loop.model).eval()
    data = loop.validation_loader.dataset
    with torch.no_grad():
        expected = nn.functional.cross_entropy(alone(data.tensors[0]), data.tensors[1])
    assert loop.evaluate_loss_on_validation_set() == pytest.approx(float(expected), rel=1e-5)


def test_an_evaluation_inside_another_leaves_the_averages_in() -> None:
    class Nested(Callback):
        """Evaluates the test set whenever the validation set is evaluated."""

        losses: list = []  # noqa: RUF012  # one test only

        def __init__(self) -> None:
            super().__init__("nested", execution_order=99)

        def on_evaluate_begin(self, dataset_info) -> None:
            if dataset_info["type"] == "validation":
                loop = self.train_loop_obj
                self.losses.append(loop.evaluate_model_loss(loop.validation_loader, {"type": "x"}))

    plain, nested = fitted([EMA(0.9)], 2), fitted([EMA(0.9), Nested()], 2)
    assert nested.train_history["val_loss"] == plain.train_history["val_loss"] == Nested.losses
    assert same(bits(plain.model), bits(nested.model))


@pytest.mark.parametrize("make", [lambda: EMA(0.9), lambda: SWA(1)])
@pytest.mark.parametrize("at_end", ["averaged", "trained"])
def test_the_next_fit_goes_on_from_the_trained_weights(make, at_end: str) -> None:
    once, averaging = fitted([make()], 4), make()
    averaging.at_end = at_end
    twice = fitted([averaging], 2)
    averaging.at_end = "averaged"
    twice.fit(num_epochs=2)
    assert same(bits(once.model), bits(twice.model))
    assert once.train_history.state_dict() == twice.train_history.state_dict()


def test_weights_loaded_between_fits_are_trained_on_from() -> None:
    def weights(callbacks) -> dict:
        loop = fitted(callbacks, 1)
        loop.model.load_state_dict(bits(norm_loop().model))
        loop.fit(num_epochs=1)
        return loop.callbacks[0].averages.trained if callbacks else bits(loop.model)

    trained, plain = weights([EMA(0.9)]), weights([])
    assert same(trained, {name: plain[name] for name in trained})


@pytest.mark.parametrize("make", [lambda: EMA(0.9, update_every=3, warmup=True), lambda: SWA(1)])
@pytest.mark.parametrize("where", ["epoch", "batch", "evaluation"])
def test_a_resumed_run_ends_with_the_same_bits(make, where: str) -> None:
    saved = {}

    class Stop(Exception):  # noqa: N818  # it is no error
        pass

    class Save(Callback):
        def save(self) -> None:
            saved.update(copy.deepcopy(self.train_loop_obj.state_dict()))
            raise Stop

        def on_epoch_end(self) -> None:
            if where == "epoch" and self.train_loop_obj.epochs_done == 2:
                self.save()

        def on_batch_end(self) -> None:
            if where == "batch" and self.train_loop_obj.total_iteration_idx == 12:
                self.save()

        def on_evaluate_begin(self, dataset_info) -> None:
            if where == "evaluation" and self.train_loop_obj.epochs_done == 3:
                self.save()

    whole = fitted([make()], 4)
    with pytest.raises(Stop):
        fitted([make(), Save("save", execution_order=100)], 4)
    resumed = norm_loop()
    resumed.load_state_dict(saved)
    resumed.fit(num_epochs=4, callbacks=[make()])
    assert same(bits(whole.model), bits(resumed.model))
    assert same(whole.callbacks[0].averages.trained, resumed.callbacks[0].averages.trained)


def test_the_state_of_a_finished_fit_goes_on_from_the_trained_weights() -> None:
    once, first = fitted([EMA(0.9)], 4), fitted([EMA(0.9)], 2)
    state, second = copy.deepcopy(first.state_dict()), norm_loop()
    second.load_state_dict(state)
    second.fit(num_epochs=2, callbacks=[EMA(0.9)])
    assert same(bits(once.model), bits(second.model))


@pytest.mark.parametrize("hook", ["on_evaluate_begin", "on_evaluate_end", "on_epoch_end"])
@pytest.mark.parametrize("order", [0, 99])
def test_an_exception_leaves_the_trained_weights(hook: str, order: int) -> None:
    def fail(*_) -> None:
        raise KeyboardInterrupt

    plain, broken = fitted([], 1), norm_loop()
    failing = Callback("failing", execution_order=order)
    setattr(failing, hook, fail)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(num_epochs=3, callbacks=[EMA(0.9), failing])
    assert same(bits(plain.model), bits(broken.model))


def test_averages_of_half_precision_weights_may_be_kept_in_single(make_loop) -> None:
    class ByHand(Callback):
        average = None

        def on_after_optimizer_step(self) -> None:
            weights = nn.utils.parameters_to_vector(self.train_loop_obj.model.parameters()).float()
            old = weights if self.average is None else self.average
            self.average = (0.999 * old + 0.001 * weights).detach()

    by_hand, ema = ByHand("by hand"), EMA(0.999, dtype=torch.float32)
    loop = make_loop(validation=False)
    loop.model.bfloat16()
    loop.train_loader = [[x.bfloat16(), y] for x, y in loop.train_loader]
    loop.fit(num_epochs=3, callbacks=[ema, by_hand])
    kept = torch.cat([value.flatten() for value in ema.averages.values.values()])
    torch.testing.assert_close(kept, by_hand.average, rtol=1e-6, atol=1e-6)
    averaged = nn.utils.parameters_to_vector(loop.model.parameters())
    assert torch.equal(averaged, kept.bfloat16())
    loop.fit(num_epochs=1)  # also finds that the model has the rounded averages
    assert ema.averages.count == 20


def test_frozen_parameters_need_no_average_until_they_train(make_loop) -> None:
    class Unfreeze(Callback):
        def on_epoch_begin(self) -> None:
            self.train_loop_obj.model[0].requires_grad_(self.train_loop_obj.epoch > 0)

    ema = EMA(0.9)
    loop = make_loop(validation=False)
    loop.fit(num_epochs=1, callbacks=[Unfreeze("unfreeze"), ema])
    assert sorted(ema.averages.values) == ["3.bias", "3.weight"]
    loop.fit(num_epochs=1)
    assert sorted(ema.averages.values) == ["0.bias", "0.weight", "3.bias", "3.weight"]
    assert not torch.equal(ema.averages.values["0.weight"], ema.averages.trained["0.weight"])


def test_averages_of_another_model_are_refused(make_loop) -> None:
    ema = EMA()
    make_loop().fit(num_epochs=1, callbacks=[ema])
    other = make_loop()
    other.model[3] = nn.Linear(8, 3)
    with pytest.raises(LoopStateError, match=r"'3.weight' of shape \(2, 8\)"):
        other.fit(num_epochs=1, callbacks=[ema])


# SWA


@pytest.mark.parametrize("norm", [True, False])
def test_swa_is_torchs_bit_for_bit(make_loop, norm: bool) -> None:
    oracle = Torch({"multi_avg_fn": get_swa_multi_avg_fn()}, "epoch")
    loop = norm_loop(shuffle=False, validation=False) if norm else make_loop()
    loop.model[2 if norm else 1].p = 0.0  # update_bn draws other dropouts
    loop.fit(num_epochs=3, callbacks=[SWA(0), oracle])
    update_bn(loop.train_loader, oracle.model.module)
    assert same(bits(loop.model), bits(oracle.model.module))


def test_swa_averages_every_so_many_epochs_from_the_first_on() -> None:
    class Epochs(Callback):
        weights: list = []  # noqa: RUF012  # one test only

        def on_epoch_end(self) -> None:
            parameters = self.train_loop_obj.model.parameters()
            self.weights.append(nn.utils.parameters_to_vector(parameters).detach().clone())

    swa, epochs = SWA(2, every_epochs=3), Epochs("epochs")
    loop = norm_loop(validation=False)
    loop.fit(num_epochs=8, callbacks=[swa, epochs])
    assert swa.averages.count == 2
    averaged = nn.utils.parameters_to_vector(loop.model.parameters())
    torch.testing.assert_close(averaged, (epochs.weights[2] + epochs.weights[5]) / 2)


def test_swa_is_evaluated_with_its_newest_epoch_and_statistics_of_its_own() -> None:
    class Update(Torch):
        """Averages and recomputes statistics on a copy, as the documentation of torch says."""

        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            update_bn(self.train_loop_obj.train_loader, self.model.module)

    oracle = Update({"multi_avg_fn": get_swa_multi_avg_fn()}, "epoch")
    losses = Losses(oracle)
    loop = norm_loop(shuffle=False)
    loop.model[2].p = 0.0
    loop.fit(num_epochs=3, callbacks=[SWA(0), oracle, losses])
    assert loop.train_history["val_loss"] == pytest.approx(losses.losses, rel=1e-5)


def test_statistics_are_the_mean_over_all_processes() -> None:
    class Two:
        """Stands for two processes; in the other one each statistic is larger by 2."""

        rank, world_size = 0, 2

        def all_reduce(self, tensor, op="sum", /):
            return tensor + (tensor + 2)

    loop = norm_loop()
    own = copy.deepcopy(loop.model)
    shares = Batches(loop.train_loader, "training", rank=0, world_size=2, seed=loop.seed)
    update_bn(shares.epoch(0), own)
    loop.ready()[0].comm = Two()
    recompute_statistics(loop)
    torch.testing.assert_close(loop.model[1].running_mean, own[1].running_mean + 1)
    torch.testing.assert_close(loop.model[1].running_var, own[1].running_var + 1)


def test_statistics_of_layers_that_do_not_train_are_kept() -> None:
    class Frozen(nn.BatchNorm1d):
        def train(self, mode: bool = True):
            return super().train(False)

    loop = norm_loop()
    loop.model[1] = Frozen(8)
    loop.model[1].running_mean.fill_(0.5)
    loop.fit(num_epochs=2, callbacks=[SWA(0)])
    assert torch.equal(loop.model[1].running_mean, torch.full((8,), 0.5))


def test_swa_without_new_statistics_uses_the_newest() -> None:
    plain, swa = fitted([], 2), fitted([SWA(0, update_bn=False)], 2)
    assert torch.equal(plain.model[1].running_mean, swa.model[1].running_mean)
    assert not torch.equal(plain.model[0].weight, swa.model[0].weight)


def test_before_the_first_average_the_trained_weights_are_evaluated() -> None:
    plain, swa = fitted([], 2), fitted([SWA(5)], 2)
    assert plain.train_history.state_dict() == swa.train_history.state_dict()
    assert same(bits(plain.model), bits(swa.model))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EMA(1.0),
        lambda: EMA(-0.1),
        lambda: EMA(float("nan")),
        lambda: EMA(update_every=0),
        lambda: EMA(at_end="both"),
        lambda: SWA(-1),
        lambda: SWA(0, every_epochs=0),
    ],
)
def test_settings_that_cannot_work_are_refused(make) -> None:
    with pytest.raises(LoopValueError):
        make()
