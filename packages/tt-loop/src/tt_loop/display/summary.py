"""What a model consists of: its layers, their sizes and the shapes of their outputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tt_loop.data.batches import to_device
from tt_loop.display.text_table import aligned, readable_size
from tt_loop.errors import LoopTypeError, LoopValueError
from tt_loop.evaluation.evaluator import kept_modes
from tt_loop.rng import preserved_rng

__all__ = ["LayerSummary", "ModelSummary", "summary"]


@dataclass(frozen=True)
class LayerSummary:
    """A module with everything inside it; a parameter or buffer that is used twice counts once.

    Attributes:
        name: Its name in the model, as in ``named_modules()``; empty for the model itself.
        kind: Its class.
        depth: How many modules it is inside of.
        output_shape: Shapes of what it returned when it was first called, as text; ``None`` if it
            was not called.
        parameters: Number of values in its parameters.
        trainable: Of these, how many require gradients.
        buffers: Number of values in its buffers.
        bytes: Size of its parameters and buffers.
        lazy: Some of its parameters or buffers have no shape yet and are not counted.
    """

    name: str
    kind: str
    depth: int
    output_shape: str | None
    parameters: int
    trainable: int
    buffers: int
    bytes: int
    lazy: bool


@dataclass(frozen=True)
class ModelSummary:
    """The layers of a model; as text, a table.

    Attributes:
        layers: The model itself, which has the totals, and the modules inside it in their order.
    """

    layers: tuple[LayerSummary, ...]

    @property
    def total(self) -> LayerSummary:
        """The whole model."""
        return self.layers[0]

    def __str__(self) -> str:
        head = ["Layer", "Type", "Output shape", "Parameters", "Trainable", "Buffers", "Size"]
        rows = [head, *map(_cells, self.layers)]
        if self.total.output_shape is None:
            rows = [[*row[:2], *row[3:]] for row in rows]
        first, *lines = aligned(rows, right=4)
        rule = "-" * len(first)
        return "\n".join([first, rule, *lines, rule, *_closing(self.total)])


def summary(
    model: nn.Module,
    inputs: Any = None,
    *,
    depth: int | None = None,
    device: torch.device | str | None = None,
) -> ModelSummary:
    """Summarise a model, with the shapes of outputs if inputs are given.

    Then the model is called once, in evaluation mode and without gradients; modes, random states
    and hooks are put back. A model with lazy layers is copied for the call and stays lazy.

    Args:
        model: The model; a module that occurs in several places is listed at the first.
        inputs: What to call the model with: a tuple or list of positional arguments, a mapping of
            keyword arguments, or else the only argument.
        depth: List modules down to this depth; by default all. 0: only the model itself.
        device: Where to move the inputs; by default to where the model's first parameter is.

    Raises:
        LoopTypeError: When the model is no module.
        LoopValueError: When ``depth`` is negative.

    Example:
        >>> print(summary(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.ones(2, 4)))
        Layer    Type        Output shape  Parameters  Trainable  Buffers   Size
        ------------------------------------------------------------------------
        (model)  Sequential  [2, 8]                40         40        0  160 B
          0      Linear      [2, 8]                40         40        0  160 B
          1      ReLU        [2, 8]                 0          0        0    0 B
        ------------------------------------------------------------------------
        40 parameters, 40 of them trainable; 160 B with buffers.
    """
    if not isinstance(model, nn.Module):
        msg = f"summary needs a torch.nn.Module, got {type(model).__name__}."
        raise LoopTypeError(msg)
    if depth is not None and depth < 0:
        msg = f"depth must not be negative, got {depth}."
        raise LoopValueError(msg)
    shapes: dict[str, str] = {}
    if inputs is not None:
        if any(map(is_lazy, _tensors(model))):
            model = copy.deepcopy(model)  # the call will give the layers their shapes
        shapes = _output_shapes(model, inputs, _device_of(model, device))
    return ModelSummary(tuple(_layers(model, shapes, depth)))


def _layers(
    model: nn.Module, shapes: Mapping[str, str], depth: int | None
) -> Iterator[LayerSummary]:
    for name, module in model.named_modules():
        level = name.count(".") + 1 if name else 0
        if depth is None or level <= depth:
            yield _layer(name, module, level, shapes.get(name))


def _layer(name: str, module: nn.Module, level: int, shape: str | None) -> LayerSummary:
    parameters = [p for p in module.parameters() if not is_lazy(p)]
    buffers = [buffer for buffer in module.buffers() if not is_lazy(buffer)]
    return LayerSummary(
        name=name,
        kind=type(module).__name__,
        depth=level,
        output_shape=shape,
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        buffers=sum(buffer.numel() for buffer in buffers),
        bytes=sum(t.numel() * t.element_size() for t in (*parameters, *buffers)),
        lazy=any(map(is_lazy, _tensors(module))),
    )


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _device_of(model: nn.Module, device: torch.device | str | None) -> torch.device:
    if device is not None:
        return torch.device(device)
    return next((tensor.device for tensor in _tensors(model)), torch.device("cpu"))


def _output_shapes(model: nn.Module, inputs: Any, device: torch.device) -> dict[str, str]:
    """Call the model, and note what each module returned at its first call."""
    shapes: dict[str, str] = {}
    inputs = to_device(inputs, device)
    with _neutral(model, device), ExitStack() as hooks:
        for name, module in model.named_modules():
            hooks.callback(_note_shape(module, name, shapes).remove)
        if isinstance(inputs, Mapping):
            model(**inputs)
        elif isinstance(inputs, tuple | list):
            model(*inputs)
        else:
            model(inputs)
    return shapes


@contextmanager
def _neutral(model: nn.Module, device: torch.device) -> Iterator[None]:
    drawing = torch.device("cpu") if device.type == "meta" else device  # meta draws nothing
    with kept_modes(model), preserved_rng(drawing), torch.no_grad():
        model.eval()
        yield


def _note_shape(module: nn.Module, name: str, shapes: dict[str, str]) -> Any:
    def note(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001  # torch's signature
        shapes.setdefault(name, _shape(output))

    return module.register_forward_hook(note)


def _shape(output: Any) -> str:
    """The shapes of the tensors in an output, nested as they are."""
    if isinstance(output, Tensor):
        return str(list(output.shape))
    if isinstance(output, Mapping):
        return "{" + ", ".join(f"{key}: {_shape(value)}" for key, value in output.items()) + "}"
    if isinstance(output, tuple | list):
        return "(" + ", ".join(map(_shape, output)) + ")"
    return type(output).__name__


def _cells(layer: LayerSummary) -> list[str]:
    unknown = "+?" if layer.lazy else ""
    own = layer.name.rpartition(".")[2] or "(model)"
    counts = (layer.parameters, layer.trainable, layer.buffers)
    return [
        "  " * layer.depth + own,
        layer.kind,
        layer.output_shape or "-",
        *(f"{count:,}{unknown}" for count in counts),
        readable_size(layer.bytes) + unknown,
    ]


def _closing(total: LayerSummary) -> list[str]:
    counts = f"{total.parameters:,} parameters, {total.trainable:,} of them trainable"
    lines = [f"{counts}; {readable_size(total.bytes)} with buffers."]
    if total.lazy:
        lines.append(
            "Lazy layers (+?) get their shapes in the first call: give inputs to see them."
        )
    return lines
