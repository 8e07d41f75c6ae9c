"""Schedulers as callbacks: the rates of torch's schedulers driven by hand, also after a stop."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, lr_scheduler
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CyclicLR,
    ExponentialLR,
    LinearLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import (
    Callback,
    FullPrecision,
    LoopStateError,
    LoopTypeError,
    LoopValueError,
    SingleDevice,
    TrainLoop,
)
from tt_loop.schedulers.basic import (
    AbstractScheduler,
    GeneralLRScheduler,
    GeneralLRSchedulerCallback,
    LambdaLRScheduler,
    MultiStepLRScheduler,
    StepLRScheduler,
)
from tt_loop.training.multi_loss_optim import MultiOptimizer

EPOCHS, UPDATES = 4, 5


def halve(step: int) -> float:
    return 0.5**step


class Falling:
    """A callable object: torch saves what it holds."""

    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, step: int) -> float:
        return self.base**step


def sequence(optimizer):
    stages = [ConstantLR(optimizer, 0.1, 3), LinearLR(optimizer, 0.5, total_iters=4)]
    return SequentialLR(optimizer, [*stages, CyclicLR(optimizer, 0.01, 0.2, 2)], [3, 6])


def chain(optimizer):
    return ChainedScheduler([ConstantLR(optimizer, 0.1, 3), ExponentialLR(optimizer, 0.9)])


CASES = {
    "LambdaLR": {"lr_lambda": [halve, Falling(0.9)]},
    "MultiplicativeLR": {"lr_lambda": Falling(0.9)},
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [1, 3, 3]},
    "ConstantLR": {"total_iters": 2},
    "LinearLR": {"total_iters": 3},
    "ExponentialLR": {"gamma": 0.8},
    "SequentialLR": sequence,
    "CosineAnnealingLR": {"T_max": 3, "eta_min": 0.01},
    "ChainedScheduler": chain,
    "CyclicLR": {"base_lr": 0.01, "max_lr": [0.2, 0.3], "step_size_up": 2, "mode": "exp_range"},
    "CosineAnnealingWarmRestarts": {"T_0": 2, "T_mult": 2},
    "OneCycleLR": {"max_lr": [0.5, 0.7], "total_steps": 25},
    "PolynomialLR": {"total_iters": 3, "power": 2.0},
}
PUBLIC = sorted(set(lr_scheduler.__all__) - {"LRScheduler", "ReduceLROnPlateau"})


def maker(name: str):
    """A scheduler's class or factory, and its arguments."""
    case = CASES[name]
    return (getattr(lr_scheduler, name), case) if isinstance(case, dict) else (case, {})


def two_groups(model, kind=SGD):
    options = {"momentum": 0.9} if kind is SGD else {}
    first, second = model.children()
    groups = [{"params": first.parameters()}, {"params": second.parameters(), "lr": 0.02}]
    return kind(groups, lr=0.1, **options)


def job(make_optimizer=two_groups, **options) -> TrainLoop:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    data = TensorDataset(torch.randn(4 * UPDATES, 3), torch.randint(0, 2, (4 * UPDATES,)))
    return TrainLoop(
        model,
        DataLoader(data, batch_size=4),
        None,
        None,
        make_optimizer(model),
        nn.CrossEntropyLoss(),
        **{"progress": False, **options},
    )


def rates(optimizer) -> list[tuple]:
    """What schedulers set."""
    names = ("lr", "momentum", "betas")
    return [
        tuple(copy.deepcopy(group.get(name)) for name in names) for group in optimizer.param_groups
    ]


class Rates(Callback):
    """Notes the rates of every update."""

    def __init__(self) -> None:
        super().__init__("rates")
        self.seen: list = []

    def on_before_optimizer_step(self, optimizer_idx: int) -> None:
        optimizer = self.train_loop_obj.optimizers[optimizer_idx]
        self.seen.append((optimizer_idx, rates(optimizer)))

    @property
    def first(self) -> list:
        return [found for number, found in self.seen if number == 0]


