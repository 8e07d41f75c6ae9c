"""The buffers of modules as they were at some moment, and the way back there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["KeptBuffers"]


class KeptBuffers:
    """A copy of what forward passes may change, such as the statistics of a batch norm.

    Buffers are found by their places, since a forward pass may put a new tensor into one.

    Args:
        modules: Modules; the buffers of their submodules are kept too.

    Attributes:
        kept: The copies.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        owners = {id(part): part for module in modules for part in module.modules()}.values()
        self._places = [
            (owner, name)
            for owner in owners
            for name, buffer in owner._buffers.items()
            if buffer is not None
        ]
        self._found: list[Tensor] = []
        self.kept: list[Tensor] = []
        self._kinds: list[list[int]] = []

    def _present(self) -> list[Tensor]:
        return [owner._buffers[name] for owner, name in self._places]  # type: ignore[misc]  # they were tensors

    def keep(self) -> None:
        """Copy the buffers as they are now."""
        present = self._present()
        if [*map(id, present)] == [*map(id, self._found)]:
            for kind in self._kinds:  # one kernel copies all of a kind
                copies = [self.kept[number] for number in kind]
                torch._foreach_copy_(copies, [present[number] for number in kind])
            return
        self.kept = [buffer.detach().clone() for buffer in present]
        self._found = present
        kinds: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for number, buffer in enumerate(present):
            kinds.setdefault((buffer.device, buffer.dtype), []).append(number)
        self._kinds = [*kinds.values()]

    @torch.no_grad()
    def restore(self, when: Tensor | None = None) -> None:
        """Put the copies back.

        Args:
            when: A flag; the copies are put back if it is true. It stays on its device.
        """
        places = zip(self._places, self._found, self.kept, strict=True)
        for (owner, name), found, kept in places:
            present = owner._buffers[name]
            if present is not found:  # the forward pass put another tensor there
                owner._buffers[name] = _chosen(when, kept, present)
            elif when is None:
                present.copy_(kept)
            else:
                torch.where(when.to(kept.device), kept, present, out=present)

    def load(self, kept: Sequence[Tensor]) -> None:
        """Take these for the copies, if there are any."""
        for copy, value in zip(self.kept, kept, strict=False):
            copy.copy_(value)


def _chosen(when: Tensor | None, kept: Tensor, present: Tensor | None) -> Tensor | None:
    if when is None:
        return kept.clone()
    if present is None or present.shape != kept.shape:
        return kept.clone() if when else present
    return torch.where(when.to(kept.device), kept, present)
