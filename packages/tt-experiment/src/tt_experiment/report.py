"""``results/report.html``: one page that tells what a run was, and needs nothing but itself.

Everything on it comes from the run's folder. What others named is text, never markup; the page
loads nothing, and its content security policy lets nothing run but its own script, which makes the
charts and tables answer. Without a script, and on paper, the same page shows the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tt_experiment import _json
from tt_experiment._checkpoint.entries import Entry, scan
from tt_experiment._checkpoint.pins import read_pins
from tt_experiment._durable import make_directories, replace_file
from tt_experiment._records.reading import failure, read_events
from tt_experiment._report import run, source, story
from tt_experiment._report.columns import Columns, of_history, read_columns, read_samples
from tt_experiment._report.curves import Drawn, curves
from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.page import Part, page
from tt_experiment._report.results import found_results, intervals_in, result_cards
from tt_experiment.errors import CorruptCheckpoint, FormatVersionError
from tt_experiment.folder import ExperimentFolder, run_files

__all__ = ["write_report"]

_log = logging.getLogger(__name__)
_NOTHING = Drawn(None, {"axes": [], "charts": [], "marks": []})
T = TypeVar("T")


def write_report(folder: ExperimentFolder) -> Path:
    """Write the report of a run, finished or not, from the files in its folder.

    What is damaged is named on the page, which shows the rest.

    Raises:
        RunFolderError: The folder has no ``run.json``.
    """
    report = _Report(folder)
    content = report.page()
    make_directories(folder.results)
    replace_file(folder.report_file, content)
    return folder.report_file


class _Report:
    """Reads a run's files, and puts the page together."""

    def __init__(self, folder: ExperimentFolder) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.run = folder.run()
        self.document = self._read(folder.results_file)
        self.columns = self._part(self._metrics) or of_history({})
        self.entries, self.damaged = self._part(self._scan) or ([], [])
        self.pinned = self._part(lambda: read_pins(folder.checkpoints)) or {}
        self.events = self._part(lambda: read_events(folder.events_file)) or []

    def page(self) -> bytes:
        """The whole page."""
        drawn, system = self._part(self._curves) or _NOTHING, self._part(self._system) or _NOTHING
        parts = [
            Part("Results", self._part(self._results)),
            Part("Learning curves", _with_tools(drawn.content)),
            Part("Hyperparameters", self._part(self._hyperparams)),
            Part("Checkpoints", self._part(self._checkpoint_table)),
            Part("Attempts", self._part(self._attempts)),
            Part("System", system.content),
            Part("Environment", self._part(self._environment)),
            Part("Events", self._part(self._events)),
            Part("Files", self._part(self._files)),
        ]
        tiles = self._part(self._tiles)
        ended = failure(str(self.run.get("status")), self.events)
        told = [*([ended] if ended else []), *self.problems]
        header = join([run.header(self.run, self.columns, told), tiles or ""])
        title = f"{self.run.get('experiment')} · {self.run.get('project')}"
        return page(title, header, parts, _together(drawn, system))

    def _part(self, make: Callable[[], T]) -> T | None:
        """One part of the page; if a strange file makes it fail, the others are shown."""
        try:
            return make()
        except Exception as error:  # the page is for looking at what went wrong, too
            _log.warning("a part of the report of %s is left out", self.folder.path, exc_info=True)
            self.problems.append(f"A part of this page could not be made: {error}")
            return None

    def _metrics(self) -> Columns:
        columns = read_columns(self.folder.metrics)
        kept = self.document.get("training_history")
        return columns if columns.curves or not isinstance(kept, dict) else of_history(kept)

    def _curves(self) -> Drawn:
        return curves(self.columns, [entry.step for entry in self.entries])

    def _system(self) -> Drawn:
        return curves(read_samples(self.folder.path / "system", self.columns), [], "system")

    def _tiles(self) -> Markup:
        return run.tiles(self.run, self.columns, *self._found())

    def _found(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return found_results(self.document), intervals_in(self.document)

    def _results(self) -> Markup | None:
        return result_cards(*self._found())

    def _hyperparams(self) -> Markup | None:
        return source.hyperparams(self._read(self.folder.hyperparams_file))

    def _checkpoint_table(self) -> Markup | None:
        return run.checkpoints(self.entries, self.pinned, self.damaged)

    def _attempts(self) -> Markup | None:
        return story.attempts(self.run, self.columns)

    def _environment(self) -> Markup | None:
        return source.environment(
            self.run.get("versions"),
            self._read(self.folder.environment_file),
            self._read(self.folder.git_file),
            self._read(self.folder.data_file),
            self.folder.path / "git.diff",
        )

    def _events(self) -> Markup | None:
        return story.events(self.events)

    def _files(self) -> Markup | None:
        paths = [p for p in run_files(self.folder.path) if p != self.folder.report_file]
        return source.files(self.folder.path, paths)

    def _read(self, path: Path) -> dict[str, Any]:
        """A JSON file; one that is damaged is told."""
        try:
            return _json.load_object(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self.problems.append(f"{path.name} is damaged: {error}")
            return {}

    def _scan(self) -> tuple[list[Entry], list[CorruptCheckpoint | FormatVersionError]]:
        try:
            entries, damaged = scan(self.folder.checkpoints)
        except FormatVersionError as error:
            return [], [error]
        return entries, [*damaged]


def _with_tools(charts: Markup | None) -> Markup | None:
    """The charts below what sets all of them."""
    return join([tag("div", class_="tools chart-tools"), charts]) if charts else None


def _together(*drawn: Drawn) -> dict[str, Any]:
    """Data of several sections as one, for the charts of a page share their view."""
    axes: list[Any] = []
    charts: list[Any] = []
    for part in drawn:
        for chart in part.data["charts"]:
            lines = [{**line, "axis": line["axis"] + len(axes)} for line in chart["series"]]
            charts.append({**chart, "series": lines})
        axes += part.data["axes"]
    return {"axes": axes, "charts": charts, "marks": drawn[0].data["marks"]}
