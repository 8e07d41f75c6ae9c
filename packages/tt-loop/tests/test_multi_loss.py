"""Several losses and several optimizers against the loops that one writes by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import (
    Callback,
    GradNormClip,
    GradValueClip,
    LocalCollective,
    LoopTypeError,
    LoopValueError,
    SingleDevice,
    TrainLoop,
    TTModel,
)
from tt_loop.training.multi_loss_optim import MultiLoss, MultiOptimizer


class Gan(TTModel):
    """Both losses go through one pass of the discriminator over the generated samples.

    A batch is noise, real samples and, if only some losses are wanted, which.
    """

    def __init__(self, names=("generator", "discriminator")) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
        self.discriminator = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.names = names

    def losses(self, noise, real):
        """The generator's and the discriminator's loss, by the paper."""
        fooled, seen = self.discriminator(self.generator(noise)), self.discriminator(real)
        ones, zeros = torch.ones_like(fooled), torch.zeros_like(fooled)
        return bce(fooled, ones), bce(seen, ones) + bce(fooled, zeros)

    def get_loss(self, batch_data, criterion, device):
        noise, real, *wanted = batch_data
        found = dict(zip(("generator", "discriminator"), self.losses(noise, real), strict=True))
        names = wanted[0] if wanted else self.names
        losses = {name: found[name] for name in names}
        return MultiLoss(losses, {"generator": 0, "discriminator": 1})

    def get_predictions(self, batch_data, device):
        return self.discriminator(batch_data[1]), batch_data[1], {}


def gan(**options) -> Gan:
    torch.manual_seed(0)
    return Gan(**options)


def batches(sizes, dtype=torch.float32) -> list[list]:
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randn(size, width, generator=generator, dtype=dtype) for width in (2, 3)]
        for size in sizes
    ]


SIZES = (5, 3, 4, 2, 6)


def sgd_and_adam(model: Gan) -> list[torch.optim.Optimizer]:
    return [
        torch.optim.SGD(model.generator.parameters(), lr=0.2, momentum=0.9),
        torch.optim.Adam(model.discriminator.parameters(), lr=0.05),
    ]


def fitted(model, loader, make=sgd_and_adam, every=None, callbacks=(), **fit) -> TrainLoop:
    optimizer = MultiOptimizer(make(model), every=every)
    loop = TrainLoop(model, loader, None, None, optimizer, None, seed=0, progress=False)
    loop.fit(**{"num_epochs": 2, **fit}, callbacks=list(callbacks))
    return loop


def by_hand(model, loader, every=(1, 1), clip=None, epochs: int = 2) -> list:
    """Each loss is differentiated at the same weights for its own parameters; then both step."""
    optimizers, update = sgd_and_adam(model), 0
    parts = [[*model.generator.parameters()], [*model.discriminator.parameters()]]
    for _ in range(epochs):
        for noise, real in loader:
            update += 1
            due = [number for number in (0, 1) if update % every[number] == 0]
            losses = model.losses(noise, real)
            gradients = {
                n: torch.autograd.grad(losses[n], parts[n], retain_graph=True) for n in due
            }
            for number in due:
                for parameter, gradient in zip(parts[number], gradients[number], strict=True):
                    parameter.grad = gradient
                if clip is not None:
                    clip(parts[number])
                optimizers[number].step()
                optimizers[number].zero_grad()
    return optimizers


def assert_equal(some: nn.Module, other: nn.Module) -> None:
    for name, value in some.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("names", [("generator", "discriminator"), ("discriminator", "generator")])
@pytest.mark.parametrize("every", [(1, 1), (1, 5), (3, 1)])
def test_a_gan_equals_the_loop_by_hand_bit_for_bit(names, every) -> None:
    model, other = gan(names=names), gan()
    fitted(model, batches(SIZES), every=every)
    by_hand(other, batches(SIZES), every)
    assert_equal(other, model)


class Watch(Callback):
    """Writes down the hooks of a step, with the parameters that have gradients."""

    def __init__(self) -> None:
        super().__init__("watch")
        self.calls: list = []
        self.skipped: list = []

    def _parts(self) -> set[str]:
        named = self.train_loop_obj.model.named_parameters()
        return {name.partition(".")[0] for name, p in named if p.grad is not None}

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        self.calls.append(("gradients", optimizer_idx, self._parts()))

    def on_before_optimizer_step(self, optimizer_idx: int) -> None:
        self.calls.append(("before", optimizer_idx, self._parts()))

    def on_after_optimizer_step(self) -> None:
        self.calls.append(("after", self._parts()))
        loop = self.train_loop_obj
        self.skipped.append([loop.skipped(number) for number in range(loop.num_optimizers)])


def test_hooks_are_called_for_each_optimizer_with_its_own_gradients() -> None:
    watch = Watch()
    fitted(gan(), batches([4]), callbacks=[watch], num_epochs=1)
    both = {"generator", "discriminator"}
    assert watch.calls == [
        ("gradients", 0, both),
        ("before", 0, both),
        ("gradients", 1, {"discriminator"}),
        ("before", 1, {"discriminator"}),
        ("after", set()),
    ]
    assert watch.skipped == [[False, False]]


def test_the_generators_loss_leaves_no_gradients_in_the_discriminator() -> None:
    watch = Watch()
    loader = [[*batch, ("generator",)] for batch in batches([4])]
    fitted(gan(), loader, callbacks=[watch], num_epochs=1)
    only = {"generator"}
    assert watch.calls == [("gradients", 0, only), ("before", 0, only), ("after", set())]


def test_in_alternation_the_other_optimizer_does_not_step() -> None:
    turns = [("generator",), ("discriminator",), ("discriminator",)] * 3
    loader = [[*batch, turn] for batch, turn in zip(batches([4] * 9), turns, strict=True)]
    model, watch = gan(), Watch()
    adams = [torch.optim.Adam(part.parameters()) for part in (model.generator, model.discriminator)]
    fitted(model, loader, make=lambda _: adams, callbacks=[watch], num_epochs=1)
    steps = [int(adam.state[adam.param_groups[0]["params"][0]]["step"]) for adam in adams]
    assert steps == [3, 6]
    assert watch.skipped == [[False, True], [True, False], [True, False]] * 3


def test_in_alternation_the_weights_are_those_of_two_loops_in_turns() -> None:
    turns = ["generator", "discriminator"] * 3
    loader = [[*batch, (turn,)] for batch, turn in zip(batches([4] * 6), turns, strict=True)]
    model, other = gan(), gan()
    fitted(model, loader, num_epochs=1)
    optimizers = sgd_and_adam(other)
    for noise, real, (turn,) in loader:
        number = ("generator", "discriminator").index(turn)
        other.losses(noise, real)[number].backward()
        optimizers[number].step()
        other.zero_grad()
    assert_equal(other, model)


def test_nobody_steps_where_no_loss_is_due() -> None:
    model, before, watch = gan(), gan(), Watch()
    loader = [[*batch, ("generator",)] for batch in batches([4] * 3)]
    fitted(model, loader, every=[4, 1], callbacks=[watch], num_epochs=1)
    assert_equal(before, model)
    assert watch.skipped == [[True, True]] * 3


def test_losses_of_one_optimizer_follow_their_sum_bit_for_bit() -> None:
    class Sum(Gan):
        def get_loss(self, batch_data, criterion, device):
            first, second = self.losses(*batch_data)
            return (
                MultiLoss({"a": first, "b": second}, self.map) if self.several else first + second
            )

    def trained(several, optimizer_map, wrap):
        torch.manual_seed(0)
        model = Sum()
        model.several, model.map = several, optimizer_map
        optimizer = wrap(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        loop = TrainLoop(model, batches(SIZES), None, None, optimizer, None, progress=False)
        loop.fit(num_epochs=2)
        return model

    def alone(optimizer):
        return MultiOptimizer([optimizer])

    expected = trained(False, None, lambda optimizer: optimizer)
    assert_equal(expected, trained(True, None, lambda optimizer: optimizer))
    assert_equal(expected, trained(True, {"a": 0, "b": 0}, alone))
    assert_equal(expected, trained(True, None, alone))
    assert_equal(expected, trained(False, None, alone))


class Plain(Gan):
    """One loss for all parameters."""

    def get_loss(self, batch_data, criterion, device):
        return sum(self.losses(*batch_data))


@pytest.mark.parametrize("every", [(1, 1), (1, 3)])
def test_several_optimizers_follow_one_plain_loss(every) -> None:
    torch.manual_seed(0)
    model = Plain()
    other = gan()
    fitted(model, batches(SIZES), every=every)
    optimizers = sgd_and_adam(other)
    for update, batch in enumerate([*batches(SIZES), *batches(SIZES)], 1):
        sum(other.losses(*batch)).backward()
        for optimizer, frequency in zip(optimizers, every, strict=True):
            if update % frequency == 0:
                optimizer.step()
        other.zero_grad()
    assert_equal(other, model)


def test_losses_that_share_nothing_need_no_retained_graph() -> None:
    class Apart(Gan):
        def get_loss(self, batch_data, criterion, device):
            noise, real = batch_data
            losses = {"a": self.generator(noise).mean(), "b": self.discriminator(real).mean()}
            return MultiLoss(losses, retain_graph_until_last=self.retain)

    models = []
    for retain in (True, False):
        torch.manual_seed(0)
        model = Apart()
        model.retain = retain
        fitted(model, batches(SIZES))
        models.append(model)
    assert_equal(*models)


# Accumulation


def joined(loader, window: int) -> list[list[torch.Tensor]]:
    return [
        [torch.cat(parts) for parts in zip(*loader[start : start + window], strict=True)]
        for start in range(0, len(loader), window)
    ]


@pytest.mark.parametrize("window", [2, 3, 7])
@pytest.mark.parametrize("clip", [None, GradNormClip(0.05), GradValueClip(0.01)])
def test_a_window_of_uneven_batches_equals_the_one_big_batch(window: int, clip) -> None:
    loader = batches(SIZES, torch.float64)
    model, other = gan().double(), gan().double()
    clips = [] if clip is None else [copy.deepcopy(clip)]
    fitted(model, loader, callbacks=clips, grad_accumulation=window)
    fitted(other, joined(loader, window), callbacks=copy.deepcopy(clips))
    for some, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(some, expected, rtol=1e-11, atol=1e-13)


def test_a_loss_that_some_batches_of_a_window_lack_is_the_mean_over_those_that_have_it() -> None:
    parts = batches([5, 3, 4], torch.float64)
    turns = [("generator",), ("generator", "discriminator"), ("generator",)]
    loader = [[*batch, turn] for batch, turn in zip(parts, turns, strict=True)]
    model, other = gan().double(), gan().double()

    def plain(made):
        return [torch.optim.SGD(part.parameters(), lr=1.0) for part in made.children()]

    fitted(model, loader, make=plain, grad_accumulation=3, num_epochs=1)
    own = ([torch.cat(each) for each in zip(*parts, strict=True)], parts[1])
    losses = [other.losses(*own[number])[number] for number in (0, 1)]
    for optimizer, loss, part in zip(plain(other), losses, other.children(), strict=True):
        gradients = torch.autograd.grad(loss, [*part.parameters()])
        for parameter, gradient in zip(part.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    for some, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(some, expected, rtol=1e-11, atol=1e-13)


class Mixed(Gan):
    """The losses that a batch names, or their plain sum."""

    def get_loss(self, batch_data, criterion, device):
        return (
            super().get_loss(batch_data, criterion, device)
            if batch_data[2]
            else self.sum_of(batch_data)
        )

    def sum_of(self, batch):
        return sum(self.losses(*batch[:2]))


def test_a_plain_loss_in_a_window_with_several_counts_for_all_optimizers() -> None:
    torch.manual_seed(0)
    model = Mixed().double()
    other = copy.deepcopy(model)
    loader = [
        [*batch, names]
        for batch, names in zip(batches([4, 4], torch.float64), [("generator",), ()], strict=True)
    ]

    def plain(made):
        return [torch.optim.SGD(part.parameters(), lr=1.0) for part in made.children()]

    fitted(model, loader, make=plain, grad_accumulation=2, num_epochs=1)
    first, second = other.losses(*loader[0][:2])[0], other.sum_of(loader[1])
    losses = [(first + second) / 2, second]
    parts = [[*part.parameters()] for part in other.children()]
    gradients = [
        torch.autograd.grad(loss, part, retain_graph=True)
        for loss, part in zip(losses, parts, strict=True)
    ]
    with torch.no_grad():
        for part, found in zip(parts, gradients, strict=True):
            torch._foreach_sub_(part, found)
    for some, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(some, expected, rtol=1e-11, atol=1e-13)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_gradients_are_clipped_for_each_optimizer_alone(kind: str) -> None:
    clips = {
        "norm": (GradNormClip(0.05), lambda ps: nn.utils.clip_grad_norm_(ps, 0.05)),
        "value": (GradValueClip(0.01), lambda ps: nn.utils.clip_grad_value_(ps, 0.01)),
    }
    callback, clip = clips[kind]
    model, other = gan(), gan()
    fitted(model, batches(SIZES), callbacks=[callback])
    by_hand(other, batches(SIZES), clip=clip)
    assert_equal(other, model)


# Losses by name


class Known(TTModel):
    """Losses of known values: the means of the batch times 100 and times 1."""

    def __init__(self, plain: bool = False) -> None:
        super().__init__()
        self.a, self.z = (nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2))
        self.calls = 0

    def get_loss(self, batch_data, criterion, device):
        (values,) = batch_data
        losses = {"z": 100 * values.mean() + 0 * self.z, "a": values.mean() + 0 * self.a}
        self.calls += 1
        if self.calls % 2:
            losses = dict(reversed(losses.items()))
        return MultiLoss(losses, {"a": 0, "z": 1})

    def get_predictions(self, batch_data, device):
        return batch_data[0], batch_data[0], {}


def test_the_history_has_each_loss_under_its_name() -> None:
    sets = [
        [[torch.tensor(values, dtype=torch.float64)] for values in batches]
        for batches in ([[1.0, 2.0, 3.0], [6.0]], [[10.0, 20.0], [60.0]], [[5.0]])
    ]
    model = Known()
    optimizer = MultiOptimizer([torch.optim.SGD([p], lr=0.1) for p in (model.a, model.z)])
    loop = TrainLoop(model, *sets, optimizer, None, progress=False)
    loop.fit(num_epochs=2)
    assert loop.train_history.get_train_history() == {
        "accumulated_loss_a": [3.0, 3.0],
        "accumulated_loss_z": [300.0, 300.0],
        "loss_a": [3.0, 3.0],
        "loss_z": [300.0, 300.0],
        "val_loss_a": [30.0, 30.0],
        "val_loss_z": [3000.0, 3000.0],
        "train_end_test_loss_a": [5.0],
        "train_end_test_loss_z": [500.0],
    }
    assert loop.evaluate_loss_on_validation_set() == {"a": 30.0, "z": 3000.0}
    assert {name: float(loss) for name, loss in loop.last_loss.items()} == {"a": 6.0, "z": 600.0}


def test_a_loss_that_some_batches_lack_is_the_mean_over_those_that_have_it() -> None:
    turns = [("generator",), ("generator", "discriminator"), ("discriminator",)]
    loader = [[*batch, turn] for batch, turn in zip(batches(SIZES[:3]), turns, strict=True)]
    model = gan()
    loop = fitted(
        model,
        loader,
        make=lambda made: [torch.optim.SGD(part.parameters(), lr=0.0) for part in made.children()],
        num_epochs=1,
    )
    with torch.no_grad():
        found = [[float(loss) for loss in model.losses(*batch[:2])] for batch in loader]
    expected = (5 * found[0][0] + 3 * found[1][0]) / 8, (3 * found[1][1] + 4 * found[2][1]) / 7
    history = loop.train_history
    assert (history["loss_generator"][0], history["loss_discriminator"][0]) == pytest.approx(
        expected
    )


# Resume


class Cut(Exception):  # noqa: N818  # it is no error
    pass


class CutAfter(Callback):
    """Copies the state after so many batches and ends the run."""

    def __init__(self, batches: int) -> None:
        super().__init__("cut", execution_order=100)
        self.batches = batches
        self.state: dict = {}

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx + 1 == self.batches:
            self.state = copy.deepcopy(self.train_loop_obj.state_dict())
            raise Cut


TURNS = [("generator",), ("discriminator",), ("generator", "discriminator"), (), ("generator",)]


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("after", [1, 2, 4, 5, 7, 8])
def test_a_run_cut_after_any_batch_goes_on_to_the_same_bits(window: int, after: int) -> None:
    loader = [[*batch, turn] for batch, turn in zip(batches(SIZES), TURNS, strict=True)]
    options = {"every": [1, 2], "grad_accumulation": window}

    def mixed() -> Mixed:
        torch.manual_seed(0)
        return Mixed()

    whole = fitted(mixed(), loader, **options)
    cut, broken = CutAfter(after), mixed()
    with pytest.raises(Cut):
        fitted(broken, loader, callbacks=[cut], **options)
    torch.manual_seed(99)
    model = Mixed()
    optimizer = MultiOptimizer(sgd_and_adam(model), every=[1, 2])
    resumed = TrainLoop(model, loader, None, None, optimizer, None, seed=0, progress=False)
    resumed.load_state_dict(cut.state)
    resumed.fit(num_epochs=2, grad_accumulation=window)
    assert_equal(whole.model, model)
    for some, other in zip(whole.optimizers, resumed.optimizers, strict=True):
        states = some.state_dict()["state"], other.state_dict()["state"]
        torch.testing.assert_close(*states, rtol=0, atol=0)
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()
    assert whole.updates_done == resumed.updates_done


# What cannot work


def refused(get_loss, optimizers: int = 2, model=None) -> TrainLoop:
    model = gan() if model is None else model
    model.get_loss = get_loss
    parts = [torch.optim.SGD(part.parameters(), lr=0.1) for part in model.children()]
    optimizer = MultiOptimizer(parts[:optimizers])
    return TrainLoop(model, batches([3]), None, None, optimizer, None, progress=False)


def named(*names, optimizer_map=None, change=lambda loss: loss):
    model = gan()

    def get_loss(batch_data, criterion, device):
        losses = [*model.losses(*batch_data), *model.losses(*batch_data)]
        pairs = zip(names, losses, strict=False)
        return MultiLoss({name: change(loss) for name, loss in pairs}, optimizer_map)

    return refused(get_loss, model=model)


@pytest.mark.parametrize(
    ("loop", "error", "rule"),
    [
        (
            named("a", "b", optimizer_map={"a": 0, "b": 2}),
            LoopValueError,
            "'b' is of optimizer 2, but there are 2",
        ),
        (
            named("a", "b", optimizer_map={"a": 0, "b": -1}),
            LoopValueError,
            "'b' is of optimizer -1",
        ),
        (
            named("a", "b", "c"),
            LoopValueError,
            "3 losses and 2 optimizers need a loss_optimizer_map",
        ),
        (named("a"), LoopValueError, "1 losses and 2 optimizers need a loss_optimizer_map"),
        (named("a", "b", optimizer_map={"a": 0}), LoopValueError, r"lacks \['b'\]"),
        (
            named("a", "b", change=torch.Tensor.detach),
            LoopTypeError,
            "The loss of optimizer 0 must depend",
        ),
        (named("a", "b", change=lambda loss: loss.expand(2)), LoopTypeError, r"'a' is \(2,\)"),
        (named("a", "b", change=torch.Tensor.tolist), LoopTypeError, "'a' is float"),
        (named(), LoopValueError, "at least one loss"),
    ],
)
def test_losses_that_fit_no_optimizers_are_refused(loop, error, rule: str) -> None:
    with pytest.raises(error, match=rule):
        loop.fit(num_epochs=1)


def test_the_loss_of_frozen_parameters_is_refused_by_the_optimizers_number() -> None:
    model = gan()
    model.discriminator.requires_grad_(False)
    with pytest.raises(LoopTypeError, match="The loss of optimizer 1 must depend"):
        fitted(model, batches([3]))


class Two(LocalCollective):
    """One of two processes that are alike."""

    world_size = 2

    def all_reduce(self, tensor, op="sum", /):
        return tensor * 2 if op == "sum" else tensor


class OnTwo(SingleDevice):
    def __init__(self) -> None:
        super().__init__("cpu")
        self.comm = Two()


def on_two(model) -> TrainLoop:
    loader = DataLoader(TensorDataset(torch.randn(8, 2), torch.randn(8, 3)), batch_size=2)
    optimizer = MultiOptimizer(sgd_and_adam(model))
    return TrainLoop(model, loader, None, None, optimizer, None, gpu_mode=OnTwo(), progress=False)


def test_one_plain_loss_for_several_optimizers_trains_on_many_processes() -> None:
    model = Plain()
    before = copy.deepcopy(model)
    loop = on_two(model)
    loop.fit(num_epochs=1)
    assert loop.updates_done == 2
    for some, other in zip(model.parameters(), before.parameters(), strict=True):
        assert not torch.equal(some, other)


@pytest.mark.parametrize(
    ("make", "error", "rule"),
    [
        (lambda a, b: MultiOptimizer([]), LoopValueError, "at least one optimizer"),
        (lambda a, b: MultiOptimizer([a, "b"]), LoopTypeError, "got str"),
        (lambda a, b: MultiOptimizer([a, a]), LoopValueError, "is in optimizers 0 and 1"),
        (
            lambda a, b: MultiOptimizer([a, b], every=[1]),
            LoopValueError,
            "each of the 2 optimizers",
        ),
        (lambda a, b: MultiOptimizer([a, b], every=[1, 0]), LoopValueError, r"got \[1, 0\]"),
    ],
)
def test_optimizers_that_cannot_work_together_are_refused(make, error, rule: str) -> None:
    optimizers = [torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1) for _ in range(2)]
    with pytest.raises(error, match=rule):
        make(*optimizers)


def test_a_parameter_in_two_optimizers_is_refused_with_its_shape() -> None:
    shared = nn.Parameter(torch.zeros(2, 5))
    first = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    second, third = (torch.optim.SGD([shared], lr=0.1) for _ in range(2))
    with pytest.raises(LoopValueError, match=r"shape \(2, 5\) is in optimizers 1 and 2"):
        MultiOptimizer([first, second, third])


# MultiLoss and MultiOptimizer by themselves


def test_arithmetic_changes_each_loss_and_keeps_the_rest() -> None:
    losses = MultiLoss({"a": torch.tensor(6.0), "b": torch.tensor([3.0])}, {"a": 1, "b": 0}, False)
    for changed, expected in [
        (losses / 3, {"a": 2.0, "b": 1.0}),
        (losses * torch.tensor(2), {"a": 12.0, "b": 6.0}),
        (2 * losses, {"a": 12.0, "b": 6.0}),
    ]:
        assert changed.item() == expected
        assert changed.loss_optimizer_map == {"a": 1, "b": 0}
        assert changed.retain_graph_until_last is False
    assert losses.item() == {"a": 6.0, "b": 3.0}


def test_losses_are_a_mapping_by_name() -> None:
    losses = MultiLoss({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
    assert [*losses] == [*losses.keys()] == ["a", "b"]
    assert len(losses) == 2
    losses["c"] = losses["a"] + losses["b"]
    del losses["a"]
    assert losses.item() == {"b": 2.0, "c": 3.0}
    assert losses.get_loss_dict() == dict(losses.items())


def test_a_loss_put_in_without_an_optimizer_is_refused() -> None:
    losses = MultiLoss({"a": torch.tensor(1.0)}, {"a": 0})
    losses["b"] = torch.tensor(2.0)
    with pytest.raises(LoopValueError, match=r"lacks \['b'\]"):
        losses.by_optimizer(1)


def test_losses_are_detached_moved_and_turned_into_numbers() -> None:
    one = torch.ones((), requires_grad=True)
    losses = MultiLoss({"a": one * 2, "b": one * 3})
    detached = losses.detach()
    assert not any(loss.requires_grad for loss in detached.values())
    assert all(loss.requires_grad for loss in losses.values())
    assert losses.to(torch.float64)["a"].dtype is torch.float64
    assert losses.to("meta").device == torch.device("meta")
    assert losses.cpu().device == losses.device == torch.device("cpu")
    assert {name: (value.shape, float(value)) for name, value in losses.numpy().items()} == {
        "a": ((), 2.0),
        "b": ((), 3.0),
    }


def test_optimizers_are_a_sequence_in_the_given_order() -> None:
    optimizers = sgd_and_adam(gan())
    several = MultiOptimizer(iter(optimizers))
    assert [*several] == optimizers
    assert len(several) == 2
    assert several[1] is optimizers[1]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("optimizer_map", [None, {"b": 1, "a": 0}])
def test_a_loop_by_hand_equals_two_loops_for_the_parts(scaled: bool, optimizer_map) -> None:
    model, other = gan(), gan()
    several, separate = MultiOptimizer(sgd_and_adam(model)), sgd_and_adam(other)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None
    for iteration, (noise, real) in enumerate(batches(SIZES)):
        losses = MultiLoss(
            {"a": model.generator(noise).square().mean(), "b": model.discriminator(real).mean()},
            optimizer_map,
        )
        for number in range(len(several)):
            losses.backward(number, iteration, scaler)
        for number in range(len(several)):
            several.step(number, iteration, scaler)
            several.zero_grad(number, iteration)
        if scaler is not None:
            scaler.update()
        other.generator(noise).square().mean().backward()
        other.discriminator(real).mean().backward()
        for optimizer in separate:
            optimizer.step()
        other.zero_grad()
    assert_equal(other, model)


def test_a_loop_by_hand_may_differentiate_only_some_losses() -> None:
    model = gan()
    several = MultiOptimizer(sgd_and_adam(model))
    fooled, real = model.losses(*batches([4])[0])
    MultiLoss({"d": real}, {"g": 0, "d": 1}).backward(0)
    assert all(parameter.grad is None for parameter in model.parameters())
    losses = MultiLoss({"g": fooled, "d": real})
    losses.backward(0)
    losses.backward(1)
    assert all(parameter.grad is not None for parameter in model.parameters())
    several.zero_grad(0)
    assert all(parameter.grad is None for parameter in model.generator.parameters())
    assert all(parameter.grad is not None for parameter in model.discriminator.parameters())
    several.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_states_of_several_optimizers_are_a_list_in_their_order() -> None:
    model, other = gan(), gan()
    trained = fitted(model, batches(SIZES)).optimizer
    fresh = MultiOptimizer(sgd_and_adam(other))
    states = trained.state_dict()
    assert states == [optimizer.state_dict() for optimizer in trained]
    fresh.load_state_dict(copy.deepcopy(states))
    other.load_state_dict(model.state_dict())
    for step_model, optimizers in ((model, trained), (other, fresh)):
        sum(step_model.losses(*batches([4])[0])).backward()
        for number in range(2):
            optimizers.step(number)
    assert_equal(model, other)
    with pytest.raises(LoopValueError, match="There are 2 optimizers, but 1 states"):
        fresh.load_state_dict(states[:1])
