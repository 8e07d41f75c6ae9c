"""Runs as short summaries: what a list, a comparison or a filter over many runs needs to know."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tt_experiment import _json
from tt_experiment.errors import QueryError, RunFolderError

if TYPE_CHECKING:
    from tt_experiment.folder import ExperimentFolder

__all__ = [
    "MetricSummary",
    "RunSummary",
    "direction",
    "find_runs",
    "is_run",
    "run_folders",
    "select",
    "summarise",
]

Scalar = str | int | float | bool | None
_EXACT = 1 << 1023  # what a float can hold at all
_MAX_BYTES = 64 << 20  # a file of facts that is larger was not written by us


class MetricSummary(NamedTuple):
    """A curve in a few numbers. NaN counts as a value, and is never the lowest or highest."""

    points: int
    first_step: int
    last_step: int
    last: float
    min: float
    """NaN if all values are."""
    min_step: int
    max: float
    max_step: int

    def best(self, mode: Literal["min", "max"]) -> float:
        """The lowest or highest value; NaN if all values are."""
        return self.min if mode == "min" else self.max

    def best_step(self, mode: Literal["min", "max"]) -> int:
        """Step of the best value, the first of equals."""
        return self.min_step if mode == "min" else self.max_step


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What is known of a run without opening its checkpoints."""

    path: Path
    id: str
    project: str
    experiment: str
    status: str
    """As in ``run.json``; ``damaged`` where that cannot be read."""
    created: str
    ended: str | None
    attempts: int
    parent: str | None
    hyperparams: Mapping[str, Scalar] = field(default_factory=dict)
    """Nested ones with dots; lists as JSON text."""
    metrics: Mapping[str, MetricSummary] = field(default_factory=dict)
    results: Mapping[str, float] = field(default_factory=dict)
    """``package/metric``; what is nested deeper has more slashes."""
    problems: tuple[str, ...] = ()
    """Files that are missing or could not be read."""

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.path.name


@cache
def direction(metric: str) -> Literal["min", "max"]:
    """Whether a metric is to be small or large, told by its name; large if that tells nothing."""
    from tt_loop.api import known_direction  # here: it brings torch, and few callers need it

    return known_direction(metric.rpartition("/")[2]) or known_direction(metric) or "max"


def is_run(path: Path) -> bool:
    """Whether a folder is a run of ours, whole or not."""
    return (path / "run.json").is_file()


def find_runs(root: Path | str) -> list[Path]:
    """Folders of the runs below a root, ordered by project and name.

    Args:
        root: Folder of all projects, of one project, or a run. Links are not followed.
    """
    return [Path(path) for path in run_folders(root) if _has_run_file(path)]


def run_folders(root: Path | str) -> list[str]:
    """Folders that may be runs, in order; as text, for there may be ten thousand of them."""
    top = os.path.abspath(root)  # noqa: PTH100 - see the docstring
    if _has_run_file(top):
        return [top]
    found = []
    for folder in _folders(top):
        found += [folder] if _has_run_file(folder) else _folders(folder)
    return sorted(found)


