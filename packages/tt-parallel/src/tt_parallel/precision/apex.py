"""Mixed precision by NVIDIA Apex, where it is installed and still has ``amp``."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.identity import check_same_precision

__all__ = ["ApexAmp", "FoundApex", "find_apex"]


class FoundApex(NamedTuple):
    """What is installed under the name ``apex``.

    Attributes:
        amp: The module ``apex.amp`` of NVIDIA Apex, or ``None``.
        told: What was found, as the beginning of a sentence.
        is_wrong: Something is there that is not what it is taken for.
    """

    amp: Any
    told: str
    is_wrong: bool = False


def find_apex() -> FoundApex:
    """Look for NVIDIA Apex with ``amp``, which its releases after 25.05 do not have."""
    try:
        amp: Any = importlib.import_module("apex.amp")
    except Exception as error:  # another project's package may raise anything
        amp, reason = None, f"{type(error).__name__}: {error}"
    else:
        reason = "its amp has no initialize"
    if amp is not None and hasattr(amp, "initialize"):
        return FoundApex(amp, "NVIDIA Apex with apex.amp was found")
    if not _exists("apex"):
        return FoundApex(None, "NVIDIA Apex was not found")
    if any(_exists(f"apex.{name}") for name in ("normalization", "multi_tensor_apply")):
        told = f"an NVIDIA Apex without apex.amp was found (releases after 25.05; {reason})"
        return FoundApex(None, told)
    told = f"the package apex that was found is not NVIDIA's (PyPI's is another project; {reason})"
    return FoundApex(None, told, is_wrong=True)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except Exception:  # as above: to look inside a package imports it
        return False


class _Weights(NamedTuple):
    """What an optimizer trained before Apex, and what it trains now, parameter by parameter."""

    of_model: list[Tensor]
    masters: list[Tensor]


# Apex takes a model and an optimizer once, whichever precision object brings it.
_models: WeakKeyDictionary[nn.Module, dict[str, Any]] = WeakKeyDictionary()
_optimizers: WeakKeyDictionary[Optimizer, _Weights] = WeakKeyDictionary()


class ApexAmp:
    """``apex.amp`` behind the interface of a precision.

    Apex keeps one loss scale in the process. With several optimizers an overflow in the gradients
    of one leaves out the steps of all, as ``apex.amp.scale_loss`` with a list of them does.

    Args:
        amp: The module ``apex.amp``.
        opt_level: The level.
        **options: Further options of ``apex.amp.initialize``.

    Attributes:
        swaps_parameters: Whether it computes with other weights than the model was given with.
    """

    def __init__(self, amp: Any, opt_level: str = "O1", **options: Any) -> None:
        self.swaps_parameters = opt_level in ("O2", "O3")
        self._amp, self.opt_level = amp, opt_level
        self._options = {"opt_level": opt_level, **options}
        self._optimizers: list[Optimizer] = []
        self._is_scaled = False  # the gradients, since a backward pass

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> None:
        """Give Apex the model and the optimizers, if it does not have them.

        Raises:
            ParallelValueError: When Apex has the model with other options, or for several
                optimizers in several processes, whose overflows Apex would not see alike.
        """
        processes = dist.get_world_size() if dist.is_initialized() else 1
        if len(optimizers) > 1 and processes > 1:
            msg = (
                f"Apex looks for overflows of all optimizers at once, and in {processes} processes "
                f"each of the {len(optimizers)} has its gradients at its own step only: use "
                "torch.amp, use_amp=True."
            )
            raise ParallelValueError(msg)
        known = _models.get(model, self._options)
        if known != self._options:
            msg = f"Apex can take a model once; it has this one with {known}, not {self._options}."
            raise ParallelValueError(msg)
        new = [optimizer for optimizer in optimizers if optimizer not in _optimizers]
        if model not in _models or new:
            self._initialize([] if model in _models else [model], new)
        self._optimizers, self._is_scaled = list(optimizers), False
        for weights in map(_optimizers.__getitem__, optimizers):
            _follow_model(weights)
        _models[model] = self._options

    def _initialize(self, models: list[nn.Module], optimizers: list[Optimizer]) -> None:
        before = [_parameters(optimizer) for optimizer in optimizers]
        self._amp.initialize(models, optimizers or None, **self._options)
        for optimizer, of_model in zip(optimizers, before, strict=True):
            optimizer.zero_grad()  # has Apex make the master weights, before there are gradients
            _optimizers[optimizer] = _Weights(of_model, _parameters(optimizer))

    def forward(self) -> AbstractContextManager[None]:
        """A context without effect: Apex has changed the model, or torch's functions."""
        return nullcontext()

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the gradients of the loss times the present scale."""
        if options.get("inputs") is not None:
            of_model = {id(master): own for own, master in self._pairs()}
            options["inputs"] = [of_model.get(id(p), p) for p in options["inputs"]]
        with self._amp.scale_loss(loss, self._optimizers, delay_unscale=True) as scaled:
            scaled.backward(**options)
        self._is_scaled = True

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Bring the gradients of all optimizers to their true size, once after backward passes."""
        del optimizer  # of several, each may be the first; another scale holds for the next window
        if self._is_scaled:
            # Apex unscales, and looks for overflows, when a scaled loss is left without delay.
            with self._amp.scale_loss(torch.zeros(()), self._optimizers):
                pass
            self._is_scaled = False

    def step(self, optimizer: Optimizer, /) -> bool:
        """Step, unless Apex has found an overflow; tells whether the step was left out."""
        made: list[None] = []
        handle = optimizer.register_step_post_hook(lambda *_: made.append(None))
        try:
            optimizer.step()
        finally:
            handle.remove()
        return not made

    def state_dict(self) -> dict[str, Any]:
        """The level, Apex's state, and the master weights, which the model has rounded only."""
        masters = [master.detach() for own, master in self._pairs() if own is not master]
        return {**self._identity(), "amp": self._amp.state_dict(), "masters": masters}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a saved state, from the beginning of a step.

        Raises:
            ParallelValueError: When the saved run computed in another precision.
        """
        check_same_precision(self._identity(), state)
        self._amp.load_state_dict(state["amp"])
        masters = [master for own, master in self._pairs() if own is not master]
        with torch.no_grad():
            for master, saved in zip(masters, state["masters"], strict=bool(masters)):
                master.copy_(saved)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        for weights in map(_optimizers.__getitem__, self._optimizers):
            yield from zip(*weights, strict=True)

    def _identity(self) -> dict[str, str]:
        return {"opt_level": self.opt_level, "by": "Apex"}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_amp": None, "_optimizers": [], "_is_scaled": False}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._amp = find_apex().amp


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@torch.no_grad()
def _follow_model(weights: _Weights) -> None:
    """Give the master weights what was loaded into the model; else they keep their digits."""
    for own, master in zip(*weights, strict=True):
        if own is not master:
            master.copy_(torch.where(master.to(own.dtype) == own, master, own.to(master.dtype)))
