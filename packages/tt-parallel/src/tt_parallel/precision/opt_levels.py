"""What the optimisation levels of NVIDIA Apex mean, as data.

==========================  =======  =========  =========  =======
property                    O0       O1         O2         O3
==========================  =======  =========  =========  =======
``cast_model_type``         float32  None       float16    float16
``patch_torch_functions``   False    True       False      False
``keep_batchnorm_fp32``     None     None       True       False
``master_weights``          False    None       True       False
``loss_scale``              1.0      "dynamic"  "dynamic"  1.0
==========================  =======  =========  =========  =======

Each can be overridden, but O1 leaves the weights in float32: it takes no option about their type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from tt_parallel.errors import ParallelValueError

__all__ = ["APEX_OPTIONS", "OPT_LEVELS", "Properties", "dtype_named", "resolve"]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Properties:
    """How a level computes.

    Attributes:
        cast_model_type: What the model's weights and inputs are cast to.
        patch_torch_functions: Whether each operation chooses its precision.
        keep_batchnorm_fp32: Whether batch norms are left out of the cast.
        master_weights: Whether the optimizer has float32 copies of weights in half precision.
        loss_scale: The loss scale, or ``"dynamic"``.
        min_loss_scale: Bound of the dynamic loss scale.
        max_loss_scale: Bound of the dynamic loss scale.
        cast_model_outputs: What the model's outputs are cast to.
        num_losses: How many losses there are.
        verbosity: 0 says nothing about how the level is computed.
    """

    cast_model_type: torch.dtype | None
    patch_torch_functions: bool
    keep_batchnorm_fp32: bool | None
    master_weights: bool | None
    loss_scale: float | Literal["dynamic"]
    min_loss_scale: float | None = None
    max_loss_scale: float | None = 2.0**24
    cast_model_outputs: torch.dtype | None = None
    num_losses: int = 1
    verbosity: int = 1


OPT_LEVELS = {
    "O0": Properties(torch.float32, False, None, False, 1.0),
    "O1": Properties(None, True, None, None, "dynamic"),
    "O2": Properties(torch.float16, False, True, True, "dynamic"),
    "O3": Properties(torch.float16, False, False, False, 1.0),
}

APEX_OPTIONS = ("opt_level", *Properties.__dataclass_fields__)


def resolve(opt_level: str, overrides: Mapping[str, Any]) -> Properties:
    """A level's properties with some overridden; ``None`` overrides nothing.

    Raises:
        ParallelValueError: For an unknown level or option, a value that cannot be, or an option
            that the level does not take.
    """
    if opt_level not in OPT_LEVELS:
        msg = f"opt_level must be one of {', '.join(OPT_LEVELS)}, got {opt_level!r}."
        raise ParallelValueError(msg)
    unknown = sorted(set(overrides) - set(APEX_OPTIONS))
    if unknown:
        msg = f"An opt_level knows the options {', '.join(APEX_OPTIONS)}; got {', '.join(unknown)}."
        raise ParallelValueError(msg)
    given = {name: _checked(name, value) for name, value in overrides.items() if value is not None}
    _check_fit(opt_level, given)
    return replace(OPT_LEVELS[opt_level], **given)


def _check_fit(opt_level: str, given: Mapping[str, Any]) -> None:
    """Refuse what contradicts the level."""
    if opt_level != "O1":
        if given.get("patch_torch_functions"):
            msg = (
                "patch_torch_functions=True is what opt_level='O1' means, got it with "
                f"{opt_level!r}: choose 'O1', or leave it out."
            )
            raise ParallelValueError(msg)
        return
    weights = ("cast_model_type", "keep_batchnorm_fp32", "master_weights")
    wrong = [name for name in weights if name in given]
    if given.get("cast_model_type") is torch.float32:
        wrong.remove("cast_model_type")
    if wrong:
        got = ", ".join(f"{name}={given[name]}" for name in wrong)
        msg = (
            "opt_level='O1' leaves the weights in float32 and takes no option about their type, "
            f"got {got}: leave it out, or choose 'O2' or 'O3'."
        )
        raise ParallelValueError(msg)


def _checked(name: str, value: Any) -> Any:
    """An option's value in its own type."""
    if name in ("cast_model_type", "cast_model_outputs"):
        return dtype_named(name, value)
    if name in ("patch_torch_functions", "keep_batchnorm_fp32", "master_weights"):
        return _flag(name, value)
    if name == "loss_scale" and value == "dynamic":
        return value
    if name in ("num_losses", "verbosity"):
        return _number(name, value, int, least=int(name == "num_losses"))
    return _number(name, value, float)


def dtype_named(name: str, value: Any) -> torch.dtype:
    """The dtype that an option's value is or names.

    Raises:
        ParallelValueError: When it is none that models compute in.
    """
    for known, dtype in DTYPES.items():
        if value in (known, dtype):
            return dtype
    msg = f"{name} must be one of {', '.join(DTYPES)}, got {value!r}."
    raise ParallelValueError(msg)


def _flag(name: str, value: Any) -> bool:
    flag = {"True": True, "False": False}.get(value, value) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        msg = f"{name} must be True or False, got {value!r}."
        raise ParallelValueError(msg)
    return flag


def _number(name: str, value: Any, kind: type[int] | type[float], least: int = 0) -> float:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = -1
    if not (least <= number < float("inf") and (kind is int or number)):
        choice = " or 'dynamic'" if name == "loss_scale" else ""
        what = "whole" if kind is int else "positive"
        msg = f"{name} must be a {what} number{choice}, got {value!r}."
        raise ParallelValueError(msg)
    return number
