"""Intervals that a result package knows of its numbers, for ``results.json``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from tt_experiment._json import plain

__all__ = ["intervals_of"]

_log = logging.getLogger(__name__)
_KEPT = ("low", "high", "method", "count")


def intervals_of(package: object) -> dict[str, dict[str, Any]]:
    """What ``package.report().to_dict()`` says of how sure each number is.

    It has ``confidence`` and ``sections`` with ``numbers``: ``name``, ``low``, ``high``,
    ``method``, ``count``. A package without such a report has no intervals; one that fails costs a
    log line.
    """
    report = getattr(package, "report", None)
    if not callable(report):
        return {}
    try:
        document = plain(report().to_dict())
        return dict(_intervals(document))
    except Exception as error:  # the results are worth more than how sure they are
        _log.warning("no intervals for %s: %s", type(package).__name__, error)
        return {}


def _intervals(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in document["sections"]:
        for row in section["numbers"]:
            if row.get("low") is not None and row.get("high") is not None:
                facts = {key: row[key] for key in _KEPT if row.get(key) is not None}
                yield row["name"], {**facts, "confidence": document["confidence"]}
