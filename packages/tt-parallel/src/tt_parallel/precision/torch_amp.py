"""Mixed precision by torch.amp: autocast, and loss scaling where float16 needs it.

Autocast runs matrix products and convolutions in the lower precision and keeps parameters and
reductions in float32 (Micikevicius et al., Mixed Precision Training, ICLR 2018). float16 has five
bits of exponent, so its gradients are kept from vanishing by a scaled loss; bfloat16 has the
exponent of float32 and needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.identity import check_same_precision
from tt_parallel.precision.scaling import LossScaling

__all__ = ["DTYPES", "TorchAmp"]

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchAmp:
    """Autocast to a lower precision, with loss scaling for float16.

    Of several optimizers each leaves out the steps for which its own gradients are not finite.

    Args:
        device: Where the model computes.
        dtype: ``torch.bfloat16`` or ``torch.float16``; by default float16 on CUDA, else bfloat16.
            CPUs compute in float16 too, slowly: that is for trying out what a GPU will do.
        cache_enabled: Whether autocast keeps the weights that it has cast.
        scaler: Options of `torch.amp.GradScaler`, such as ``init_scale``; only with float16.

    Example:
        >>> import torch
        >>> precision = TorchAmp(torch.device("cpu"))
        >>> with precision.forward():
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """

    def __init__(
        self,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        *,
        cache_enabled: bool = True,
        **scaler: Any,
    ) -> None:
        kind = torch.device(device).type
        self.dtype = dtype or (torch.float16 if kind == "cuda" else torch.bfloat16)
        if self.dtype not in DTYPES.values():
            msg = f"Mixed precision computes in {' or '.join(DTYPES)}, got dtype={self.dtype}."
            raise ParallelValueError(msg)
        scaled = self.dtype is torch.float16
        if scaler and not scaled:
            msg = f"Loss scaling ({', '.join(scaler)}) is for float16; {self.dtype} needs none."
            raise ParallelValueError(msg)
        self.scaling = LossScaling(kind, enabled=scaled, **scaler)
        self._kind, self._cache_enabled = kind, cache_enabled

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> None:
        """Nothing to do: parameters stay in float32."""

    def forward(self) -> AbstractContextManager[Any]:
        """A new autocast context."""
        return torch.autocast(self._kind, self.dtype, cache_enabled=self._cache_enabled)

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the gradients of the loss times the present scale."""
        self.scaling.backward(loss, **options)

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Divide the gradients by the scale and look whether they are finite."""
        self.scaling.unscale(optimizer)

    def step(self, optimizer: Optimizer, /) -> Tensor | bool:
        """Step unless a gradient is not finite; the scale adapts after the steps of a window.

        Whether a fused optimizer's step was left out is told by a tensor on its device.
        """
        return self.scaling.step(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """The precision's name and the state of its loss scaling."""
        return {**self._identity(), "scaler": self.scaling.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on with a saved scale, from the beginning of a step.

        Raises:
            ParallelValueError: When the saved run computed in another precision.
        """
        check_same_precision(self._identity(), state)
        self.scaling.load_state_dict(state["scaler"])

    def _identity(self) -> dict[str, str]:
        return {"dtype": str(self.dtype).removeprefix("torch.")}
