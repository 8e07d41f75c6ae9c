"""Whether smaller or larger values of a metric are better, by the words of its name."""

from __future__ import annotations

import logging
import re
from typing import Literal

from tt_loop.errors import LoopValueError

__all__ = ["checked_mode", "direction_of", "known_direction"]

_log = logging.getLogger(__name__)

Mode = Literal["min", "max"]

_SMALLER = re.compile(
    r"loss|err|perplexity|ppl|mae|mse|rmse|nll|wer\b|cer\b|ter\b|entropy|divergence", re.IGNORECASE
)
_LARGER = re.compile(
    r"acc|f1|f_?beta|precision|recall|auc|bleu|rouge|meteor|score|exact|iou|dice|r2|map\b",
    re.IGNORECASE,
)


def checked_mode(mode: str | None) -> Mode | None:
    """``'min'``, ``'max'`` or ``None``.

    Raises:
        LoopValueError: For anything else.
    """
    if mode not in (None, "min", "max"):
        msg = f"mode must be 'min' or 'max', got {mode!r}."
        raise LoopValueError(msg)
    return mode  # type: ignore[return-value]  # looked at above


def known_direction(metric: str) -> Mode | None:
    """The direction of a metric whose name tells it; ``None`` for any other."""
    if _SMALLER.search(metric):
        return "min"
    return "max" if _LARGER.search(metric) else None


def direction_of(metric: str) -> Mode:
    """As `known_direction`; another metric is to be large, as in AIToolbox. The log says so."""
    known = known_direction(metric)
    if known is None:
        _log.warning(
            "larger values of %r are taken for better; say the mode if they are not", metric
        )
    else:
        which = "smaller" if known == "min" else "larger"
        _log.info("%s values of %r are better, by the words of its name", which, metric)
    return known or "max"
