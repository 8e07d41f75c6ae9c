"""A step that logs nothing waits for no accelerator, and computes what the bare loop computes.

On a CPU nothing waits; what would is an operation that brings a value or a shape to Python.
"""

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tt_loop.api import (
    Callback,
    EarlyStopping,
    GradNormClip,
    GradValueClip,
    ModelPerformancePrintReport,
    TrainLoop,
    TTModel,
)
from tt_loop.callbacks.anomaly import GradientAnomalyReport
from tt_loop.callbacks.averaging import EMA
from tt_loop.callbacks.memory import MemoryMonitor
from tt_loop.callbacks.throughput import ThroughputMonitor
from tt_loop.data.tensor_loader import TensorLoader
from tt_loop.schedulers.basic import GeneralLRSchedulerCallback
from tt_loop.schedulers.warmup import CosineWithWarmupScheduler
from tt_loop.training.multi_loss_optim import MultiLoss, MultiOptimizer

STEPS = 6
WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "to the host",
}
_TO_THE_HOST = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist}


class Operations(TorchDispatchMode):
    """Counts what torch computes, by name."""

    def __init__(self, counts: Counter) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "aten":
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class Copies(TorchFunctionMode):
    """Counts calls that bring a tensor to the host; for one that is there torch does nothing.

    A copy to the device of another tensor is none: that is where training is.
    """

    def __init__(self, counts: Counter) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        where = [*args[1:], *(kwargs or {}).values()]
        moves = func is torch.Tensor.to and any(type(to) is str and to == "cpu" for to in where)
        if func in _TO_THE_HOST or moves:
            self.counts["to the host"] += 1
        return func(*args, **(kwargs or {}))


def per_step(run) -> Counter:
    """Operations of ``STEPS`` steps: what twice as many take more. Epochs' ends cancel out."""
    longer, shorter = Counter(), Counter()
    for steps, counts in ((2 * STEPS, longer), (STEPS, shorter)):
        job = run(steps)
        with Copies(counts), Operations(counts):
            job()
    longer.subtract(shorter)
    return +longer


def waits(run) -> set[str]:
    return WAITING & set(per_step(run))


def batches(steps: int) -> list[list[torch.Tensor]]:
    torch.manual_seed(0)
    return [[torch.randn(4, 3), torch.tensor([0, 1, 0, 1])] for _ in range(steps)]


def tensors(steps: int, **options) -> TensorLoader:
    x, y = (torch.cat(parts) for parts in zip(*batches(steps), strict=True))
    return TensorLoader(x, y, batch_size=4, **options)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.1), nn.Linear(4, 2))


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def fit(callbacks=(), model=network, optimizer=sgd, loader=batches, window=1, **options):
    """Makes the fit of a number of steps, to be called."""

    def run(steps: int):
        made = model()
        loop = TrainLoop(
            made,
            loader(steps),
            batches(2) if options.get("validation") else None,
            None,
            optimizer(made.parameters() if isinstance(made, nn.Sequential) else made),
            nn.CrossEntropyLoss(),
            progress=False,
            nan_policy=options.get("nan_policy"),
        )
        known = copy.deepcopy(callbacks)
        return lambda: loop.fit(1, callbacks=known, grad_accumulation=window)

    return run


def by_hand(optimizer=sgd, max_norm: float = 0.0, window: int = 1):
    def run(steps: int):
        model, criterion, data = network(), nn.CrossEntropyLoss(), batches(steps)
        stepping = optimizer(model.parameters())

        def train() -> None:
            for number, (inputs, target) in enumerate(data):
                loss = criterion(model(inputs), target)
                (loss if window == 1 else loss * 0.25).backward()
                if (number + 1) % window == 0:
                    if max_norm:
                        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
                    stepping.step()
                    stepping.zero_grad()

        return train

    return run


