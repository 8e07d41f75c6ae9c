"""``results/report.html``: one page that tells what a run was, and needs nothing but itself.

Everything on it comes from the run's folder and is escaped; the page loads nothing and runs no
script, which its content security policy enforces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tt_experiment import _json
from tt_experiment._checkpoint_files import scan
from tt_experiment._durable import make_directories, replace_file
from tt_experiment._html import Markup, join, tag
from tt_experiment._report_curves import curve_cards
from tt_experiment._report_parts import card, date, flat, pairs, section, size, table
from tt_experiment._report_style import STYLE
from tt_experiment._svg import number
from tt_experiment.errors import FormatVersionError
from tt_experiment.folder import ExperimentFolder, run_files
from tt_experiment.recorder import history, read_metrics

__all__ = ["write_report"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MAX_FILES = 300


def write_report(folder: ExperimentFolder) -> Path:
    """Write the report of a run, finished or not, from the files in its folder.

    Raises:
        RunFolderError: The folder has no ``run.json``.
    """
    run = folder.run()
    title = f"{run['experiment']} · {run['project']}"
    sections = [
        section("Results", _results(folder)),
        section("Learning curves", curve_cards(history(read_metrics(folder.metrics)))),
        section("Hyperparameters", card(pairs(flat(_read(folder.hyperparams_file))))),
        section("Checkpoints", _checkpoints(folder)),
        section("Attempts", _attempts(run)),
        section("Environment", _environment(folder, run)),
        section("Files", _files(folder)),
    ]
    body = tag("main", _header(run), *(section for section in sections if section))
    make_directories(folder.results)
    replace_file(folder.report_file, _page(title, body).encode())
    return folder.report_file


def _page(title: str, body: Markup) -> str:
    head = join(
        [
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", title),
            tag("style", Markup(STYLE)),
        ]
    )
    page = tag("html", tag("head", head), tag("body", body), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _header(run: Mapping[str, Any]) -> Markup:
    attempts = run.get("attempts", [])
    ended = attempts[-1].get("ended") if attempts else None
    facts = [
        tag("span", run.get("status", "unknown"), class_=f"badge {run.get('status')}"),
        tag("span", "created ", tag("b", date(run.get("created")))),
        tag("span", "ended ", tag("b", date(ended))) if ended else "",
        tag("span", "run ", tag("code", run.get("id", ""))),
        tag("span", "from run ", tag("code", run["parent"])) if run.get("parent") else "",
    ]
    crumb = tag("p", run["project"], class_="crumb")
    return tag("header", crumb, tag("h1", run["experiment"]), tag("p", *facts, class_="facts"))


def _results(folder: ExperimentFolder) -> Markup | None:
    packages = _read(folder.results_file).get("results")
    if not isinstance(packages, dict) or not packages:
        return None
    cards = [
        tag("section", tag("h3", name), pairs(flat(values), numeric=True), class_="card")
        for name, values in packages.items()
    ]
    return tag("div", *cards, class_="grid-2")


def _checkpoints(folder: ExperimentFolder) -> Markup | None:
    try:
        entries, damaged = scan(folder.checkpoints)
    except FormatVersionError as error:
        return card(tag("p", error, class_="note"))
    if not entries and not damaged:
        return None
    names = list(dict.fromkeys(name for entry in entries for name in entry.scores))
    best = _hint(folder.checkpoints / "BEST")
    rows = [
        [
            (number(entry.step), "n"),
            *((number(entry.scores[name]) if name in entry.scores else "", "n") for name in names),
            (date(entry.manifest.facts.get("created")), None),
            (_marks(entry is entries[0], entry.path.name == best), None),
        ]
        for entry in entries
    ]
    notes = [tag("p", problem, class_="note") for problem in damaged]
    head = [("step", "n"), *((name, "n") for name in names), ("created", None), ("", None)]
    return card(table(head, rows), *notes)


def _marks(latest: bool, best: bool) -> Markup:
    words = [("latest", "running", latest), ("best", "completed", best)]
    return join(tag("span", word, class_=f"badge {style}") for word, style, on in words if on)


def _hint(path: Path) -> str:
    return path.read_text("utf-8", "replace").strip() if path.is_file() else ""


def _attempts(run: Mapping[str, Any]) -> Markup | None:
    attempts = run.get("attempts")
    if not attempts:
        return None
    rows = [
        [
            (attempt["number"], "n"),
            (number(attempt["from_step"]), "n"),
            (date(attempt["started"]), None),
            (date(attempt.get("ended")), None),
            (attempt.get("status", "no farewell"), None),
        ]
        for attempt in attempts
    ]
    head = [
        ("attempt", "n"),
        ("from step", "n"),
        ("started", None),
        ("ended", None),
        ("status", None),
    ]
    return card(table(head, rows))


def _environment(folder: ExperimentFolder, run: Mapping[str, Any]) -> Markup | None:
    environment, git = _read(folder.environment_file), _read(folder.git_file)
    packages = run.get("versions") or environment.pop("versions", {})
    environment.pop("versions", None)
    cards = [
        tag("section", tag("h3", name), pairs(flat(values)), class_="card")
        for name, values in (("Packages", packages), ("Machine", environment), ("Git", git))
        if values
    ]
    return tag("div", *cards, class_="grid-2") if cards else None


def _files(folder: ExperimentFolder) -> Markup | None:
    paths = [path for path in run_files(folder.path) if path != folder.report_file]
    rows = []
    for path in paths[:_MAX_FILES]:
        name = path.relative_to(folder.path).as_posix()
        link = tag("a", name, href="../" + quote(name, errors="replace"))
        rows.append([(link, None), (size(path.stat().st_size), "n")])
    more = len(paths) - len(rows)
    note = tag("p", f"and {more} more", class_="note") if more else ""
    summary = tag("summary", f"{len(paths)} files")
    return card(tag("details", summary, table([("file", None), ("size", "n")], rows), note))


def _read(path: Path) -> dict[str, Any]:
    try:
        return _json.load_object(path.read_bytes())
    except (OSError, ValueError):  # not written, or damaged: the page shows what there is
        return {}
