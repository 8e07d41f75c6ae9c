import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tt_experiment.errors import ExperimentNameError
from tt_experiment.names import folder_name

PLAIN = ["mnist", "My Project 2", "lr=0.1,wd=1e-4", "日本語", "emoji 🚀", "a..b", "x" * 150]
ODD = {
    "a/b": "a-b",
    "..": "",
    "-rf": "rf",
    "../escape": "escape",
    "../../../etc/passwd": "etc-passwd",
    "/etc": "etc",
    "a\\b": "a-b",
    "C:": "C-",
    "what?": "what-",
    "a\nb": "a-b",
    "a\x00b": "a-b",
    "a\x1b[31mb": "a-[31mb",
    "a\u2028b": "a-b",
    "a\u202eb": "a-b",
    "a\ud800": "a-",
    "trailing.": "trailing",
    "trailing ": "trailing",
    " leading": "leading",
    ".tmp-x": "tmp-x",
    "CON": "_CON",
    "nul.txt": "_nul.txt",
    "Lpt1": "_Lpt1",
    "x" * 300: "x" * 181,
    "語" * 100: "語" * 60,
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_names_are_folders_as_they_are(name):
    assert folder_name(name) == name


@pytest.mark.parametrize(("name", "kept"), ODD.items())
def test_odd_names_keep_what_can_be_kept_and_get_digits(name, kept):
    folder = folder_name(name)
    assert re.fullmatch(re.escape(f"{kept}~" if kept else "") + "[0-9a-f]{8}", folder)
    assert folder == folder_name(name)


def test_two_odd_names_are_two_folders():
    assert len({folder_name(name) for name in ("a/b", "a\\b", "a:b", "a-b", "a\nb")}) == 5


@pytest.mark.parametrize("name", ["", "   ", "\n"])
def test_nothing_is_no_name(name):
    with pytest.raises(ExperimentNameError, match="project name must not be empty"):
        folder_name(name, "project name")


def test_a_name_is_text():
    with pytest.raises(ExperimentNameError, match="must be a string"):
        folder_name(3)


@given(st.text(st.characters(), min_size=1, max_size=400))
@example("~")
@example("." * 300)
@example("a" * 181 + ".")
@example("a" * 190 + ".")
def test_a_folder_is_a_plain_child_on_every_system(tmp_path_factory, name):
    if not name.strip():
        return
    folder = folder_name(name)
    assert folder == os.path.basename(folder)  # noqa: PTH119 - the oracle for names
    assert folder not in (".", "..")
    assert not set(folder) & set('/\\<>:"|?*\0\n')
    assert folder[-1] not in ". "
    assert folder[0] not in "-. "  # a command takes it for an option, a listing hides it
    assert len(f"{folder}_2026-01-31_23-59-58_12".encode()) < 255
    assert folder_name(folder) == folder  # a folder's name is a plain name