OPTIMIZERS = {
    "sgd": sgd,
    "adamw": torch.optim.AdamW,
    "fused": lambda parameters: torch.optim.Adam(parameters, fused=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("max_norm", [0.0, 0.1])
def test_a_step_computes_what_the_bare_loop_computes_and_detaches_the_loss(
    optimizer: str, max_norm: float
) -> None:
    make = OPTIMIZERS[optimizer]
    expected = per_step(by_hand(make, max_norm))
    expected["detach"] += STEPS
    callbacks = [GradNormClip(max_norm)] if max_norm else []
    assert per_step(fit(callbacks, optimizer=make)) == expected


def test_accumulation_adds_one_multiplication_of_the_gradients_a_window() -> None:
    expected = per_step(by_hand(window=2))
    expected["detach"] += STEPS
    expected["_foreach_mul_"] += STEPS // 2
    assert per_step(fit(window=2)) == expected


class Several(TTModel):
    """Two parts, each with a loss and an optimizer; the weights of losses are tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(2, 2)

    def get_loss(self, batch_data, criterion, device):
        x, y = batch_data
        middle = self.first(x)
        losses = {"a": criterion(middle, y), "b": criterion(self.second(middle), y)}
        return MultiLoss(losses), (y >= 0).sum()

    def get_predictions(self, batch_data, device):
        return self.first(batch_data[0]), batch_data[1], {}


class Weighted(Several):
    """One loss, whose weight is a tensor."""

    def get_loss(self, batch_data, criterion, device):
        losses, weight = super().get_loss(batch_data, criterion, device)
        return losses["a"] + losses["b"], weight


def both(model) -> MultiOptimizer:
    return MultiOptimizer([sgd(model.first.parameters()), sgd(model.second.parameters())])


def every_kind() -> list[Callback]:
    return [
        EarlyStopping("loss", patience=3),
        EMA(),
        ThroughputMonitor(every=0),
        MemoryMonitor(),
        ModelPerformancePrintReport(["loss"]),
        GradValueClip(0.5),
        GradientAnomalyReport(1000),
        GeneralLRSchedulerCallback(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9),
        CosineWithWarmupScheduler(2),
    ]


JOBS = {
    "lean": fit(),
    "norm clipping": fit([GradNormClip(0.1)]),
    "value clipping": fit([GradValueClip(0.1)]),
    "accumulation": fit([GradNormClip(0.1)], window=3),
    "several losses": fit(model=Several, optimizer=both),
    "several losses, accumulated": fit(model=Several, optimizer=both, window=2),
    "weights that are tensors": fit(
        model=Weighted, optimizer=lambda model: sgd(model.parameters()), window=3
    ),
    "tensors in order": fit(loader=tensors),
    "tensors, shuffled": fit(loader=lambda steps: tensors(steps, shuffle=True)),
    "callbacks": fit(every_kind()),
    "callbacks, accumulated, validated": fit(every_kind(), window=2, validation=True),
}


@pytest.mark.parametrize("job", JOBS)
def test_a_step_waits_for_nothing(job: str) -> None:
    assert waits(JOBS[job]) == set()


class Look(Callback):
    """Reads the loss in every step."""

    def __init__(self, read) -> None:
        super().__init__("look")
        self.read = read

    def on_batch_end(self) -> None:
        self.read(self.train_loop_obj.last_loss)


@pytest.mark.parametrize(
    "read",
    [
        torch.Tensor.item,
        float,
        bool,
        torch.Tensor.tolist,
        torch.Tensor.cpu,
        torch.nonzero,
        lambda loss: loss.to("cpu"),
        lambda loss: loss.to(device="cpu"),
        lambda loss: loss.numpy(),
    ],
)
def test_a_callback_that_waits_is_found(read) -> None:
    assert waits(fit([Look(read)]))


def test_a_nan_policy_reads_one_flag_a_step() -> None:
    for optimizer in (sgd, OPTIMIZERS["fused"]):
        counts = per_step(fit(optimizer=optimizer, nan_policy="skip"))
        assert sum(counts[name] for name in WAITING) == STEPS


class Strict(Callback):
    """Has CUDA raise where the program would wait for it, from the second update to the last."""

    def on_batch_begin(self) -> None:
        if self.train_loop_obj.updates_done == 1:
            torch.cuda.set_sync_debug_mode("error")

    def on_batch_end(self) -> None:
        if self.train_loop_obj.iteration + 1 == STEPS:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("window", [1, 2])
def test_cuda_is_not_waited_for(window: int) -> None:
    try:
        fit([*every_kind(), Strict("strict", execution_order=100)], window=window)(STEPS)()
    finally:
        torch.cuda.set_sync_debug_mode("default")
