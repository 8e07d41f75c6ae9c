"""One page that compares runs: what differs between them, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tt_experiment._durable import make_directories, replace_file
from tt_experiment._report.comparison_curves import overlaid
from tt_experiment._report.comparison_runs import Group, Run, Score, grouped, read_runs, scores_of
from tt_experiment._report.comparison_tables import differences, groups_table, leaderboard
from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.page import Part, page
from tt_experiment._report.parallel import parallel
from tt_experiment._report.parts import date
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.folder import ExperimentFolder

__all__ = ["write_comparison"]


def write_comparison(
    runs: Sequence[ExperimentFolder | Path], target: Path, *, title: str = "Comparison of runs"
) -> Path:
    """Write a page like the report of a run, for several: two to some hundreds.

    It ranks the runs, puts those together that differ in their seed alone (mean and Student's 95 %
    interval), lists what differs, and draws curves over each other. Links to the reports of the
    runs are relative to the page.

    Args:
        runs: The runs, or their folders.
        target: The file to write; its folder is made if need be.
        title: What stands on top.

    Raises:
        ExperimentSetupError: There is no run to compare.
        RunFolderError: One of the folders is not there.
    """
    if not runs:
        msg = "a comparison needs runs. Got none"
        raise ExperimentSetupError(msg)
    target = Path(target).absolute()
    read = read_runs(runs)
    groups, scores = grouped(read), scores_of(read)
    drawn = overlaid(read, groups)
    tools = tag("div", class_="tools chart-tools")
    parts = [
        Part("Leaderboard", leaderboard(read, scores, target)),
        Part("Settings", groups_table(groups, scores)),
        Part("Hyperparameters and results", parallel(read, scores)),
        Part("Learning curves", join([tools, drawn.content]) if drawn.content else None),
        Part("Differences", differences(read)),
    ]
    content = page(title, _header(title, read, groups, scores), parts, drawn.data)
    make_directories(target.parent)
    replace_file(target, content)
    return target


def _header(
    title: str, runs: Sequence[Run], groups: Sequence[Group], scores: Sequence[Score]
) -> Markup:
    created = sorted(run.summary.created for run in runs if run.summary.created)
    facts = [
        tag("span", tag("b", len(runs)), " runs"),
        tag("span", tag("b", len(groups)), " settings"),
        tag("span", "from ", tag("b", date(created[0])), " to ", tag("b", date(created[-1])))
        if created
        else "",
        tag("span", "ranked by ", tag("b", _ranked_by(scores))),
    ]
    problems = [f"{run.name}: {problem}" for run in runs for problem in run.summary.problems]
    alerts = tag("ul", *(tag("li", problem) for problem in problems[:20]), class_="alerts")
    projects = sorted({run.summary.project for run in runs})
    crumb = tag("p", ", ".join(projects[:5]), class_="crumb")
    return tag(
        "header",
        crumb,
        tag("h1", title),
        tag("p", *facts, class_="facts"),
        alerts if problems else "",
    )


def _ranked_by(scores: Sequence[Score]) -> str:
    return next((score.label for score in scores if score.mode), "nothing")
