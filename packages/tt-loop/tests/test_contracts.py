"""tt-loop's own providers pass the kits; the public names are what they are said to be."""

import doctest
import importlib
import inspect
import pkgutil

import pytest
import torch

import tt_loop
from tt_loop.api import FullPrecision, InProcess, LocalCollective, SingleDevice
from tt_loop.testing import MetricContract, PrecisionContract, RecorderContract, StrategyContract

MODULES = [name for _, name, _ in pkgutil.walk_packages(tt_loop.__path__, "tt_loop.")]


class TestSingleDevice(StrategyContract):
    def make_strategy(self):
        return SingleDevice("cpu")


class TestFullPrecision(PrecisionContract):
    def make_precision(self):
        return FullPrecision()


class Mean:
    def __init__(self) -> None:
        self.reset()

    @property
    def state(self):
        return {"n": self.n, "total": self.total}

    def reset(self) -> None:
        self.n, self.total = 0, 0.0

    def update(self, y_true, y_predicted, /) -> None:
        self.n, self.total = self.n + len(y_true), self.total + sum(y_predicted)

    def merge(self, state, /) -> None:
        self.n, self.total = self.n + state["n"], self.total + state["total"]

    def compute(self):
        return {"mean": self.total / self.n}


class TestMean(MetricContract):
    def make_metric(self):
        return Mean()

    def batches(self):
        return [([0, 0], [1.0, 2.0]), ([0], [4.0]), ([0, 0, 0], [0.5, 0.5, 0.5])]


class MeanOfMeans(Mean):
    """Wrong on purpose: merging forgets how much data there was."""

    def merge(self, state, /) -> None:
        self.n, self.total = 1, state["total"] / state["n"]


def test_the_metric_kit_finds_a_metric_that_merges_wrongly() -> None:
    class Kit(TestMean):
        def make_metric(self):
            return MeanOfMeans()

    with pytest.raises(AssertionError):
        Kit().test_merged_states_are_the_state_of_all_data()


class Silent:
    def open(self, run, /) -> None: ...
    def scalars(self, step, values, /, *, epoch) -> None: ...
    def event(self, kind, data, /) -> None: ...
    def close(self, status, /) -> None: ...


class TestSilent(RecorderContract):
    def make_recorder(self):
        return Silent()


def test_the_meta_device_is_refused() -> None:
    with pytest.raises(ValueError, match="'meta' holds none"):
        SingleDevice("meta")


def test_a_strategy_or_a_launcher_object_is_a_gpu_mode(make_loop) -> None:
    for mode in (SingleDevice("cpu"), InProcess(SingleDevice("cpu"))):
        assert make_loop(gpu_mode=mode).fit(num_epochs=1) is not None


def test_one_process_talks_to_itself() -> None:
    comm, tensor = LocalCollective(), torch.ones(2)
    assert comm.all_reduce(tensor, "max") is tensor
    assert comm.gather_objects("a") == ["a"]
    assert comm.broadcast_object("b") == "b"
    assert comm.barrier() is None


def _kind_and_name(name: str) -> tuple[int, str]:
    """Constants and abbreviations, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_its_public_names(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__), key=_kind_and_name)
    for public in module.__all__:
        found = getattr(module, public)
        assert found.__doc__ or not (inspect.isclass(found) or inspect.isroutine(found))
    assert doctest.testmod(module).failed == 0
