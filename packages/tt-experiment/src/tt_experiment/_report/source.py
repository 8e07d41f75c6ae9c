"""What a report says of where a run came from: hyperparameters, code, machine, data, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tt_experiment._report.html import Markup, join, tag
from tt_experiment._report.parts import Cell, Column, card, exact, flat, pairs, search, size, table

__all__ = ["environment", "files", "hyperparams", "link"]

_MAX_HYPERPARAMS = 500
_MAX_FILES = 300
_MAX_DIFF = 100_000
_MAX_LINES = 2000


def hyperparams(values: Mapping[str, Any]) -> Markup | None:
    """A table of names, values and types that can be searched."""
    plain = flat(values) if values else {}
    shown = list(plain.items())[:_MAX_HYPERPARAMS]
    rows: list[list[Cell | str]] = [
        [Cell(_dotted(name), key=name), Cell(exact(item), key=_key(item)), Cell(_type(item), "t")]
        for name, item in shown
    ]
    if not rows:
        return None
    head = [Column("name", None, "up"), Column("value", "", "up"), Column("type", "", "up")]
    more = len(plain) - len(rows)
    note = tag("p", f"and {more} more in hyperparams.json", class_="note") if more else ""
    field = search("hyperparams-table", "hyperparameters") if len(rows) > 6 else ""
    return card(field, table(head, rows, id="hyperparams-table"), note)


def _dotted(name: str) -> Markup:
    outer, dot, inner = name.rpartition(".")
    return join([tag("span", outer + dot, class_="dim") if dot else "", inner])


def _key(item: Any) -> object:
    return item if isinstance(item, int | float) and not isinstance(item, bool) else None


def _type(item: Any) -> str:
    return "None" if item is None else type(item).__name__


def environment(
    versions: object,
    machine: Mapping[str, Any],
    git: Mapping[str, Any],
    data: Mapping[str, Any],
    diff: Path,
) -> Markup | None:
    """Packages, machine, git and data, with the changes that were not committed."""
    rest = {k: v for k, v in machine.items() if k not in ("versions", "packages", "variables")}
    packages = machine.get("packages") or versions or machine.get("versions")
    cards = [
        card(pairs(flat(values)), title=title)
        for title, values in (
            ("Machine", rest),
            ("Git", git),
            ("Data", data),
            ("Environment variables", machine.get("variables")),
        )
        if isinstance(values, dict) and values
    ]
    cards.append(_packages(packages) if isinstance(packages, dict) else None)
    cards.append(_diff(diff))
    shown = [part for part in cards if part]
    return tag("div", *shown, class_="columns") if shown else None


def _packages(packages: Mapping[str, Any]) -> Markup | None:
    if len(packages) <= 20:
        return card(pairs(packages), title="Packages")
    rows: list[list[Cell | str]] = [[name, str(version)] for name, version in packages.items()]
    listed = table(
        [Column("package", None, "up"), Column("version", "")], rows, id="packages-table"
    )
    summary = tag("summary", f"{len(packages)} packages")
    return card(
        tag("details", summary, search("packages-table", "packages"), listed), title="Packages"
    )


def _diff(path: Path) -> Markup | None:
    try:
        with path.open("rb") as file:
            head = file.read(_MAX_DIFF + 1)
        whole = path.stat().st_size
    except OSError:  # nothing was changed, or it is gone
        return None
    text = head[:_MAX_DIFF].decode("utf-8", "replace")
    found = text.splitlines()
    lines = join(tag("span", line, class_=_line_style(line)) for line in found[:_MAX_LINES])
    is_cut = whole > _MAX_DIFF or len(found) > _MAX_LINES
    cut = "This is the beginning; the whole is in " if is_cut else ""
    note = tag("p", cut, link("git.diff"), class_="note")
    summary = tag("summary", f"What was not committed ({size(whole)})")
    viewer = tag("pre", lines, tabindex=0, aria_label="Changes")
    box = tag("details", summary, viewer, note)
    return tag("div", tag("h3", "Changes"), box, class_="card wide long")


def _line_style(line: str) -> str | None:
    if line.startswith(("diff ", "+++", "---")):
        return "file"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1])


def files(run_path: Path, paths: Sequence[Path]) -> Markup | None:
    """The run's files, with links that work from where the report is."""
    sized = list(_sized(run_path, paths))
    if not sized:
        return None
    rows: list[list[Cell | str]] = [
        [Cell(link(name), key=name), Cell(size(count), key=count)]
        for name, count in sized[:_MAX_FILES]
    ]
    more = len(sized) - len(rows)
    note = tag("p", f"and {more} more", class_="note") if more else ""
    head = [Column("file", None, "up"), Column("size", "n", "down")]
    listed = join([search("files-table", "files"), table(head, rows, id="files-table"), note])
    total = size(sum(count for _, count in sized))
    box = tag("details", tag("summary", f"{len(sized)} files, {total}"), listed, open="")
    return card(
        box
        if len(sized) <= 20
        else tag("details", tag("summary", f"{len(sized)} files, {total}"), listed)
    )


def _sized(run_path: Path, paths: Sequence[Path]) -> Iterator[tuple[str, int]]:
    for path in paths:
        try:
            yield path.relative_to(run_path).as_posix(), path.stat().st_size
        except OSError:  # it went while we looked
            continue


def link(name: str) -> Markup:
    """A link to a file of the run from its ``results`` folder."""
    return tag("a", name, href="../" + quote(name, errors="replace"))
