"""Whatever watches training changes no bit of what is trained."""

import hashlib
import importlib
import io
import random
from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from tt_loop.api import (
    Callback,
    EarlyStopping,
    LoopValueError,
    ModelPerformancePrintReport,
    TrainLoop,
)
from tt_loop.callbacks.anomaly import GradientAnomalyReport
from tt_loop.callbacks.averaging import EMA, SWA
from tt_loop.callbacks.grad_stats import GradientStatsPrint
from tt_loop.callbacks.listing import ListRegisteredCallbacks
from tt_loop.callbacks.memory import MemoryMonitor
from tt_loop.callbacks.predictions_same import AllPredictionsSame
from tt_loop.callbacks.throughput import ThroughputMonitor
from tt_loop.seeds import seed_everything

SAMPLES, SIZE = 26, 4


class Augmented(Dataset):
    """Every sample draws from the global generators."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int):
        noise = random.random() + float(np.random.rand()) + torch.rand(6)
        return torch.arange(6.0) * (index % 5) / 9 + noise, index % 2


def randomly_sampled(**options) -> DataLoader:
    """Nothing that the loop can drive: making its iterator draws, and so does its order."""
    sampler = WeightedRandomSampler([1.0] * SAMPLES, SAMPLES)
    return DataLoader(Augmented(), SIZE, sampler=sampler, **options)


LOADERS = {
    "driven": lambda: DataLoader(Augmented(), SIZE, shuffle=True),
    "not driven": randomly_sampled,
}


class Count:
    """A metric that draws."""

    state = MappingProxyType({"n": 0})

    def reset(self) -> None: ...

    def update(self, y_true, y_predicted, /) -> None:
        torch.rand(1), random.random(), np.random.rand()

    def merge(self, state, /) -> None: ...

    def compute(self):
        return {"n": 1}


class Sink:
    def write(self, ids, outputs, /) -> None: ...
    def close(self) -> None: ...


class Meddle(Callback):
    """Does something after every other batch."""

    def __init__(self, action) -> None:
        super().__init__("meddle")
        self.action = action

    def on_batch_end(self) -> None:
        if self.train_loop_obj.iteration % 2:
            self.action(self.train_loop_obj)


def begin_a_stream(loop: TrainLoop) -> None:
    stream = loop.predict_batches(loop.validation_loader)
    next(stream)
    stream.close()


MEDDLING = {
    "state": lambda loop: loop.state_dict(),
    "validation loss": lambda loop: loop.evaluate_loss_on_validation_set(force_prediction=True),
    "training loss": lambda loop: loop.evaluate_loss_on_train_set(),
    "predictions": lambda loop: loop.predict_on_train_set(),
    "predictions of callbacks": lambda loop: loop.predict_on_test_set(execute_callbacks=True),
    "metric": lambda loop: loop.evaluate_metric(loop.validation_loader, Count()),
    "another loader": lambda loop: loop.evaluate_model_loss(randomly_sampled()),
    "sink": lambda loop: loop.predict_to(Sink(), loop.test_loader),
    "sink of another loader": lambda loop: loop.predict_to(Sink(), randomly_sampled()),
    "broken stream": begin_a_stream,
    "summary": lambda loop: loop.summary(),
}
AVERAGES = {  # of which a loop has one
    "EMA": lambda: EMA(0.9, at_end="trained"),
    "EMA with buffers": lambda: EMA(0.9, use_buffers=True, at_end="trained"),
    "SWA": lambda: SWA(0, at_end="trained"),
}
CALLBACKS = {
    "early stopping": lambda: EarlyStopping("loss", patience=9),
    "throughput": lambda: ThroughputMonitor(every=1),
    "memory": MemoryMonitor,
    "anomalies": lambda: GradientAnomalyReport(1),
    "gradients": lambda: GradientStatsPrint(lambda model: [model[0]], 1),
    "same predictions": AllPredictionsSame,
    "list": ListRegisteredCallbacks,
    "report": lambda: ModelPerformancePrintReport(["loss"]),
    **{name: lambda action=action: Meddle(action) for name, action in MEDDLING.items()},
}


class Silent:
    def open(self, run, /) -> None: ...
    def scalars(self, step, values, /, *, epoch) -> None: ...
    def event(self, kind, data, /) -> None: ...
    def close(self, status, /) -> None: ...


def trained(train_loader, callbacks=(), window: int = 1, fit=None, **options) -> str:
    """Digest of what training gave: weights, optimizer, losses, and the global generators."""
    seed_everything(1)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )
    loop = TrainLoop(
        model,
        train_loader,
        options.pop("validation", None),
        options.pop("test", None),
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        nn.CrossEntropyLoss(),
        seed=5,
        **{"progress": False, **options},
    )
    if not loop.validation_loader:
        loop.end_auto_eval = False
    loop.fit(2, callbacks=callbacks, grad_accumulation=window, **(fit or {}))
    for loader in (train_loader, loop.validation_loader):
        iterator = getattr(loader, "_iterator", None)
        if iterator is not None:
            iterator._shutdown_workers()  # the garbage collector would take five seconds for it
    state = [*model.state_dict().values(), *loop.optimizer.state_dict()["state"].values()]
    generators = [random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()]
    kept = io.BytesIO()
    torch.save([state, loop.train_history["loss"], generators, model.training], kept)
    return hashlib.sha256(kept.getvalue()).hexdigest()


def evaluation(draw) -> DataLoader | list:
    kind = draw(st.sampled_from(["driven", "not driven", "list"]))
    return [[torch.ones(3, 6), torch.zeros(3).long()]] if kind == "list" else LOADERS[kind]()


@settings(max_examples=20, deadline=None)
@given(draw=st.data())
@pytest.mark.filterwarnings("ignore:the training loader")
def test_observers_change_nothing(draw) -> None:
    kind = draw.draw(st.sampled_from([*LOADERS]), "training loader")
    window = draw.draw(st.sampled_from([1, 3]), "window")
    names = draw.draw(st.sets(st.sampled_from([*CALLBACKS]), max_size=5), "callbacks")
    every = draw.draw(st.sampled_from([0, 1, 3]), "eval_every")
    options = {
        "validation": evaluation(draw.draw),
        "test": evaluation(draw.draw),
        "recorder": draw.draw(st.sampled_from([None, Silent()])),
        "end_auto_eval": draw.draw(st.sampled_from([True, 2, False])),
        "print_callbacks": draw.draw(st.booleans()),
        "progress": draw.draw(st.sampled_from([False, True, "rich"])),
    }
    callbacks = [CALLBACKS[name]() for name in sorted(names)]
    averages = draw.draw(st.sampled_from([None, *AVERAGES]), "averages")
    callbacks += [AVERAGES[averages]()] if averages else []
    watched = trained(LOADERS[kind](), callbacks, window, {"eval_every": every}, **options)
    assert watched == trained(LOADERS[kind](), (), window)


@pytest.mark.parametrize("name", {**CALLBACKS, **AVERAGES})
@pytest.mark.parametrize("kind", LOADERS)
def test_each_observer_alone_changes_nothing(kind: str, name: str) -> None:
    sets = {"validation": LOADERS["driven"](), "test": randomly_sampled()}
    assert trained(LOADERS[kind](), [{**CALLBACKS, **AVERAGES}[name]()], **sets) == trained(
        LOADERS[kind]()
    )


def test_two_averages_cannot_stand_in_at_once() -> None:
    with pytest.raises(LoopValueError, match="one kind of averaged weights"):
        trained(LOADERS["driven"](), [EMA(), SWA(1)])


def test_the_digest_notices_an_observer_that_draws() -> None:
    meddle = Meddle(lambda loop: torch.rand(1))
    assert trained(LOADERS["driven"](), [meddle]) != trained(LOADERS["driven"]())


def test_a_stream_of_predictions_draws_what_predicting_at_once_draws() -> None:
    model = nn.Linear(6, 2)
    loop = TrainLoop(model, None, None, None, None, nn.CrossEntropyLoss())
    loader = randomly_sampled()
    whole = loop.predict_with_model(loader)[0]
    streamed = torch.cat([found.y_pred for found in loop.predict_batches(loader)])
    assert torch.equal(whole, streamed)
    assert len({*whole[:, 0].tolist()}) == SAMPLES


def test_a_summary_before_training_changes_nothing() -> None:
    class First(Callback):
        def on_train_loop_registration(self) -> None:
            self.train_loop_obj.summary()

    for kind in LOADERS:
        assert trained(LOADERS[kind](), [First("first")]) == trained(LOADERS[kind]())


def test_a_display_whose_library_draws_when_it_is_imported_changes_nothing(monkeypatch) -> None:
    found = importlib.import_module

    def drawing(name: str):
        random.random()
        return found(name)

    monkeypatch.setattr(importlib, "import_module", drawing)
    assert trained(LOADERS["driven"](), progress="rich") == trained(LOADERS["driven"]())


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "persistent"), [(1, False), (2, False), (2, True)])
def test_workers_change_nothing(workers: int, persistent: bool) -> None:
    options = {"num_workers": workers, "persistent_workers": persistent}
    train = DataLoader(Augmented(), SIZE, shuffle=True, **options)
    validation = randomly_sampled(**options)
    callbacks = [CALLBACKS["training loss"](), EMA(0.9, at_end="trained")]
    watched = trained(train, callbacks, validation=validation)
    assert watched == trained(DataLoader(Augmented(), SIZE, shuffle=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["training loss", "predictions", "summary"])
def test_reading_a_loader_while_it_trains_does_not_disturb_its_workers(name: str) -> None:
    def loader() -> DataLoader:
        return randomly_sampled(num_workers=1, persistent_workers=True)

    assert trained(loader(), [CALLBACKS[name]()]) == trained(loader())