def by_hand(make, arguments, step_on, kind=SGD) -> list:
    """The rates of a bare loop."""
    optimizer = two_groups(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), kind)
    scheduler = make(optimizer, **arguments)
    trace = []
    for _ in range(EPOCHS):
        for _ in range(UPDATES):
            trace.append(rates(optimizer))
            optimizer.step()
            if step_on == "update":
                scheduler.step()
        if step_on == "epoch":
            scheduler.step()
    return trace


@pytest.mark.parametrize("step_on", ["epoch", "update"])
@pytest.mark.parametrize("name", PUBLIC)
def test_every_scheduler_of_torch_gives_the_rates_of_a_bare_loop(name: str, step_on) -> None:
    make, arguments = maker(name)
    noted = Rates()
    scheduler = GeneralLRSchedulerCallback(make, step_on=step_on, **arguments)
    job().fit(num_epochs=EPOCHS, callbacks=[scheduler, noted])
    assert noted.first == by_hand(make, arguments, step_on)


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR"])
def test_the_first_beta_is_cycled_too(name: str) -> None:
    make, arguments = maker(name)
    noted = Rates()
    scheduler = GeneralLRSchedulerCallback(make, step_on="update", **arguments)
    job(lambda model: two_groups(model, Adam)).fit(num_epochs=EPOCHS, callbacks=[scheduler, noted])
    assert noted.first == by_hand(make, arguments, "update", Adam)
    assert len({betas for found in noted.first for _, _, betas in found}) > 2


def test_a_rate_that_is_a_tensor_stays_one() -> None:
    rate = torch.tensor(0.1)
    loop, noted = job(lambda model: Adam(model.parameters(), lr=rate)), Rates()
    scheduler = GeneralLRSchedulerCallback(ExponentialLR, gamma=0.5)
    loop.fit(num_epochs=3, callbacks=[scheduler, noted])
    expected = [0.1, 0.05, 0.025]
    assert [float(found[0][0]) for found in noted.first[::UPDATES]] == pytest.approx(expected)
    assert isinstance(loop.optimizer.param_groups[0]["lr"], torch.Tensor)


def test_loading_a_state_keeps_the_rates_tensor_and_the_states() -> None:
    loop = job(lambda model: Adam(model.parameters(), lr=torch.tensor(0.1)))
    scheduler = GeneralLRSchedulerCallback(ExponentialLR, gamma=0.5)
    loop.fit(num_epochs=2, callbacks=[scheduler])
    state = scheduler.state_dict()
    loop.fit(num_epochs=2)
    rate = loop.optimizer.param_groups[0]["lr"]
    scheduler.load_state_dict(state)
    assert loop.optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.025)
    loop.fit(num_epochs=1)
    assert float(state["schedules"][0]["groups"][0]["lr"]) == pytest.approx(0.025)


class Break(Exception):  # noqa: N818  # it is no error
    pass


class SaveAndBreak(Callback):
    """Keeps the loop's state after an epoch and ends training like a crash."""

    def __init__(self, epochs: int) -> None:
        super().__init__("save", execution_order=100)
        self.epochs = epochs
        self.saved: dict = {}

    def on_epoch_end(self) -> None:
        if self.train_loop_obj.epochs_done == self.epochs:
            self.saved = copy.deepcopy(self.train_loop_obj.state_dict())
            raise Break


def broken_after(epochs: int, scheduler, make_loop=job):
    """The rates until a crash, and the state saved before it."""
    noted, saver = Rates(), SaveAndBreak(epochs)
    with pytest.raises(Break):
        make_loop().fit(num_epochs=EPOCHS, callbacks=[scheduler, noted, saver])
    return noted.first, saver.saved


@pytest.mark.parametrize("step_on", ["epoch", "update"])
@pytest.mark.parametrize("name", PUBLIC)
def test_a_resumed_run_goes_on_with_the_same_rates(name: str, step_on) -> None:
    make, arguments = maker(name)
    whole = by_hand(make, arguments, step_on)
    before, saved = broken_after(
        2, GeneralLRSchedulerCallback(make, step_on=step_on, **copy.deepcopy(arguments))
    )
    untouched = copy.deepcopy(saved)

    for _ in range(2):  # a state is not used up by loading it
        loop, noted = job(), Rates()
        loop.load_state_dict(saved)
        scheduler = GeneralLRSchedulerCallback(make, step_on=step_on, **copy.deepcopy(arguments))
        loop.fit(num_epochs=EPOCHS, callbacks=[scheduler, noted])
        assert before + noted.first == whole
    assert saved["callbacks"] == untouched["callbacks"]


