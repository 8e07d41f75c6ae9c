"""The optimisation levels of NVIDIA Apex, computed by PyTorch itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.casting import Outermost, called, cast_ends, cast_weights, convert
from tt_parallel.precision.identity import check_same_precision
from tt_parallel.precision.opt_levels import resolve
from tt_parallel.precision.scaling import LossScaling

__all__ = ["OptLevel"]

_HALVES = (torch.float16, torch.bfloat16)


class OptLevel:
    """One of Apex's levels O0 to O3 in native PyTorch.

    ======  ==================================================================================
    ``O0``  float32
    ``O1``  autocast: each operation chooses, weights stay in float32
    ``O2``  computes with half-precision copies of the weights; the model's own parameters are
            the float32 master weights, and batch norms compute in float32
    ``O3``  the model itself becomes half precision
    ======  ==================================================================================

    With O2 and O3 the inputs of the model's forward pass are cast, and its outputs are float32: a
    loss must be computed from ``model(...)``, not by calling its layers. O2 does not go together
    with activation checkpointing, which computes layers again during the backward pass.

    Args:
        device: Where the model computes.
        opt_level: The level.
        half: ``torch.float16`` or ``torch.bfloat16``; by default float16 on CUDA, else bfloat16,
            for which the loss is scaled as well.
        **overrides: Options of ``apex.amp.initialize``, such as ``loss_scale``.

    Raises:
        ParallelValueError: For options that Apex does not have or that contradict the level.

    Attributes:
        properties: What the level means.
        dtype: What it computes in.
        swaps_parameters: Whether it computes with other weights than the model was given with.

    Example:
        >>> import torch
        >>> level, model = OptLevel("cpu", "O2"), torch.nn.Linear(2, 2)
        >>> level.prepare(model, [])
        >>> with level.forward():
        ...     model.weight.dtype
        torch.bfloat16
        >>> model.weight.dtype
        torch.float32
    """

    def __init__(
        self,
        device: torch.device | str,
        opt_level: str = "O1",
        *,
        half: torch.dtype | None = None,
        **overrides: Any,
    ) -> None:
        self._kind = torch.device(device).type
        self.opt_level, self.properties = opt_level, resolve(opt_level, overrides)
        self.half = half or (torch.float16 if self._kind == "cuda" else torch.bfloat16)
        if self.half not in _HALVES:
            msg = f"half must be torch.float16 or torch.bfloat16, got {half}."
            raise ParallelValueError(msg)
        if self.properties.cast_model_type is torch.float16 and not overrides.get(
            "cast_model_type"
        ):
            self.properties = replace(self.properties, cast_model_type=self.half)
        self.dtype = self.properties.cast_model_type or self.half
        self.swaps_parameters = self.properties.cast_model_type in _HALVES
        self.scaling = self._loss_scaling()
        self._casts: WeakKeyDictionary[nn.Module, Outermost] = WeakKeyDictionary()

    def _loss_scaling(self) -> LossScaling:
        properties = self.properties
        scale = properties.loss_scale
        if scale == "dynamic":
            low, high = properties.min_loss_scale, properties.max_loss_scale
            first = 2.0**16 if high is None else min(high, 2.0**16)
            return LossScaling(self._kind, min_scale=low, max_scale=high, init_scale=first)
        # Apex leaves a scale of 1 out, and with it the look at the gradients.
        return LossScaling(
            self._kind,
            enabled=scale != 1 or bool(properties.master_weights),
            min_scale=scale,
            max_scale=scale,
            init_scale=scale,
        )

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> None:
        """Cast the model, or get ready to cast its weights in each forward pass.

        Raises:
            ParallelValueError: When weights that are to be the masters are in half precision.
        """
        dtype, keep = self.properties.cast_model_type, bool(self.properties.keep_batchnorm_fp32)
        if self.properties.master_weights:
            _check_masters(model)
        elif dtype is not None:
            convert(model, dtype, optimizers, keep_batchnorm=keep)
        alive = ref(model)
        self._casts[model] = Outermost(lambda: self._cast(alive()))

    @contextmanager
    def _cast(self, model: nn.Module | None) -> Iterator[None]:
        """The model's weights, inputs and outputs as the level says."""
        assert model is not None  # noqa: S101  # it is a key of the dict that is gone through
        properties = self.properties
        inputs, outputs = properties.cast_model_type, properties.cast_model_outputs
        if outputs is None and inputs is not None:
            outputs = torch.float32
        with ExitStack() as stack:
            if properties.master_weights and inputs is not None:
                keep = bool(properties.keep_batchnorm_fp32)
                stack.enter_context(cast_weights(model, inputs, keep_batchnorm=keep))
            stack.enter_context(cast_ends(called(model), inputs, outputs))
            yield

    @contextmanager
    def forward(self) -> Iterator[None]:
        """A context in which the prepared models compute as the level says."""
        autocasts = self.properties.patch_torch_functions
        autocast = torch.autocast(self._kind, self.half) if autocasts else nullcontext()
        with ExitStack() as stack:
            stack.enter_context(autocast)
            for casts in list(self._casts.values()):
                stack.enter_context(casts)
            yield

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the gradients of the loss, in float32, times the present scale."""
        self.scaling.backward(loss.float(), **options)

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Divide the gradients by the scale and look whether they are finite."""
        self.scaling.unscale(optimizer)

    def step(self, optimizer: Optimizer, /) -> Tensor | bool:
        """Step unless a gradient is not finite; the scale adapts after the steps of a window."""
        return self.scaling.step(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """The level, what it computes in, and the state of its loss scaling."""
        return {**self._identity(), "scaler": self.scaling.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on with a saved scale, from the beginning of a step.

        Raises:
            ParallelValueError: When the saved run computed in another precision.
        """
        check_same_precision(self._identity(), state)
        self.scaling.load_state_dict(state["scaler"])

    def _identity(self) -> dict[str, str]:
        return {"dtype": str(self.dtype).removeprefix("torch."), "opt_level": self.opt_level}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_casts": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _casts=WeakKeyDictionary())


def _check_masters(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if parameter.dtype in _HALVES:
            msg = (
                f"Master weights must be float32, and the model's {name} is {parameter.dtype}: "
                "give the model as it was made, and the level casts it."
            )
            raise ParallelValueError(msg)
