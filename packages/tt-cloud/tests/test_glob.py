from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tt_cloud import ObjectStore, UnsafeKey, open_store
from tt_cloud._glob import matcher, narrowed

PATTERNS = st.text(st.sampled_from("aab.*?[]!-/^\\&"), max_size=10) | st.lists(
    st.sampled_from(["**", "*", "a", "?b", "[!a]", "a*b*", "[a-b]*"]), min_size=1, max_size=4
).map("/".join)
KEYS = st.lists(st.text("ab.-]", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)


def fits(key: list[str], pattern: list[str]) -> bool:
    """Slow and plain: part by part."""
    if not pattern:
        return not key
    if pattern == ["**"]:
        return bool(key)
    if pattern[0] == "**":
        return any(fits(key[start:], pattern[1:]) for start in range(len(key) + 1))
    return bool(key) and fnmatchcase(key[0], pattern[0]) and fits(key[1:], pattern[1:])


@settings(max_examples=500, deadline=None)
@given(KEYS, PATTERNS)
@example("a/b/c", "a/**/c")
@example("aa", "*a*a")
@example("a/c", "a/**/c")
@example("a", "a/**")
@example("[!]", "[!]")
@example("]", "[]]")
@example("-", "[z-a-]")
@example("b", "[!b-a]")
@example("\\", "[\\]")
@example("^", "[^]")
@example("line\nbreak", "*b*")
def test_patterns_agree_with_a_slow_matcher(key: str, glob: str) -> None:
    matches = matcher(glob)
    assert matches is not None
    assert matches(key) == fits(key.split("/"), glob.split("/"))


@settings(deadline=None)
@given(KEYS)
def test_a_key_without_wildcards_fits_itself(key: str) -> None:
    matches = matcher(key)
    assert matches is not None
    assert matches(key)
    assert not matches(key + "x")
    assert not matches("x/" + key)


@settings(deadline=None)
@given(KEYS, PATTERNS, st.text("ab/", max_size=4))
def test_narrowing_loses_nothing(key: str, glob: str, prefix: str) -> None:
    matches = matcher(glob)
    assert matches is not None
    if key.startswith(prefix) and matches(key):
        assert key.startswith(narrowed(prefix, glob))


def test_a_pattern_narrows_what_is_listed() -> None:
    assert narrowed("", "runs/7/*.bin") == "runs/7/"
    assert narrowed("runs/7/a", "runs/7/*.bin") == "runs/7/a"
    assert narrowed("", "runs*/7") == ""
    assert narrowed("other", "runs/7/*") == "other"
    assert narrowed("x", None) == "x"


def test_many_stars_take_no_time() -> None:
    matches = matcher("**/" + "*a" * 30 + "b")
    assert matches is not None
    assert not matches("/".join(["a" * 60] * 8))


def test_dots_are_dots() -> None:
    matches = matcher("a.b")
    assert matches is not None
    assert not matches("axb")


def test_no_pattern_is_none() -> None:
    assert matcher(None) is None


@pytest.mark.parametrize("glob", ["../*", "/a", "a//b/*"])
def test_patterns_that_no_key_has_are_refused(glob: str) -> None:
    store: ObjectStore = open_store("memory://glob")
    with pytest.raises(UnsafeKey):
        store.list(glob=glob)
