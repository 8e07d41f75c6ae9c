import random
import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tt_loop.display.summary import summary
from tt_loop.errors import LoopTypeError, LoopValueError


class Tied(nn.Module):
    """Embedding and output layer share their weight; one block is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.again = self.block
        self.out = nn.Linear(3, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.again(self.block(self.embedding(x))))


def rows(result) -> dict:
    return {layer.name: layer for layer in result.layers}


def test_each_layer_is_counted() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2, bias=False))
    model[2].weight.requires_grad_(False)
    found = rows(summary(model))
    assert list(found) == ["", "0", "1", "2"]
    assert [layer.kind for layer in found.values()][1:] == ["Linear", "BatchNorm1d", "Linear"]
    assert [layer.parameters for layer in found.values()] == [72, 40, 16, 16]
    assert [layer.trainable for layer in found.values()] == [56, 40, 16, 0]
    assert [layer.buffers for layer in found.values()] == [17, 0, 17, 0]
    assert found["1"].bytes == 16 * 4 + 16 * 4 + 8  # the number of batches is an int64
    assert {layer.output_shape for layer in found.values()} == {None}


WIDTHS = st.lists(st.integers(1, 9), min_size=2, max_size=5)


@settings(max_examples=40)
@given(WIDTHS, st.booleans(), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_totals_are_those_of_the_model(widths: list[int], bias: bool, dtype: torch.dtype) -> None:
    layers = [nn.Linear(*pair, bias=bias, dtype=dtype) for pair in pairwise(widths)]
    model = nn.Sequential(*layers)
    total = summary(model).total
    assert total.parameters == sum(p.numel() for p in model.parameters())
    assert total.bytes == sum(p.nbytes for p in model.parameters())
    assert total.trainable == total.parameters


def test_what_is_shared_counts_once() -> None:
    found = rows(summary(Tied(), torch.tensor([0, 1, 2])))
    assert list(found) == ["", "embedding", "block", "block.0", "block.1", "out"]
    assert found[""].parameters == 21 + 12 + 6
    assert found["out"].parameters == 21
    assert found[""].parameters == sum(p.numel() for p in Tied().parameters())


def test_output_shapes_are_those_of_a_forward_pass() -> None:
    found = rows(summary(Tied(), torch.tensor([0, 1, 2])))
    assert [layer.output_shape for layer in found.values()] == [
        *("[3, 7]", "[3, 3]", "[3, 3]", "[3, 3]", "[3, 3]", "[3, 7]")
    ]


@dataclass
class Answer:
    value: torch.Tensor


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 5)
        self.unused = nn.Linear(1, 1)

    def forward(self, x, *, scale=1.0, answer=False):
        states, (hidden, _) = self.rnn(x * scale)
        return Answer(hidden) if answer else {"states": states, "rest": [hidden, None]}


def test_nested_outputs_keep_their_structure() -> None:
    found = rows(summary(Nested(), torch.zeros(6, 2, 4)))
    assert found["rnn"].output_shape == "([6, 2, 5], ([1, 2, 5], [1, 2, 5]))"
    assert found[""].output_shape == "{states: [6, 2, 5], rest: ([1, 2, 5], NoneType)}"
    assert found["unused"].output_shape is None


@pytest.mark.parametrize(
    "inputs",
    [
        (torch.zeros(6, 2, 4),),
        [torch.zeros(6, 2, 4)],
        {"x": torch.zeros(6, 2, 4), "scale": 2.0, "answer": True},
    ],
)
def test_inputs_may_be_several_or_named(inputs) -> None:
    assert rows(summary(Nested(), inputs))["rnn"].output_shape.startswith("([6, 2, 5]")


class Drawing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        return x + torch.rand(()) + random.random() + np.random.random()


def test_nothing_is_left_behind() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), Drawing())
    model[1].eval()
    before = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    summary(model, torch.randn(4, 3, generator=torch.Generator()))
    after = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]
    assert before == after
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_is_left_behind_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4)).train()
    with pytest.raises(RuntimeError, match="shapes"):
        summary(model, torch.zeros(2, 3))
    assert model[0].training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_layers_say_that_they_have_no_shape_yet() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(5))
    found = summary(model)
    assert [layer.lazy for layer in found.layers] == [True, False, True]
    assert found.total.parameters == 9
    assert "Lazy layers (+?)" in str(found)
    assert "9+?" in str(found)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_inputs_show_lazy_layers_and_leave_them_lazy() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(5))
    found = summary(model, torch.zeros(1, 2))
    assert found.total.parameters == 9 + 20
    assert not found.total.lazy
    assert nn.parameter.is_lazy(model[1].weight)


def test_depth_limits_the_rows_not_the_counts() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))))
    names = [[layer.name for layer in summary(model, depth=depth).layers] for depth in range(4)]
    assert names == [[""], ["", "0"], ["", "0", "0.0", "0.1"], ["", "0", "0.0", "0.1", "0.1.0"]]
    assert summary(model, depth=1).layers[1].parameters == 12
    assert summary(model).layers[-1].depth == 3


@pytest.mark.slow  # the first meta tensor of a process makes torch import much
def test_inputs_move_to_the_model() -> None:
    with torch.device("meta"):
        model = nn.Linear(3, 10**6)
    assert summary(model, torch.zeros(2, 3)).total.output_shape == "[2, 1000000]"
    assert summary(nn.Identity(), torch.zeros(2, 3), device="meta").total.output_shape == "[2, 3]"


def test_the_text_is_an_aligned_table() -> None:
    text = str(summary(nn.Sequential(nn.Linear(1000, 1000), nn.ReLU()), torch.zeros(1, 1000)))
    head, rule, total, first, second, end, closing = text.splitlines()
    names = ["Layer", "Type", "Output shape", "Parameters", "Trainable", "Buffers", "Size"]
    assert re.split("  +", head.strip()) == names
    assert set(rule) == set(end) == {"-"}
    assert {len(line) for line in (head, rule, total, first, second)} == {len(head)}
    cells = ["0", "Linear", "[1, 1000]", "1,001,000", "1,001,000", "0", "4.0 MB"]
    assert re.split("  +", first.strip()) == cells
    assert closing == "1,001,000 parameters, 1,001,000 of them trainable; 4.0 MB with buffers."
    assert "Output shape" not in str(summary(nn.ReLU()))


@pytest.mark.parametrize(
    ("size", "text"), [(120, "964 B"), (125, "1.0 kB"), (10**9, "8.0 GB"), (10**12, "8.0 TB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    model = nn.Module()
    model.register_buffer("values", torch.empty(size, dtype=torch.float64, device="meta"))
    model.flag = nn.Parameter(torch.empty(1 if size == 120 else 0, device="meta"))
    assert text in str(summary(model))


def test_only_modules_are_summarised() -> None:
    with pytest.raises(LoopTypeError, match="got int"):
        summary(3)
    with pytest.raises(LoopValueError, match="negative"):
        summary(nn.ReLU(), depth=-1)