def leaves(tree):
    """The kinds of what a tree holds."""
    if type(tree) is dict:
        return {type(key) for key in tree} | {
            kind for item in tree.values() for kind in leaves(item)
        }
    if type(tree) is list:
        return {kind for item in tree for kind in leaves(item)}
    return {type(tree)}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_state_holds_plain_values_only(name: str) -> None:
    make, arguments = maker(name)
    scheduler = GeneralLRSchedulerCallback(make, **arguments)
    job(lambda model: two_groups(model, Adam)).fit(num_epochs=2, callbacks=[scheduler])
    kinds = leaves(scheduler.state_dict())
    assert kinds <= {str, int, float, bool, type(None), torch.Tensor}


def test_what_is_no_plain_value_stays_as_the_scheduler_was_made() -> None:
    class Own(StepLR):
        def __init__(self, optimizer) -> None:
            self.counts = Counter({3: 1})
            self.functions = [halve, print]
            self.pair = (1, 2.5)
            self.best = np.float64(0.0)
            self.nested = {"function": halve, "rate": torch.tensor(0.5)}
            super().__init__(optimizer, 2)

    first, second = GeneralLRSchedulerCallback(Own), GeneralLRSchedulerCallback(Own)
    for scheduler in (first, second):
        job().callbacks_handler.register_callbacks([scheduler])
    inner: Own = first.schedulers[0]
    inner.counts, inner.pair, inner.best = Counter({5: 2}), (3, 4.5), np.float64(1.5)
    inner.nested["rate"].fill_(0.25)
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    restored: Own = second.schedulers[0]
    assert restored.counts == Counter({5: 2})
    assert isinstance(restored.counts, Counter)
    assert restored.functions == [halve, print]
    assert (restored.pair, restored.best) == ((3, 4.5), 1.5)
    assert restored.nested == {"function": halve, "rate": torch.tensor(0.25)}


def test_another_schedulers_state_is_refused() -> None:
    _, saved = broken_after(1, StepLRScheduler(2))
    del saved["kinds"]  # as in the states of earlier versions
    loop = job()
    loop.load_state_dict(saved)
    saved["callbacks"]["GeneralLRSchedulerCallback.0"] = saved["callbacks"]["StepLRScheduler.0"]
    with pytest.raises(LoopStateError, match="StepLR of 2 parameter groups, this one a Exp"):
        loop.fit(num_epochs=2, callbacks=[GeneralLRSchedulerCallback(ExponentialLR, gamma=0.5)])


def test_the_state_of_another_number_of_optimizers_is_refused() -> None:
    scheduler = StepLRScheduler(2)
    job().callbacks_handler.register_callbacks([scheduler])
    state = scheduler.state_dict()
    with pytest.raises(LoopStateError, match="has 2, this one 1"):
        scheduler.load_state_dict({"schedules": state["schedules"] * 2})


def test_a_second_fit_goes_on_with_the_schedule() -> None:
    loop, noted = job(), Rates()
    scheduler = StepLRScheduler(2, gamma=0.5)
    loop.fit(num_epochs=1, callbacks=[scheduler, noted])
    loop.fit(num_epochs=2)
    loop.fit(num_epochs=1, callbacks=[scheduler])
    assert noted.first == by_hand(StepLR, {"step_size": 2, "gamma": 0.5}, "epoch")


def test_last_epoch_begins_inside_a_schedule() -> None:
    def begun(model):
        optimizer = two_groups(model)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    noted = Rates()
    job(begun).fit(num_epochs=2, callbacks=[LambdaLRScheduler(halve, last_epoch=1), noted])
    assert [found[0][0] for found in noted.first[::UPDATES]] == [0.025, 0.0125]


