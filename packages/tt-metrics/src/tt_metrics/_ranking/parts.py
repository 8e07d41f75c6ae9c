"""Targets and scores in the form in which rankings are kept, and the orders found in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._ranking.inputs import Ranked, require_finite
from tt_metrics._ranking.kernels import Order

__all__ = ["Key", "Part", "arrangement", "classes", "joined", "order_of", "part_of"]

Array = NDArray[Any]
Weights = NDArray[np.float64] | None

Key = tuple[Literal["rest"], int] | tuple[Literal["pair"], int, int] | tuple[Literal["all"]]
"""Which ranking: one class against the rest, against one other, or all columns in one."""

BLOCK = 1 << 16  # items copied at a time, so that work arrays stay in the CPU's cache


class Part(NamedTuple):
    """Some items. Of two classes, negatives come before positives and each by ascending score."""

    targets: Array
    scores: Array
    weights: Weights


def classes(scores: Array) -> int:
    """The number of classes that scores are for."""
    return 2 if scores.ndim == 1 else scores.shape[1]


def part_of(ranked: Ranked, weights: Weights) -> Part:
    """Bring a batch into the form that is kept; nothing of it is shared.

    Raises:
        MetricInputError: A score is not finite.
    """
    targets, scores = ranked
    if scores.ndim == 2:
        require_finite(scores)
        return Part(targets, scores.copy(), weights)
    if weights is not None:
        require_finite(scores)
        order = arrangement(targets, scores)
        return Part(targets[order], scores[order], weights[order])
    part = _sorted([targets], [scores])
    split = _split(part)
    if not np.isfinite(part.scores[[0, split - 1, split % len(scores), -1]]).all():
        require_finite(scores)  # nan comes last in each class, so the ends tell
    return part


def arrangement(targets: Array, scores: Array) -> Array:
    """Where the items of a `Part` stand in the data that it was made from."""
    sides = (np.flatnonzero(~targets), np.flatnonzero(targets))
    return np.concatenate([side[np.argsort(scores[side])] for side in sides])


def joined(parts: Sequence[Part]) -> Part:
    """All items of several parts as one."""
    weights = _joined_weights(parts)
    targets, scores = [part.targets for part in parts], [part.scores for part in parts]
    if weights is None and scores[0].ndim == 1:
        return _sorted(targets, scores)
    ranked = Ranked(np.concatenate(targets), np.concatenate(scores))
    return Part(*ranked, weights) if scores[0].ndim == 2 else part_of(ranked, weights)


def _sorted(targets: Sequence[Array], scores: Sequence[Array]) -> Part:
    """Copy the scores of two classes into one array, each class sorted in place."""
    items = sum(map(len, scores))
    split = items - sum(int(np.count_nonzero(target)) for target in targets)
    ordered, above = np.empty(items, np.result_type(*scores)), np.zeros(items, np.bool_)
    above[split:] = True
    low, high = 0, split
    for target, values in zip(targets, scores, strict=True):
        for start in range(0, len(values), BLOCK):
            positive, block = target[start : start + BLOCK], values[start : start + BLOCK]
            chosen = block[np.flatnonzero(positive)]
            ordered[high : high + len(chosen)] = chosen
            high += len(chosen)
            chosen = block[np.flatnonzero(~positive)]
            ordered[low : low + len(chosen)] = chosen
            low += len(chosen)
    ordered[:split].sort()
    ordered[split:].sort()
    return Part(above, ordered, None)


def _split(part: Part) -> int:
    """How many negatives there are."""
    return len(part.targets) - int(np.count_nonzero(part.targets))


def _joined_weights(parts: Sequence[Part]) -> Weights:
    if all(part.weights is None for part in parts):
        return None
    return np.concatenate(
        [np.ones(len(part.scores)) if part.weights is None else part.weights for part in parts]
    )


def order_of(part: Part, key: Key, with_items: bool) -> Order:
    """Sort one ranking of a part; with_items says where each score's weight stands."""
    if part.scores.ndim == 1:
        negatives, positives = slice(_split(part)), slice(_split(part), None)
        return Order(part.scores[negatives], part.scores[positives], negatives, positives)
    positive, negative, scores = _sides(part, key)
    if not with_items:
        return Order(np.sort(scores[negative]), np.sort(scores[positive]))
    below, above = (side[np.argsort(scores[side])] for side in (negative, positive))
    per_item = part.scores.shape[1] if key == ("all",) else 1
    return Order(scores[below], scores[above], below // per_item, above // per_item)


def _sides(part: Part, key: Key) -> tuple[Array, Array, Array]:
    """Where positives and negatives of a ranking stand, and all its scores."""
    targets, scores = part.targets, part.scores
    if key[0] == "pair":
        return (
            np.flatnonzero(targets == key[1]),
            np.flatnonzero(targets == key[2]),
            scores[:, key[1]],
        )
    if key[0] == "rest":
        positive = targets == key[1] if targets.ndim == 1 else targets[:, key[1]]
        return np.flatnonzero(positive), np.flatnonzero(~positive), scores[:, key[1]]
    if targets.ndim == 1:
        targets = targets[:, None] == np.arange(scores.shape[1])
    return np.flatnonzero(targets), np.flatnonzero(~targets), scores.ravel()
