"""Filters and sort orders over runs, each as one line of text.

Filters read like this::

    val_loss < 0.3 and lr >= 1e-3 and optimizer == 'adam' and status != failed
    best.val_accuracy > 0.9 or `test loss` < 1 and not parent == none
    1e-4 <= optimizer.lr < 1e-2 and model in (resnet, 'vit b') and experiment ~ cosine

**Names** are facts of a run (``status``, ``project``, ``experiment``, ``name``, ``id``,
``created``, ``ended``, ``attempts``, ``parent``), hyperparameters (nested ones with dots), metrics
(their last value) and results (``package/metric``), looked up in this order. ``param.``,
``metric.`` and ``result.`` in front say which is meant; ``last.``, ``min.``, ``max.`` and ``best.``
which value of a metric: the best by the direction that its name tells. A name with other characters
than letters, digits and ``_ . / @`` stands in backticks.

**Values** are numbers, dates, ``true``, ``false``, ``none``, ``nan``, and text in quotes. A bare
word on the right of a comparison is text where a run has no such name. Text is compared letter by
letter; ``~`` finds text within text, in any case of letters. Values of different kinds are unequal.

**Missing values and NaN.** ``x == none`` holds for a run without ``x``, ``x == nan`` for one whose
``x`` is not a number, ``x != none`` and ``x != nan`` for those that have it (and it is one). No
other comparison with such a value holds, ``!=`` included. Sorting puts both last.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from tt_experiment._runs.filter import Parser
from tt_experiment._runs.values import Name, all_names, is_nothing
from tt_experiment.errors import QueryError
from tt_experiment.runs import RunSummary, Scalar

__all__ = ["Query", "check_names", "sort_runs"]


class Query:
    """A filter over runs.

    Args:
        text: As the module describes.

    Raises:
        QueryError: The text is no filter.

    Example:
        >>> from pathlib import Path
        >>> run = RunSummary(Path("r"), "1", "p", "e", "failed", "", None, 1, None, {"lr": 0.1})
        >>> Query("lr >= 1e-3 and status != completed").matches(run)
        True
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parser = Parser(text)
        self._test = parser.parse()
        self._asked = parser.asked

    def matches(self, run: RunSummary) -> bool:
        """Whether a run passes."""
        return self._test(run)

    def select(self, runs: Sequence[RunSummary]) -> list[RunSummary]:
        """Those that pass, in their order.

        Raises:
            QueryError: The filter asks for a name that none of the runs has.
        """
        check_names(self._asked, runs)
        return [run for run in runs if self._test(run)]


def check_names(names: Iterable[Name], runs: Sequence[RunSummary]) -> None:
    """See to it that each name is one that at least one of the runs has.

    Raises:
        QueryError: One is not; its message has those that are spelt alike.
    """
    for name in names:
        if runs and not any(name.is_known(run) for run in runs):
            close = difflib.get_close_matches(name.text, all_names(runs), n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(close)}?" if close else "`show` lists what a run has"
            msg = f"a name must be one that a run has. Got {str(name)!r}: {hint}"
            raise QueryError(msg)


def sort_runs(runs: Sequence[RunSummary], order: str) -> list[RunSummary]:
    """Runs in an order like ``-best.val_accuracy,lr``: a minus puts the largest first.

    Numbers come before text, missing values and NaN last, whichever way; equals keep their order.

    Raises:
        QueryError: It is no order, or a name is one that none of the runs has.
    """
    found = list(runs)
    for part in reversed(_parts(order)):
        name = Name.parse(part.removeprefix("-"))
        check_names([name], runs)
        found = _sorted(found, name, falling=part.startswith("-"))
    return found


def _parts(order: str) -> list[str]:
    parts = [part.strip() for part in re.findall(r"(?:`[^`]*`|[^,`])+", order)]
    if not parts or not all(part.strip("-` ") for part in parts):
        msg = f"a sort order is names with commas between them, like '-val_acc,lr'. Got {order!r}"
        raise QueryError(msg)
    return parts


def _sorted(runs: Iterable[RunSummary], name: Name, *, falling: bool) -> list[RunSummary]:
    groups: dict[str, list[tuple[Scalar, RunSummary]]] = {"number": [], "text": [], "nothing": []}
    for run in runs:
        value = name.of(run)
        kind = "text" if isinstance(value, str) else "number"
        groups["nothing" if is_nothing(value) else kind].append((value, run))
    for kind in ("number", "text"):
        groups[kind].sort(key=_first, reverse=falling)
    return [run for group in groups.values() for _, run in group]


def _first(pair: tuple[Scalar, RunSummary]) -> float | str:
    return pair[0]  # type: ignore[return-value]  # what is nothing has a group of its own
