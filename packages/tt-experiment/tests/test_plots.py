import math

import matplotlib.image
import pytest

from tt_experiment.errors import ResultsError
from tt_experiment.plots import plot_history


def test_a_png_for_each_metric_with_two_values(tmp_path):
    history = {
        "loss": [3, 2, 1.5],
        "once": [1.0],
        "none": [],
        "acc": [0.1, math.nan, math.inf, 0.3],
    }
    paths = plot_history(history, tmp_path / "new" / "plots")
    assert [p.name for p in paths] == ["loss.png", "acc.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        image = matplotlib.image.imread(path)
        assert image.shape == (630, 1050, 4)
        blue = (image[..., 2] > 0.8) & (image[..., 0] < 0.3)
        assert blue.sum() > 50  # there is a curve on it


def test_one_pdf(tmp_path):
    (path,) = plot_history({"a": [1, 2], "b": [1, 2]}, tmp_path, file_format="pdf")
    assert path.read_bytes().startswith(b"%PDF")
    assert b"/Count 2" in path.read_bytes()


def test_nothing_to_draw(tmp_path):
    assert plot_history({"a": [1]}, tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize("file_format", ["svg", "../png", ""])
def test_an_unknown_format(tmp_path, file_format):
    with pytest.raises(ResultsError, match="'png' or 'pdf'"):
        plot_history({"a": [1, 2]}, tmp_path, file_format=file_format)


def test_any_name_is_drawn_and_stays_in_the_folder(tmp_path):
    names = [
        "../../up",
        "/etc/x",
        "a$b$_{c",
        "A",
        "a",
        "..",
        "損失 🚀",
        "x\n\ty",
        "z" * 300,
        "\x00",
    ]
    folder = tmp_path / "plots"
    paths = plot_history({name: [1, 2] for name in names}, folder)
    assert len({p.name.lower() for p in paths}) == len(names)
    assert {p.parent for p in paths} == {folder}
    assert set(folder.iterdir()) == set(paths)
    assert list(tmp_path.iterdir()) == [folder]


def pixels(path):
    return matplotlib.image.imread(path)[..., :3]


def count(path, colour):
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return int((abs(pixels(path) - wanted).max(axis=-1) < 0.02).sum())


def test_validation_and_training_are_drawn_together(tmp_path):
    history = {"loss": [3, 2, 1], "val_loss": [4, 3, 2], "other": [1, 2], "val_other": [1, 2, 3]}
    loss, val_loss, other, _ = plot_history(history, tmp_path)
    blue, orange, grey = "#2563d9", "#d4570a", "#9aa3b0"
    assert count(loss, blue) > 50 < count(loss, grey)
    assert count(loss, orange) == 0
    assert count(val_loss, orange) > 50 < count(val_loss, grey)
    assert count(other, grey) < 30  # of another length: its records are not the same


def test_a_gap_where_a_value_is_missing(tmp_path):
    whole, gap = plot_history({"a": [1, 2, 3, 4], "b": [1, math.nan, 3, 4]}, tmp_path)
    assert count(gap, "#2563d9") < count(whole, "#2563d9") - 100


def test_a_loss_over_powers_of_ten_is_on_a_logarithmic_scale(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    scales = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda f, *a, **k: scales.append(f.axes[0].get_yscale()) or save(f, *a, **k),
    )
    history = {"loss": [100, 0.1], "a_loss": [2, 1], "acc": [0.001, 1], "b_loss": [100, 0]}
    plot_history({**history, "c_loss": [math.nan, math.nan]}, tmp_path)
    assert scales == ["log", "linear", "linear", "linear", "linear"]


def test_plots_leave_no_trace(tmp_path, monkeypatch):
    """D59: no global style, no pyplot and so no open figures, no display, in any thread."""
    import gc
    import sys
    import threading

    from matplotlib.figure import Figure

    def style():
        return {name: matplotlib.rcParams._get(name) for name in matplotlib.rcParams}

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails
    monkeypatch.delenv("DISPLAY", raising=False)
    gc.collect()
    before, figures = style(), [o for o in gc.get_objects() if type(o) is Figure]
    done = []

    def draw(kind):
        done.append(plot_history({"a": [1, 2], "val_a": [1, 3]}, tmp_path, file_format=kind))

    threads = [threading.Thread(target=draw, args=(kind,)) for kind in ("png", "pdf")]
    for thread in threads:
        thread.start()
        thread.join()
    assert {path.name for paths in done for path in paths} == {"a.png", "val_a.png", "history.pdf"}
    assert style() == before
    gc.collect()
    assert [o for o in gc.get_objects() if type(o) is Figure] == figures
