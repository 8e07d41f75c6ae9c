"""Running averages of a model's tensors, which can stand in for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tt_loop.errors import LoopStateError
from tt_loop.protocols import Tree
from tt_loop.training.sharded import own_part, shared_as, whole

__all__ = ["Averages"]

Pairs = tuple[list[Tensor], list[Tensor]]


class Averages:
    """Averages of named tensors, kept beside them and exchanged with them in place.

    `put_in` and `put_back` copy contents and leave each tensor where it is: an optimizer, a hook,
    DistributedDataParallel, a compiled or captured graph and the flat weights of an RNN hold on to
    the tensor or to its address, and all of them see the averages. New references in ``param.data``
    would be seen by only some. The price is one more copy of the tensors while the averages are in.
    The tensors' versions stay: whatever remembers a version finds the values it knew. `renew` tells
    that they are to be taken for new.

    Args:
        dtype: What floating averages are kept in; by default as the tensors are.

    Attributes:
        count: How many times the tensors were averaged.
        values: The averages by name.
        trained: The tensors' own values by name, while the averages stand in for them.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self.dtype = dtype
        self.count = 0
        self.values: dict[str, Tensor] = {}
        self.trained: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}
        self._flags: list[bool] = []
        self._groups: list[Pairs] = []

    def follow(self, tensors: Mapping[str, Tensor]) -> None:
        """Average these tensors from now on; what is averaged already must be among them.

        Raises:
            LoopStateError: When it is not, or has another shape.
        """
        self._live = dict(tensors)  # not detached: flattening an RNN's weights moves their storage
        self._flags, self._groups = [], []
        for kept in (self.values, self.trained):
            for name, value in kept.items():
                kept[name] = self._fitted(name, value, kept is self.values)

    def _fitted(self, name: str, value: Tensor, is_average: bool) -> Tensor:
        live = self._live.get(name)
        if live is None or live.shape != value.shape:
            found = "none" if live is None else f"one of shape {tuple(live.shape)}"
            msg = (
                f"Averages must go on with the model they are of: they have {name!r} of shape "
                f"{tuple(value.shape)}, the model has {found}. Use a new callback for a new model."
            )
            raise LoopStateError(msg)
        value = value.to(live.device, self._dtype_of(live) if is_average else live.dtype)
        return shared_as(live, value)

    def _dtype_of(self, tensor: Tensor) -> torch.dtype:
        return self.dtype if self.dtype and tensor.is_floating_point() else tensor.dtype

    @torch.no_grad()
    def update(self, weight: float) -> None:
        """Average once more: ``average += weight * (tensor - average)``.

        A tensor's average begins as a copy of it. What cannot be averaged (counters) is copied.
        """
        flags = [tensor.requires_grad for tensor in self._live.values()]
        if flags != self._flags:  # the first time, and when a parameter was frozen or unfrozen
            self._begin(flags)
        for averages, tensors in self._groups:
            average, tensor = averages[0], tensors[0]
            if not (average.is_floating_point() or average.is_complex()):
                torch._foreach_copy_(averages, tensors)
            elif average.dtype == tensor.dtype:
                torch._foreach_lerp_(averages, tensors, weight)
            else:
                torch._foreach_mul_(averages, 1 - weight)
                torch._foreach_add_(averages, tensors, alpha=weight)
        self.count += 1

    def _begin(self, flags: list[bool]) -> None:
        """Add averages of parameters that train now; a frozen one is its own average."""
        self._flags = flags
        groups: dict[tuple[object, ...], Pairs] = {}
        for (name, live), trains in zip(self._live.items(), flags, strict=True):
            if name not in self.values:
                if isinstance(live, nn.Parameter) and not trains:
                    continue
                self.values[name] = live.detach().to(self._dtype_of(live), copy=True)
            average = self.values[name]
            pair = groups.setdefault((live.device, live.dtype, average.dtype), ([], []))
            pair[0].append(average)
            pair[1].append(live)
        self._groups = list(groups.values())

    @torch.no_grad()
    def put_in(self) -> None:
        """Let the averages stand in for the tensors, whose own values are put aside."""
        if self.trained or not self.values:
            return
        # All copies before the first change: if memory runs out, nothing has happened.
        aside = {name: self._live[name].detach().clone() for name in self.values}
        self._write(self.values)
        self.trained = aside

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the tensors their own values back, bit for bit."""
        if self.trained:
            self._write(self.trained)
            self.trained = {}

    def resume(self) -> bool:
        """As `put_back`, unless somebody has given the tensors other values since `put_in`.

        Returns:
            Whether the tensors' own values were given up for those.
        """
        replaced = any(
            not torch.equal(self._live[name], self.values[name].to(self._live[name].dtype))
            for name in self.trained
        )
        if replaced:
            self.trained = {}
        self.put_back()
        return replaced

    def take(self, names: Mapping[str, object]) -> None:
        """Take over the present values of some tensors as their averages."""
        for name in names:
            self.values[name].copy_(self._live[name].data)

    def renew(self) -> None:
        """Have the tensors count as changed, so that nothing known of them is used any more."""
        torch.autograd.graph.increment_version(self._live.values())

    def _write(self, values: Mapping[str, Tensor]) -> None:
        live = [own_part(self._live[name].data) for name in values]
        torch._foreach_copy_(live, [own_part(value) for value in values.values()])

    def state_dict(self) -> Tree:
        """The averages, how often they were averaged, and what was put aside.

        Of sharded weights they are gathered: every process must call it.
        """
        return {
            "count": self.count,
            "values": _wholes(self.values),
            "trained": _wholes(self.trained),
        }

    def load_state_dict(self, state: Tree) -> None:
        """Take over copies of what `state_dict` gave."""
        self.count = state["count"]
        self.values, self.trained = (
            {name: value.detach().clone() for name, value in state[kept].items()}
            for kept in ("values", "trained")
        )
        self._flags, self._groups = [], []  # they are of the tensors from before


def _wholes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: whole(tensor) for name, tensor in tensors.items()}
