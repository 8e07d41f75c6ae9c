import io
import sys
from types import ModuleType

import pytest

from tt_loop.display.progress import check_progress, make_progress
from tt_loop.errors import LoopTypeError, LoopValueError, MissingPackageError


def train(display, epochs: int = 2, batches: int = 5) -> None:
    for epoch in range(1, epochs + 1):
        for _ in range(batches):
            display.advance()
        display.epoch_done(f"epoch {epoch}/{epochs}", {"loss": 0.123456, "val_loss": 2.0})


LINES = ["epoch 1/2  loss 0.1235  val_loss 2", "epoch 2/2  loss 0.1235  val_loss 2"]


@pytest.mark.parametrize("kind", [True, "tqdm"])
def test_tqdm_shows_a_bar_and_leaves_a_line_per_epoch(kind, capsys) -> None:
    with make_progress(kind, total=10) as display:
        train(display)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == LINES
    assert "10/10" in shown.err
    assert shown.err.rpartition("\r")[0].rpartition("\r")[2].strip() == ""  # wiped at the end


@pytest.mark.parametrize("kind", [False, None])
def test_nothing_is_shown_and_nothing_has_to_be_called(kind, capsys) -> None:
    with make_progress(kind, total=10) as display:
        assert display.advance is None
        display.epoch_done("epoch 1", {"loss": 1.0})
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [True, "rich"])
def test_only_one_process_shows_its_progress(kind, capsys) -> None:
    with make_progress(kind, total=10, shown=False) as display:
        assert display.advance is None
    assert capsys.readouterr() == ("", "")


def test_tqdm_looks_at_the_clock_in_few_steps(monkeypatch) -> None:
    steps = looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return steps * 1e-4  # seconds

    monkeypatch.setattr("tqdm.std.time", clock)
    with make_progress(True, total=20_000) as display:
        for steps in range(1, 20_001):  # noqa: B007  # the clock reads it
            display.advance()
        assert 20 < looks < 3_000  # 20 tenths of a second


def test_an_unknown_length_is_shown_as_a_count(capsys) -> None:
    with make_progress(True, total=None) as display:
        train(display, epochs=1)
    assert "5batch" in capsys.readouterr().err


def test_rich_shows_a_bar_and_leaves_a_line_per_epoch(capsys, monkeypatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with make_progress("rich", total=10) as display:
        train(display)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == LINES
    assert "10/10" in shown.err
    assert shown.err.endswith("\x1b[2K")  # the bar's line is wiped


def test_on_a_terminal_rich_keeps_the_lines_above_its_bar(monkeypatch) -> None:
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, terminal)
    monkeypatch.setenv("TERM", "xterm")
    with make_progress("rich", total=None) as display:
        train(display)
    assert all(line in terminal.getvalue() for line in LINES)
    assert sys.stdout is terminal


def test_a_notebook_gets_a_widget(monkeypatch) -> None:
    from tqdm.std import tqdm

    made = []

    class Widget(tqdm):
        def __init__(self, **options) -> None:
            made.append(options["total"])
            super().__init__(**options)

    notebook = ModuleType("tqdm.notebook")
    notebook.tqdm = Widget
    monkeypatch.setitem(sys.modules, "tqdm.notebook", notebook)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with make_progress("notebook", total=10) as display:
        train(display)
    assert made == [10]


@pytest.mark.parametrize(("kind", "package"), [("rich", "rich"), ("notebook", "ipywidgets")])
def test_a_missing_package_is_named(kind: str, package: str, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for shown in (True, False):  # in every process alike
        with pytest.raises(
            MissingPackageError, match=rf"{package}: pip install 'tt-loop\[{kind}\]'"
        ):
            make_progress(kind, total=None, shown=shown)


class Diary:
    def __init__(self) -> None:
        self.entries = []

    def advance(self, n: int = 1) -> None:
        self.entries.append(n)

    def epoch_done(self, title, values) -> None:
        self.entries.append((title, values))

    def close(self) -> None:
        self.entries.append("closed")


def test_a_display_of_ones_own_is_told_and_closed() -> None:
    diary = Diary()
    with make_progress(diary, total=10) as display:
        assert display is diary
        train(display, epochs=1, batches=2)
    values = {"loss": 0.123456, "val_loss": 2.0}
    assert diary.entries == [1, 1, ("epoch 1/1", values), "closed"]


def test_a_display_is_closed_when_training_fails() -> None:
    diary = Diary()
    with pytest.raises(ZeroDivisionError), make_progress(diary, total=10):
        raise ZeroDivisionError
    assert diary.entries == ["closed"]


@pytest.mark.parametrize(
    ("kind", "error", "rule"),
    [
        ("bar", LoopValueError, "one of.*'rich'.*got 'bar'"),
        (3, LoopTypeError, "int has no advance, epoch_done, close"),
    ],
)
def test_other_kinds_are_refused(kind, error, rule: str) -> None:
    with pytest.raises(error, match=rule):
        check_progress(kind)