class Elsewhere:
    """Trains a copy, as a launcher of processes does."""

    in_process = False

    def run(self, fn):
        copied = pickle.loads(pickle.dumps(fn))
        return [pickle.loads(pickle.dumps(copied(SingleDevice("cpu"))))]


@pytest.mark.parametrize("name", PUBLIC)
def test_fits_in_other_processes_go_on_where_the_last_one_was(name: str) -> None:
    make, arguments = maker(name)
    here, there = (GeneralLRSchedulerCallback(make, **copy.deepcopy(arguments)) for _ in range(2))
    loop = job(gpu_mode=Elsewhere())
    for epochs in (1, 2, 1):
        loop.fit(num_epochs=epochs, callbacks=[there])
    job().fit(num_epochs=EPOCHS, callbacks=[here])
    assert there.last_lr == here.last_lr
    assert rates(loop.optimizer) == rates(here.schedulers[0].optimizer)


class Leaving(FullPrecision):
    """Leaves out some updates, as loss scaling does."""

    def __init__(self, out: set[int]) -> None:
        self.out = out
        self.count = -1

    def step(self, optimizer, /) -> bool:
        self.count += 1
        if self.count in self.out:
            return True
        optimizer.step()
        return False


def test_an_update_that_was_left_out_is_no_step() -> None:
    noted = Rates()
    scheduler = LambdaLRScheduler(halve, step_on="update")
    loop = job(gpu_mode=Here(SingleDevice("cpu", Leaving({0, 1, 3}))))
    loop.fit(num_epochs=1, callbacks=[scheduler, noted])
    expected = [0.1 * halve(step) for step in (0, 0, 0, 1, 1)]
    assert [found[0][0] for found in noted.first] == expected
    assert scheduler.last_lr == [[0.1 * halve(2), 0.02 * halve(2)]]


class Here:
    """Trains under a given strategy."""

    in_process = True

    def __init__(self, strategy) -> None:
        self.strategy = strategy

    def run(self, fn):
        return [fn(self.strategy)]


def test_accumulated_batches_are_one_update() -> None:
    noted = Rates()
    scheduler = LambdaLRScheduler(halve, execute_epoch_end=False, execute_batch_end=True)
    job().fit(num_epochs=2, callbacks=[scheduler, noted], grad_accumulation=2)
    expected = [0.1 * halve(step) for step in range(6)]  # 5 batches: windows of 2, 2 and 1
    assert [found[0][0] for found in noted.first] == expected


def test_a_lambda_may_step_after_updates_and_epochs() -> None:
    scheduler = LambdaLRScheduler(halve, execute_batch_end=True)
    job().fit(num_epochs=2, callbacks=[scheduler])
    assert scheduler.schedulers[0].last_epoch == 2 * UPDATES + 2


def two_optimizers(model, every=None) -> MultiOptimizer:
    first, second = model.children()
    return MultiOptimizer(
        [SGD(first.parameters(), lr=0.1), SGD(second.parameters(), lr=0.02)], every=every
    )


def test_each_of_several_optimizers_gets_a_scheduler() -> None:
    loop, scheduler = job(two_optimizers), StepLRScheduler(1, gamma=0.5)
    loop.fit(num_epochs=2, callbacks=[scheduler])
    assert scheduler.last_lr == [[0.025], [0.005]]
    assert loop.get_schedulers() == [scheduler]


@pytest.mark.parametrize("chosen", [1, "object"])
def test_one_of_several_optimizers_is_chosen(chosen) -> None:
    loop = job(two_optimizers)
    number = loop.optimizers[1] if chosen == "object" else chosen
    scheduler = StepLRScheduler(1, gamma=0.5, optimizer_idx=number)
    loop.fit(num_epochs=2, callbacks=[scheduler])
    assert scheduler.last_lr == [[0.005]]
    assert loop.optimizers[0].param_groups[0]["lr"] == 0.1


def test_the_chosen_optimizer_is_found_in_another_process() -> None:
    loop = job(two_optimizers, gpu_mode=Elsewhere())
    scheduler = StepLRScheduler(1, gamma=0.5, optimizer_idx=loop.optimizers[1])
    loop.fit(num_epochs=2, callbacks=[scheduler])
    assert scheduler.last_lr == [[0.005]]


