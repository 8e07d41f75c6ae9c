import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tt_cloud import UnsafeKey, _files
from tt_cloud._files import Folding, check_names, folding_of, places, safe_target

# Equal digits: the letters that such a file system takes for the same.
LETTERS = ["a", "A", "é", "e\u0301", "É", "E\u0301", "b"]
CLASSES = {
    Folding(): "0123456",
    Folding(case=True): "0023236",
    Folding(form=True): "0122446",
    Folding(case=True, form=True): "0022226",
}
NAMES = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=2)
PATHS = st.lists(NAMES, min_size=1, max_size=3)
FOLDS = Folding(case=True, form=True)


def spelt(path: list[list[str]]) -> str:
    return "/".join("".join(name) for name in path)


def classes(path: list[list[str]], folding: Folding) -> str:
    of = dict(zip(LETTERS, CLASSES[folding], strict=True))
    return "/".join("".join(of[letter] for letter in name) for name in path)


@settings(deadline=None)
@given(st.lists(PATHS, max_size=6))
@example([[["a"]], [["a"], ["b"]]])
def test_places_are_files_that_can_be_made(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[list[str]]]
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    keys = [spelt(path) for path in paths]
    try:
        found = places(keys, folder)
    except UnsafeKey:
        with pytest.raises((NotADirectoryError, FileExistsError, IsADirectoryError)):
            write({key: folder.joinpath(*key.split("/")) for key in keys})
        return
    assert list(folder.iterdir()) == []
    write(found)
    made = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix() for path in made} == set(keys)


def write(files: dict[str, Path]) -> None:
    for key, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CLASSES)), st.lists(PATHS, max_size=5, unique_by=spelt))
def test_what_meets_where_names_are_folded(
    tmp_path_factory: pytest.TempPathFactory, folding: Folding, paths: list[list[list[str]]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    seen = [classes(path, folding) for path in paths]
    meet = len(set(seen)) < len(seen)
    below = any(one.startswith(other + "/") for one in seen for other in seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_files, "folding_of", lambda folder: folding)
        try:
            places([spelt(path) for path in paths], folder)
        except UnsafeKey:
            assert meet or below
        else:
            assert not meet
            assert not below


@pytest.mark.parametrize("keys", [["Read.me", "READ.ME"], ["é", "e\u0301"], ["A/b", "a"]])
def test_they_meet_only_where_the_file_system_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    monkeypatch.setattr(_files, "folding_of", lambda folder: Folding())
    assert list(places(keys, tmp_path / "new" / "folder")) == keys
    monkeypatch.setattr(_files, "folding_of", lambda folder: FOLDS)
    with pytest.raises(UnsafeKey):
        places(keys, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("case", "form"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_the_file_system_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: bool, form: bool
) -> None:
    def folded(path: Path) -> bool:
        """As on a file system that keeps names and compares them loosely."""

        def loose(name: str) -> str:
            name = unicodedata.normalize("NFC", name) if form else name
            return name.lower() if case else name

        return loose(path.name) in {loose(other.name) for other in path.parent.iterdir()}

    monkeypatch.setattr(Path, "exists", folded)
    assert folding_of(tmp_path / "not" / "there") == Folding(case, form)
    assert list(tmp_path.iterdir()) == []


def test_nobody_knows_of_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path, **options: bool) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(Path, "touch", closed)
    assert folding_of(tmp_path) == FOLDS


@pytest.mark.parametrize("key", ["../a", "/a", "a/../../b", "a\\b", "nul\0", "x" * 256, "é" * 128])
def test_keys_that_leave_the_folder_or_are_no_names_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(UnsafeKey):
        places(["fine", key], tmp_path)


@pytest.mark.parametrize(
    "key",
    [
        "C:/a",
        "a/file:stream",
        "NUL",
        "a/con.txt",
        "COM1.log",
        "lpt9",
        "aux .x",
        "end.",
        "end ",
        "a?",
    ],
)
def test_names_that_windows_takes_for_something_else(key: str) -> None:
    check_names(key, windows=False)
    with pytest.raises(UnsafeKey, match="Windows"):
        check_names(key, windows=True)


@pytest.mark.parametrize("key", ["null", "console.txt", "com10", ".con", "a b/c.d", "ключ"])
def test_names_that_windows_takes_for_names(key: str) -> None:
    check_names(key, windows=True)


def test_links_on_the_way_are_refused(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (folder / "real").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    (folder / "real" / "dangling").symlink_to(tmp_path / "nowhere")
    for unsafe in ("link", "link/file", "link/deep/file", "real/dangling"):
        with pytest.raises(UnsafeKey, match="links"):
            safe_target(folder, folder / unsafe)
    for safe in ("new", "real/new", "new/deep/file"):
        safe_target(folder, folder / safe)


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    safe_target(tmp_path / "link", tmp_path / "link" / "file")


def test_what_is_elsewhere_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="subpath"):
        safe_target(tmp_path / "folder", tmp_path / "file")