def _has_run_file(path: str) -> bool:
    return os.path.isfile(f"{path}/run.json")  # noqa: PTH113 - as above


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [
                entry.path
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:  # it vanished, or is not ours to read
        return []


def select(root: Path | str, name: str) -> Path:
    """The run that is meant: a path, a folder name, an ``id``, or a beginning of one of these.

    Args:
        root: As for `find_runs`.
        name: A whole name goes before a beginning. ``project/folder`` tells two projects apart.

    Raises:
        QueryError: No run is meant, or more than one.
    """
    if name and (is_run(Path(name)) or Path(name, "MANIFEST.json").is_file()):
        return Path(name).absolute()
    runs = find_runs(root)
    for matches in (_by_name(runs, name), _by_id(runs, name)):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise QueryError(_ambiguous(name, matches))
    raise QueryError(_unknown(root, name, runs))


def _by_name(runs: list[Path], name: str) -> list[Path]:
    def labels(path: Path) -> tuple[str, str]:
        return path.name, f"{path.parent.name}/{path.name}"

    whole = [path for path in runs if name in labels(path)]
    begun = [path for path in runs if name and any(t.startswith(name) for t in labels(path))]
    return whole or begun


def _by_id(runs: list[Path], name: str) -> list[Path]:
    ids = {path: str(_facts(path / "run.json", []).get("id", "")) for path in runs}
    return [path for path in runs if name and ids[path].startswith(name)]


def _ambiguous(name: str, matches: list[Path]) -> str:
    shown = "".join(f"\n  {path.parent.name}/{path.name}" for path in matches[:10])
    more = f"\n  and {len(matches) - 10} more" if len(matches) > 10 else ""
    return f"a run must be named so that one is meant. {name!r} means {len(matches)}:{shown}{more}"


def _unknown(root: Path | str, name: str, runs: list[Path]) -> str:
    import difflib

    close = difflib.get_close_matches(name, [path.name for path in runs], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else f"there are {len(runs)} runs"
    rule = "a run is named by its folder, its id or a beginning of these"
    return f"{rule}. Got {name!r}: {hint} in {root}"


def summarise(folder: ExperimentFolder | Path | str) -> RunSummary:
    """What a run's files say of it. A damaged run gives what there is, and ``problems``.

    Raises:
        RunFolderError: There is no such folder.
    """
    path = Path(folder if isinstance(folder, str | Path) else folder.path).absolute()
    if not path.is_dir():
        msg = f"a run is a folder. Got {path}"
        raise RunFolderError(msg)
    problems: list[str] = []
    run = _facts(path / "run.json", problems)
    attempts = _list(run.get("attempts"))
    last = attempts[-1] if attempts and isinstance(attempts[-1], dict) else {}
    results = _facts(path / "results" / "results.json", problems, missing_is_fine=True)
    return RunSummary(
        path=path,
        id=_text(run.get("id")),
        project=_text(run.get("project", path.parent.name)),
        experiment=_text(run.get("experiment", path.name)),
        status=_text(run.get("status", "damaged")),
        created=_text(run.get("created")),
        ended=_text(last["ended"]) if last.get("ended") else None,
        attempts=len(attempts),
        parent=_text(run["parent"]) if run.get("parent") else None,
        hyperparams=_hyperparams(path, problems),
        metrics=_metrics(path, problems) or _of_savers(results.get("training_history")),
        results=_results(results),
        problems=tuple(problems),
    )


def _facts(path: Path, problems: list[str], *, missing_is_fine: bool = False) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            problems.append(f"{path.name}: larger than {_MAX_BYTES} bytes")
            return {}
        return _json.load_object(path.read_bytes())
    except FileNotFoundError:
        if not missing_is_fine:
            problems.append(f"{path.name}: missing")
    except (OSError, ValueError) as error:
        problems.append(f"{path.name}: {error}")
    return {}


def _hyperparams(path: Path, problems: list[str]) -> dict[str, Scalar]:
    return dict(_scalars(_facts(path / "hyperparams.json", problems, missing_is_fine=True)))


def _scalars(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _scalars(value, f"{prefix}{key}.")
        elif isinstance(value, dict | list):
            yield f"{prefix}{key}", _json.line(value)
        else:
            yield f"{prefix}{key}", value


def _metrics(path: Path, problems: list[str]) -> dict[str, MetricSummary]:
    from tt_experiment._records.reading import history, read_metrics

    try:
        curves = history(read_metrics(path))
        return {name: _summary(points) for name, points in curves.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problems.append(f"metrics: {type(error).__name__}: {error}")
        return {}


def _of_savers(history: Any) -> dict[str, MetricSummary]:
    """Curves that a loop of the user's own handed to a saver: the n-th value is that of step n."""
    lists = history.items() if isinstance(history, dict) else ()
    curves = {name: list(_points(values)) for name, values in lists if isinstance(values, list)}
    return {name: _summary(points) for name, points in curves.items() if points}


def _points(values: list[Any]) -> Iterator[tuple[int, float]]:
    for step, value in enumerate(values, 1):
        if _is_number(value):
            yield step, float(value)


def _summary(points: list[tuple[int, float]]) -> MetricSummary:
    low, low_step = _extreme(points, lambda value, best: value < best)
    high, high_step = _extreme(points, lambda value, best: value > best)
    (first, _), (last_step, last) = points[0], points[-1]
    return MetricSummary(len(points), first, last_step, last, low, low_step, high, high_step)


def _extreme(
    points: Iterable[tuple[int, float]], better: Callable[[float, float], bool]
) -> tuple[float, int]:
    best, at = math.nan, -1
    for step, value in points:
        if (math.isnan(best) and not math.isnan(value)) or better(value, best):
            best, at = value, step
    return best, at


def _results(document: Mapping[str, Any]) -> dict[str, float]:
    packages, flags = document.get("results"), document.get("nonfinite")
    numbers = dict(_numbers(packages if isinstance(packages, dict) else {}))
    for name, text in (flags if isinstance(flags, dict) else {}).items():
        if text in ("nan", "inf", "-inf"):
            numbers[name] = float(text)
    return numbers


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}/")
        elif _is_number(value):
            yield f"{prefix}{key}", float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < _EXACT)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
