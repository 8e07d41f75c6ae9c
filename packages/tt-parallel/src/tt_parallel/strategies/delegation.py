"""Reaching a model through the modules that wrap it.

PyTorch's wrappers prepare a backward pass in their ``forward``, and a model here computes its loss
in ``get_loss``: what they wrap is a `ByMethod`, whose forward calls any method of the model by
name. The model's attributes are read and written where they are; none is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from inspect import ismethod
from typing import Any

from torch import nn

from tt_parallel.errors import ParallelValueError

__all__ = ["ByMethod", "Delegating", "MODEL_METHODS"]  # noqa: RUF022  # sorted as every other one

MODEL_METHODS = ("get_loss", "get_loss_eval", "get_predictions")
"""The methods of a model that every wrapper has itself."""


class Delegating(nn.Module):
    """A module that stands for the one inside it, once `_stand_for` has been called.

    What it has itself, such as ``training`` or ``module``, stays its own.
    """

    def _stand_for(self, inner: str, methods: Iterable[str] = ()) -> None:
        """Let attributes be those of the child ``inner``, and run some methods by `_call`.

        Raises:
            ParallelValueError: When the model has no such method.
        """
        model = _model_in(self, inner)
        for name in methods:
            if not hasattr(model, name) and name not in MODEL_METHODS:
                msg = (
                    "default_model_methods and add_model_attributes name what the model has, and "
                    f"there is no {name!r}: take it out of the list."
                )
                raise ParallelValueError(msg)
        called = (name for name in methods if ismethod(getattr(model, name, None)))
        self.__dict__["_called"] = frozenset(called) - set(MODEL_METHODS)
        self.__dict__["_inner"] = inner

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        children = self.__dict__.get("_modules", ())
        if name in children:  # in every step, for the model itself
            return children[name]
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = self.__dict__.get("_inner")
            if inner is None:
                raise
        if name in self.__dict__["_called"]:
            call: Callable[..., Any] = partial(self._call, name)
            return call
        return getattr(_model_in(self, inner), name)

    def __setattr__(self, name: str, value: Any) -> None:
        inner = None if name in self.__dict__ else self.__dict__.get("_inner")
        model = None if inner is None else _model_in(self, inner)
        if model is None or self._has_itself(name) or not hasattr(model, name):
            super().__setattr__(name, value)
        else:
            setattr(model, name, value)

    def _has_itself(self, name: str) -> bool:
        kinds = (self._modules, self._parameters, self._buffers)
        return hasattr(type(self), name) or any(name in kind for kind in kinds)


class ByMethod(Delegating):
    """A module whose forward calls a method of the model; its state dict is the model's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        ignored = getattr(model, "_ddp_params_and_buffers_to_ignore", ())
        self._ddp_params_and_buffers_to_ignore = [f"model.{name}" for name in ignored]
        self.register_load_state_dict_pre_hook(_with_prefix)  # type: ignore[no-untyped-call]  # torch's own
        self._stand_for("model")

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What the method returns."""
        return getattr(self._modules["model"], method)(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's, under the names that it has without this module."""
        return self.model.state_dict(*args, **kwargs)


def _model_in(wrapper: nn.Module, inner: str) -> nn.Module | None:
    """The model, whose own attribute ``model`` a `ByMethod` around it would hide."""
    held = wrapper._modules[inner]
    return held._modules["model"] if isinstance(held, ByMethod) else held


def _with_prefix(_module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """The names of a state dict as `load_state_dict` wants them."""
    for name in [name for name in state_dict if name.startswith(prefix)]:
        state_dict[f"{prefix}model.{name.removeprefix(prefix)}"] = state_dict.pop(name)
