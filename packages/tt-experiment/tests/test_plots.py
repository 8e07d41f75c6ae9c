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
        pixels = matplotlib.image.imread(path)
        assert pixels.shape == (630, 1050, 4)
        blue = (pixels[..., 2] > 0.8) & (pixels[..., 0] < 0.3)
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
