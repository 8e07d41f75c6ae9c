"""Drawing data sets anew: how often each kind of item comes up, and the results that this gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_whole, is_number
from tt_metrics._core.state import Kinds, State
from tt_metrics._core.value import flattened
from tt_metrics._errors import MetricError, MetricInputError, MetricStateError

if TYPE_CHECKING:
    from tt_metrics._core.metric import Metric

__all__ = [
    "Bootstrap",
    "Counts",
    "Floats",
    "check_defined",
    "check_unchanged",
    "checked_confidence",
    "checked_n_resamples",
    "coin_flips",
    "generator",
    "numbers_of",
    "percentiles",
    "replicates",
    "rows_per_block",
]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

BLOCK = 1 << 22  # entries drawn at a time: 32 MiB
MULTINOMIAL_COST = 20  # what drawing one count costs, in items drawn one by one
MOST_UNDEFINED = 0.05  # share of drawn data sets that may have no result


def checked_confidence(confidence: float) -> float:
    """Refuse a confidence that is no probability."""
    if not (is_number(confidence) and 0 < confidence < 1):
        msg = f"confidence must be between 0 and 1, such as 0.95; it is {confidence!r}."
        raise MetricInputError(msg)
    return float(confidence)


def checked_n_resamples(n_resamples: int) -> int:
    """Refuse a number of draws that is none."""
    return as_whole(n_resamples, "n_resamples", 1)


def generator(seed: int) -> np.random.Generator:
    """The source of all draws: the same seed gives the same draws on every machine."""
    return np.random.Generator(np.random.PCG64(as_whole(seed, "seed", 0)))


def rows_per_block(total: int, width: int) -> Iterator[int]:
    """Split ``total`` rows of ``width`` entries into blocks that fit in memory."""
    step = max(1, BLOCK // max(1, width))
    for start in range(0, total, step):
        yield min(step, total - start)


class Bootstrap:
    """Draws as many items as there are, with replacement (B. Efron, Annals of Statistics 7, 1979).

    How often each kind is drawn is multinomial, so items of one kind need not be told apart: the
    distribution is that of drawing items one by one, and the cost depends on the kinds alone.

    Args:
        multiplicity: How many items of each kind there are, shape (m,).
    """

    def __init__(self, multiplicity: Counts) -> None:
        self._size = len(multiplicity)
        self._present = np.flatnonzero(multiplicity)
        self._counts = multiplicity[self._present]
        self._total = int(self._counts.sum())
        self._by_item = self._total < MULTINOMIAL_COST * len(self._present)

    def times(
        self, n_resamples: int, rng: np.random.Generator, *, width: int = 0
    ) -> Iterator[Counts]:
        """Give how often each kind was drawn, in blocks of shape (b, m).

        Args:
            n_resamples: The number of rows in all blocks.
            rng: The source of the draws.
            width: How many entries the caller makes of each row.
        """
        width = max(width, self._size, self._total if self._by_item else 0)
        for rows in rows_per_block(n_resamples, width):
            drawn = self._drawn_items(rows, rng) if self._by_item else self._drawn_counts(rows, rng)
            if len(self._present) == self._size:
                yield drawn
                continue
            times = np.zeros((rows, self._size), np.int64)
            times[:, self._present] = drawn
            yield times

    def _drawn_counts(self, rows: int, rng: np.random.Generator) -> Counts:
        return rng.multinomial(self._total, self._counts / self._total, rows)

    def _drawn_items(self, rows: int, rng: np.random.Generator) -> Counts:
        kinds = len(self._present)
        chosen = rng.integers(self._total, size=(rows, self._total))
        if kinds < self._total:
            chosen = np.repeat(np.arange(kinds), self._counts)[chosen]
        chosen += np.arange(rows)[:, None] * kinds
        return np.bincount(chosen.ravel(), minlength=rows * kinds).reshape(rows, kinds)


def coin_flips(sizes: Counts, rows: int, rng: np.random.Generator) -> Counts:
    """How many of ``sizes`` fair coins come up heads, ``rows`` times: shape (rows, len(sizes))."""
    if (sizes != 1).any():
        return rng.binomial(sizes, 0.5, (rows, len(sizes)))
    words = rng.integers(1 << 64, size=(rows, -(-len(sizes) // 64)), dtype=np.uint64)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=len(sizes))
    return bits.astype(np.int64)


def numbers_of(metric: Metric[Any], state: State) -> dict[str, float]:
    """The result of a state by key, flat; the key of a result that is one number is ""."""
    result = metric.result_of(state)
    return _flat(metric, result) if isinstance(result, Mapping) else {"": _number(metric, result)}


def _flat(metric: Metric[Any], result: Mapping[str, Any]) -> dict[str, float]:
    return {key: _number(metric, value) for key, value in flattened(result).items()}


def _number(metric: Metric[Any], value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        msg = (
            "Intervals and comparisons are for results that are numbers, or dicts of numbers; that "
            f"of {metric.metric_name} holds {type(value).__name__}."
        )
        raise MetricInputError(msg) from None


def check_unchanged(metric: Metric[Any], kinds: Kinds) -> None:
    """Refuse items that give another result than the metric's own state.

    A metric refers to the arrays that its constructor was given; somebody may have filled them
    again since.
    """
    worker = metric.of(metric._state)
    times = np.bincount(kinds.index, minlength=kinds.size)
    found, own = (numbers_of(worker, one) for one in (next(kinds.draw(times[None])), metric._state))
    if not np.allclose(list(found.values()), list(own.values()), 1e-6, 1e-9, equal_nan=True):
        msg = (
            f"The items must be those that {metric.metric_name} was made from; they give {found}, "
            f"and the metric {own}. Arrays given to the constructor must not be changed before."
        )
        raise MetricStateError(msg)


def replicates(metric: Metric[Any], states: Iterable[State], keys: Iterable[str]) -> Floats:
    """Compute the results of drawn states, shape (B, len(keys)); nan where there is none.

    A drawn data set has no result where the metric refuses it, such as an area under a curve
    without positive items, or where a label of a result by label did not come up.
    """
    wanted = list(keys)
    rows = []
    for state in states:
        try:
            numbers = numbers_of(metric, state)
        except MetricError:
            numbers = {}
        rows.append([numbers.get(key, np.nan) for key in wanted])
    return np.array(rows, np.float64).reshape(-1, len(wanted))


def percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    """The middle part of some replicates; nan where more than 5 % of them are undefined.

    Undefined ones are left out: the interval is about data sets that have a result.
    """
    defined = values[~np.isnan(values)]
    if len(defined) < (1 - MOST_UNDEFINED) * len(values):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def check_defined(values: Floats, what: str) -> None:
    """Refuse replicates of which more than 5 % are undefined."""
    undefined = int(np.isnan(values).sum())
    if undefined > MOST_UNDEFINED * len(values):
        msg = (
            f"{what} needs a result in at least 95 % of the drawn data sets; {undefined} of "
            f"{len(values)} have none. There are too few items of some kind: collect more."
        )
        raise MetricInputError(msg)
