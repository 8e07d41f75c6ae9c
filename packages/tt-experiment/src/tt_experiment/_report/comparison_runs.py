"""What a comparison knows of its runs: summaries, scores, and which differ in their seed alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tt_experiment import _json
from tt_experiment._report.metric_names import is_validation
from tt_experiment._report.svg import COLOURS
from tt_experiment._runs.seeds import groups_of_seeds, varying
from tt_experiment.folder import ExperimentFolder
from tt_experiment.runs import RunSummary, summarise
from tt_loop.api import known_direction

__all__ = ["Group", "Run", "Score", "grouped", "read_runs", "scores_of"]

_MAX_RESULTS, _MAX_METRICS, _OF_EACH = 4, 2, 2


@dataclass
class Run:
    """One run of a comparison."""

    key: str
    """How the page's scripts call it."""
    summary: RunSummary
    facts: Mapping[str, Any]
    """What git and the environment say, by name."""
    colour: int = 0

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.summary.name


class Group(NamedTuple):
    """Runs whose hyperparameters are equal, seeds aside."""

    key: str
    name: str
    runs: Sequence[Run]


class Score(NamedTuple):
    """A number by which runs are compared."""

    over: str
    """What it belongs to, or which value of a metric it is."""
    name: str
    mode: Literal["min", "max"] | None
    """None where the name does not tell what is better."""
    values: Mapping[str, float]
    """By key of the run."""

    @property
    def label(self) -> str:
        """Both as one."""
        return f"{self.over} {self.name}"

    def best(self) -> float | None:
        """The best of all runs."""
        finite = [value for value in self.values.values() if math.isfinite(value)]
        if self.mode is None or not finite:
            return None
        return min(finite) if self.mode == "min" else max(finite)


def read_runs(paths: Sequence[ExperimentFolder | Path]) -> list[Run]:
    """Read what is compared; a damaged run gives what there is."""
    runs = []
    for i, given in enumerate(paths):
        path = given.path if isinstance(given, ExperimentFolder) else Path(given).absolute()
        runs.append(Run(f"run-{i}", summarise(path), _facts(path)))
    return runs


def _facts(path: Path) -> dict[str, Any]:
    git, machine, run = (_object(path / f"{n}.json") for n in ("git", "environment", "run"))
    packages = machine.get("packages") or run.get("versions") or {}
    facts = {f"git {name}": git[name] for name in ("commit", "branch") if name in git}
    facts |= {"python": machine["python"]} if "python" in machine else {}
    if isinstance(packages, dict):
        facts |= {f"package {name}": version for name, version in packages.items()}
    return facts


def _object(path: Path) -> dict[str, Any]:
    try:
        return _json.load_object(path.read_bytes())
    except (OSError, ValueError):  # not written, or damaged: the summary tells
        return {}


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Put runs together that differ in their seeds alone, and give all of them their colours."""
    of_summary = {id(run.summary): run for run in runs}
    found = groups_of_seeds([run.summary for run in runs])
    names = varying([common for common, _ in found])
    groups = []
    for i, (common, summaries) in enumerate(found):
        members = [of_summary[id(summary)] for summary in summaries]
        told = [f"{name} {common[name]}" for name in names if name in common]
        groups.append(
            Group(f"group-{i}", ", ".join(told) or members[0].summary.experiment, members)
        )
    together = any(len(group.runs) > 1 for group in groups)
    for i, group in enumerate(groups):
        for run in group.runs:
            run.colour = (i if together else runs.index(run)) % COLOURS
    return groups


def scores_of(runs: Sequence[Run]) -> list[Score]:
    """The numbers that runs are compared by: results, then the best values of metrics.

    Validation goes before training, and what more runs have before what fewer have.
    """
    summaries = [run.summary for run in runs]
    results = _names([s.results for s in summaries], lambda name: name.count("/") == 1)
    curves = _names([s.metrics for s in summaries], lambda name: known_direction(name) is not None)
    curves.sort(key=lambda name: not is_validation(name))
    found = [
        Score(package, name, known_direction(name), _results(runs, f"{package}/{name}"))
        for package, _, name in (
            name.rpartition("/") for name in _some_of_each(results)[:_MAX_RESULTS]
        )
    ]
    for name in curves[:_MAX_METRICS]:
        mode = known_direction(name)
        if mode:
            word = "lowest" if mode == "min" else "highest"
            found.append(Score(word, name, mode, _bests(runs, name, mode)))
    return found


def _some_of_each(results: Sequence[str]) -> list[str]:
    """The first two results of each package, then the others."""
    seen: dict[str, int] = {}
    places = []
    for name in results:
        package = name.partition("/")[0]
        seen[package] = seen.get(package, 0) + 1
        places.append(seen[package] > _OF_EACH)
    return [name for _, name in sorted(zip(places, results, strict=True), key=lambda pair: pair[0])]


def _names(mappings: Sequence[Mapping[str, Any]], wanted: Callable[[str], bool]) -> list[str]:
    counts: dict[str, int] = {}
    for mapping in mappings:
        for name in filter(wanted, mapping):
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: -counts[name])


def _results(runs: Sequence[Run], name: str) -> dict[str, float]:
    return {r.key: float(r.summary.results[name]) for r in runs if name in r.summary.results}


def _bests(runs: Sequence[Run], name: str, mode: Literal["min", "max"]) -> dict[str, float]:
    having = (run for run in runs if name in run.summary.metrics)
    return {run.key: run.summary.metrics[name].best(mode) for run in having}
