"""Which checkpoints are the best so far, as they come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tt_experiment.retention import BestPolicy, Retention

__all__ = ["BestSoFar"]


class BestSoFar:
    """Watches checkpoints for those that are the best by the rules of a retention.

    Args:
        retention: Its rules by the best count; the first of each metric says what is better.
    """

    def __init__(self, retention: Retention | BestPolicy | None) -> None:
        rule = Retention(best=retention) if isinstance(retention, BestPolicy) else retention
        policies = rule.policies if rule is not None else ()
        self._modes: dict[str, str] = {}
        for policy in policies:
            self._modes.setdefault(policy.metric, policy.mode)
        self._values: dict[str, float] = {}

    def recall(self, events: Iterable[Mapping[str, Any]], step: int) -> None:
        """Know what earlier attempts found up to the step from which the run goes on."""
        for event in events:
            data = event.get("data") if event.get("kind") == "best" else None
            if isinstance(data, dict) and data.get("step", math.inf) <= step:
                self._values[str(data.get("metric"))] = float(data.get("value", math.nan))

    def found(self, step: int, scores: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        """What there is to tell of a new checkpoint: for each metric by which it is the best."""
        for metric, mode in self._modes.items():
            value, sign = scores.get(metric, math.nan), 1.0 if mode == "min" else -1.0
            if math.isnan(value) or sign * value >= sign * self._values.get(
                metric, sign * math.inf
            ):
                continue
            self._values[metric] = value
            yield {"step": step, "metric": metric, "mode": mode, "value": value}
