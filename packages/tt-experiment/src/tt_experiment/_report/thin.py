"""Long curves as few points, none of which was not recorded and no peak of which is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["thinned"]


def thinned(values: NDArray[np.float64], limit: int) -> NDArray[np.int64]:
    """Which values to draw: the first, the last, and of each stretch the lowest and the highest.

    A stretch without any finite value keeps one of them, for the gap.

    Args:
        values: In order of their steps.
        limit: How many may stay; at least 8.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    stretches = np.array_split(np.arange(1, len(values) - 1), max(1, (limit - 2) // 2))
    kept = [0, len(values) - 1]
    for stretch in stretches:
        finite = stretch[np.isfinite(values[stretch])]
        if finite.size:
            kept += [finite[values[finite].argmin()], finite[values[finite].argmax()]]
        else:
            kept.append(stretch[0])
    return np.unique(np.asarray(kept, np.int64))
