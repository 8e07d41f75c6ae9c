"""What averaged weights have in common: when they stand in for the trained ones."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from torch import Tensor

from tt_loop.callbacks._averages import Averages
from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopValueError
from tt_loop.protocols import Tree

__all__ = ["AtEnd", "WeightAveraging"]

_log = logging.getLogger(__name__)

AtEnd = Literal["averaged", "trained"]


class WeightAveraging(Callback):
    """Keeps averages beside the model and lets them stand in for its weights at the right times.

    Averages are in the model during each pass over data that evaluates, and after the fit, unless
    ``at_end='trained'``. Training, checkpoints and the next fit have the trained weights.
    """

    def __init__(self, callback_name: str, at_end: AtEnd, dtype: torch.dtype | None) -> None:
        # After what changes weights (clamping), before what saves them: checkpoints are at 100.
        super().__init__(callback_name, execution_order=90)
        if at_end not in ("averaged", "trained"):
            msg = f"at_end must be 'averaged' or 'trained', got {at_end!r}."
            raise LoopValueError(msg)
        self.at_end = at_end
        self.averages = Averages(dtype)
        self._evaluations = 0
        self._fitting = False

    def on_train_loop_registration(self) -> None:
        """Be the only one: a second would take the first one's averages for the trained weights.

        Raises:
            LoopValueError: When the loop has another callback of this kind.
        """
        if any(isinstance(other, WeightAveraging) for other in self.train_loop_obj.callbacks):
            msg = (
                "A loop has one kind of averaged weights that stand in for the trained ones, but "
                f"gets {self.callback_name!r} as a second: take one of them out."
            )
            raise LoopValueError(msg)

    def averaged_tensors(self) -> dict[str, Tensor]:
        """What is averaged: the parameters by name."""
        return dict(self.train_loop_obj.model.named_parameters())

    def on_train_begin(self) -> None:
        """Go on from the trained weights that the last fit put aside."""
        self.averages.follow(self.averaged_tensors())
        if self.averages.resume():
            _log.info("the model has other weights than the averages: training goes on from them")
        self._evaluations = 0
        self._set_fitting(True)

    def on_evaluate_begin(self, dataset_info: Any) -> None:  # noqa: ARG002  # all data alike
        """Put the averages in; an evaluation inside another finds them there."""
        self._evaluations += 1
        if self._evaluations == 1 and self._fitting:
            self.put_in()

    def on_evaluate_end(self, dataset_info: Any) -> None:  # noqa: ARG002  # all data alike
        """Put the trained weights back when the outermost evaluation has ended."""
        self._evaluations -= 1
        if self._evaluations == 0 and self._fitting:
            self.averages.put_back()

    def put_in(self) -> None:
        """Let the averages stand in for the model's weights."""
        self.averages.put_in()

    def on_train_end(self) -> None:
        """Leave the model with the weights that were asked for."""
        if self.at_end == "averaged":
            self.put_in()
        self._set_fitting(False)

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002  # whatever it was
        """Put the trained weights back, wherever training broke off."""
        if self._fitting:
            self.averages.put_back()
            self._set_fitting(False)

    def _set_fitting(self, fitting: bool) -> None:
        """An evaluation means other weights from here on: none that is known may serve again."""
        self._fitting = fitting
        self.averages.renew()

    def state_dict(self) -> Tree:
        """The averages by parameter name, and the trained weights while they are put aside."""
        return self.averages.state_dict()

    def load_state_dict(self, state: Tree) -> None:
        """Go on averaging."""
        self.averages.load_state_dict(state)