def test_an_optimizer_that_steps_seldom_has_a_slow_schedule() -> None:
    loop = job(lambda model: two_optimizers(model, every=[1, 2]))
    scheduler = LambdaLRScheduler(halve, step_on="update")
    loop.fit(num_epochs=1, callbacks=[scheduler])
    assert [inner.last_epoch for inner in scheduler.schedulers] == [5, 2]


@pytest.mark.parametrize("unknown", [1, -1, SGD([nn.Parameter(torch.zeros(1))], lr=1.0)])
def test_an_unknown_optimizer_is_an_error(unknown) -> None:
    with pytest.raises(LoopValueError, match="a number below 1 or one of the loop's 1 optim"):
        job().fit(num_epochs=1, callbacks=[StepLRScheduler(1, optimizer_idx=unknown)])


def test_what_makes_no_scheduler_is_an_error() -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    made = StepLR(optimizer, 1)
    with pytest.raises(LoopTypeError, match=r"scheduler's class or a function .* got a StepLR"):
        GeneralLRSchedulerCallback(made)
    for wrong in (lambda optimizer: 3, lambda optimizer: made):
        with pytest.raises(LoopTypeError, match="of the optimizer it is given"):
            job().fit(num_epochs=1, callbacks=[GeneralLRSchedulerCallback(wrong)])


def test_a_plateau_needs_its_own_callback() -> None:
    with pytest.raises(LoopTypeError, match="use ReduceLROnPlateauScheduler"):
        job().fit(num_epochs=1, callbacks=[GeneralLRSchedulerCallback(ReduceLROnPlateau)])


def test_what_a_step_is_must_be_known() -> None:
    with pytest.raises(LoopValueError, match="'epoch' or 'update', got 'batch'"):
        StepLRScheduler(1, step_on="batch")
    with pytest.raises(LoopValueError, match="got neither"):
        LambdaLRScheduler(halve, execute_epoch_end=False)


@pytest.mark.parametrize(
    ("scheduler", "make", "arguments"),
    [
        (StepLRScheduler(2, gamma=0.3), StepLR, {"step_size": 2, "gamma": 0.3}),
        (MultiStepLRScheduler([1, 2]), lr_scheduler.MultiStepLR, {"milestones": [1, 2]}),
        (
            LambdaLRScheduler([halve, Falling(0.7)]),
            lr_scheduler.LambdaLR,
            {"lr_lambda": [halve, Falling(0.7)]},
        ),
    ],
)
def test_the_named_schedulers_are_torchs_own(scheduler, make, arguments) -> None:
    noted = Rates()
    job().fit(num_epochs=EPOCHS, callbacks=[scheduler, noted])
    assert noted.first == by_hand(make, arguments, "epoch")
    assert isinstance(scheduler, AbstractScheduler)


def test_the_earlier_name_is_the_same_class() -> None:
    assert GeneralLRScheduler is GeneralLRSchedulerCallback


def test_a_callback_that_joins_another_loop_begins_anew() -> None:
    scheduler = StepLRScheduler(1, gamma=0.5)
    job().fit(num_epochs=3, callbacks=[scheduler])
    job().fit(num_epochs=1, callbacks=[scheduler])
    assert scheduler.last_lr == [[0.05, 0.01]]


def test_two_schedulers_of_one_optimizer_resume_together() -> None:
    def both():
        return [
            StepLRScheduler(2, gamma=0.5),
            GeneralLRSchedulerCallback(ExponentialLR, gamma=0.9, step_on="update"),
        ]

    def run(loop, callbacks):
        noted = Rates()
        loop.fit(num_epochs=EPOCHS, callbacks=[*callbacks, noted])
        return noted.first

    whole = run(job(), both())
    saver = SaveAndBreak(3)
    with pytest.raises(Break):
        job().fit(num_epochs=EPOCHS, callbacks=[*both(), saver])
    resumed = job()
    resumed.load_state_dict(saver.saved)
    assert run(resumed, both()) == whole[3 * UPDATES :]
