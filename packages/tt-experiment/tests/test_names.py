import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_experiment.errors import ExperimentNameError
from tt_experiment.names import check_name

GOOD = ["mnist", "My Project 2", "lr=0.1,wd=1e-4", "日本語", "emoji 🚀", "a..b", "-x", "x" * 150]
BAD = {
    "": "empty",
    "   ": "empty",
    "a/b": "contain any of /",
    "..": "nor end",
    "../escape": "contain any of /",
    "/etc": "contain any of /",
    "a\\b": "contain any of",
    "C:": "contain any of :",
    "what?": "contain any of",
    "a\nb": "control",
    "a\x00b": "control",
    "a\u2028b": "line breaks",
    "a\ud800": "surrogates",
    "trailing.": "nor end",
    "trailing ": "nor end",
    " leading": "begin",
    ".tmp-x": "begin",
    "CON": "device",
    "nul.txt": "device",
    "Lpt1": "device",
    "x" * 151: "at most 150",
    "語" * 100: "220 bytes",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_names_stay_as_they_are(name):
    assert check_name(name) == name


@pytest.mark.parametrize(("name", "rule"), BAD.items())
def test_bad_names_are_refused_with_the_rule(name, rule):
    with pytest.raises(ExperimentNameError, match=rule):
        check_name(name)


def test_the_message_says_what_came_and_is_bounded():
    with pytest.raises(ValueError, match=r"project name must not .* Got 'a/b'"):
        check_name("a/b", "project name")
    with pytest.raises(ExperimentNameError) as caught:
        check_name("x" * 10_000)
    assert len(str(caught.value)) < 250
    with pytest.raises(ExperimentNameError, match="must be a string"):
        check_name(3)


@given(st.text(max_size=60))
def test_an_accepted_name_is_a_plain_child(name):
    try:
        check_name(name)
    except ExperimentNameError:
        return
    assert name not in (".", "..")
    assert not set(name) & set("/\\\0\n:")
