"""Tests that every mergeable metric must pass, for whoever writes one.

::

    class TestMyMetric(MetricContract):
        def make_metric(self):
            return MyMetric()

        def batches(self):
            return [([0, 1], [0, 1]), ([1, 1, 0], [1, 0, 0]), ([1], [1])]
"""

from __future__ import annotations

import copy
import math
import pickle
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MetricContract"]


class MetricContract(ABC):
    """Subclass it in a test module and say how the metric is made and what it is fed.

    It asks for `update`, `merge`, `compute`, `reset` and `state`, and for `from_state` unless
    `rebuild` is overridden.
    """

    tolerance = 1e-15
    """How far, relatively, results may differ between ways to split the same data."""

    @abstractmethod
    def make_metric(self) -> Any:
        """An empty metric, the same settings each time."""

    @abstractmethod
    def batches(self) -> Sequence[tuple[Any, Any]]:
        """At least three batches: the two arguments of `update`."""

    def rebuild(self, state: Mapping[str, Any]) -> Any:
        """A metric made from a state."""
        return type(self.make_metric()).from_state(state)

    def _filled(self, batches: Sequence[tuple[Any, Any]]) -> Any:
        metric = self.make_metric()
        for first, second in batches:
            metric.update(first, second)
        return metric

    def _expect_equal(self, metric: Any, expected: Mapping[str, float]) -> None:
        results = metric.compute()
        assert results.keys() == expected.keys()
        for name, value in expected.items():
            both_undefined = math.isnan(results[name]) and math.isnan(value)
            close = both_undefined or math.isclose(results[name], value, rel_tol=self.tolerance)
            assert close, f"{name}: {results[name]!r} instead of {value!r}"

    def test_merging_shards_in_any_order_gives_the_result_of_the_whole(self) -> None:
        batches = self.batches()
        assert len(batches) >= 3, "the law says little about fewer than three batches"
        expected = self._filled(batches).compute()
        for seed in range(20):
            draw = random.Random(seed)
            shards: list[list[tuple[Any, Any]]] = [[] for _ in range(draw.randint(2, 5))]
            for batch in batches:
                draw.choice(shards).append(batch)
            parts = [self._filled(shard) for shard in shards]  # some have seen nothing
            while len(parts) > 1:
                draw.shuffle(parts)
                parts[0].merge(parts.pop().state)
            self._expect_equal(parts[0], expected)

    def test_merging_leaves_the_other_metric_alone(self) -> None:
        first, *rest = self.batches()
        other = self._filled(rest)
        expected = other.compute()
        for one in (self.make_metric(), self._filled([first])):
            one.merge(other.state)
            one.update(*first)
            self._expect_equal(other, expected)

    def test_a_state_taken_earlier_does_not_change_later(self) -> None:
        first, *rest = self.batches()
        metric = self._filled([first])
        state, expected = metric.state, metric.compute()
        for batch in rest:
            metric.update(*batch)
        self._expect_equal(self.rebuild(state), expected)

    def test_computing_changes_nothing(self) -> None:
        first, *rest = self.batches()
        metric = self._filled([first])
        self._expect_equal(metric, metric.compute())
        for batch in rest:
            metric.update(*batch)
        self._expect_equal(metric, self._filled(self.batches()).compute())

    def test_updating_leaves_the_data_alone(self) -> None:
        batches = self.batches()
        before = pickle.dumps(copy.deepcopy(batches))
        self._filled(batches)
        assert pickle.dumps(copy.deepcopy(batches)) == before

    def test_reset_forgets_all_data(self) -> None:
        first, *rest = self.batches()
        metric = self._filled(rest)
        metric.reset()
        metric.update(*first)
        self._expect_equal(metric, self._filled([first]).compute())

    def test_without_data_there_is_no_result(self) -> None:
        try:
            results = self.make_metric().compute()
        except (RuntimeError, ValueError):
            return
        msg = f"compute() of an empty metric must raise; it returned {results!r}"
        raise AssertionError(msg)

    def test_a_state_survives_pickling(self) -> None:
        metric = self._filled(self.batches())
        state = pickle.loads(pickle.dumps(metric.state))
        self._expect_equal(self.rebuild(state), metric.compute())

    def test_a_metric_made_from_a_state_goes_on(self) -> None:
        first, *rest = self.batches()
        metric = self.rebuild(self._filled([first]).state)
        for batch in rest:
            metric.update(*batch)
        self._expect_equal(metric, self._filled(self.batches()).compute())
