"""The command, through its exit status and what it writes, mostly on folders."""

import hashlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud import ChecksumMismatch, TransferOptions, open_store
from tt_cloud._command import listing
from tt_cloud._command.main import main
from tt_cloud._command.places import place
from tt_cloud.api import TreeStore


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def report(self) -> dict:
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(
    capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run the command in an empty folder, with what standard input holds."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main([str(word) for word in words])
        out, err = capsysbinary.readouterr()
        return Answer(status, out.decode(), err.decode())

    return run


@pytest.fixture
def memory() -> str:
    return f"memory://{uuid4()}"


def fill(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def objects(address: str) -> dict[str, bytes]:
    store = open_store(address)
    return {info.key: store.read(info.key) for info in store.list()}


# cp


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("b.txt", "b.txt"),
        ("new/b.txt", "new/b.txt"),
        ("new/", "new/a.txt"),
        ("there", "there/a.txt"),
    ],
)
def test_a_file_is_copied_to_a_name_or_into_a_folder(
    run: Run, tmp_path: Path, target: str, file: str
) -> None:
    fill(tmp_path, a="text", there__other="")
    (tmp_path / "a").rename("a.txt")
    assert run("cp", "a.txt", target).status == 0
    assert (tmp_path / file).read_text() == "text"


def test_a_file_goes_to_a_bucket_and_back(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path, a="text")
    assert run("cp", "a", f"{memory}/some/key").status == 0
    assert run("cp", "a", f"{memory}/some/").status == 0
    assert run("cp", "a", memory).status == 0
    assert objects(memory) == {"some/key": b"text", "some/a": b"text", "a": b"text"}
    assert run("cp", f"{memory}/some/key", "b").status == 0
    assert run("cp", f"{memory}/some/key", ".").status == 0
    assert contents(tmp_path) == {"a": "text", "b": "text", "key": "text"}


def test_an_object_is_copied_inside_and_between_buckets(run: Run, memory: str) -> None:
    open_store(memory).put("a", b"text", metadata={"who": "me"}, content_type="text/x-own")
    other = f"memory://{uuid4()}"
    assert run("cp", f"{memory}/a", f"{memory}/b").status == 0
    assert run("cp", f"{memory}/a", f"{other}/").status == 0
    for address, key in ((memory, "b"), (other, "a")):
        info = open_store(address).head(key)
        assert info is not None
        assert (info.size, info.content_type) == (4, "text/x-own")
        assert info.metadata == {"who": "me"}


def test_standard_streams_are_places(run: Run, memory: str) -> None:
    assert run("cp", "-", f"{memory}/a", stdin=b"from a pipe").status == 0
    assert run("cp", f"{memory}/a", "-") == (0, "from a pipe", "")


@pytest.mark.parametrize(
    "words", ["cp - new/", "cp -r - new", "cp -n - new", "cp -r folder -", "cp --json folder/a -"]
)
def test_standard_streams_are_for_one_object(run: Run, tmp_path: Path, words: str) -> None:
    fill(tmp_path, folder__a="text")
    answer = run(*words.split())
    assert answer.status == 2
    assert answer.err.startswith("tt-cloud: standard ")


def test_a_folder_goes_to_a_bucket_and_back(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1", b__c="2", b__d__e="3")
    assert run("cp", "-r", "folder", f"{memory}/x").status == 0
    assert set(objects(memory)) == {"x/a", "x/b/c", "x/b/d/e"}
    assert run("cp", "-r", f"{memory}/x", "back").status == 0
    assert contents(tmp_path / "back") == contents(tmp_path / "folder")


def test_a_tree_goes_into_a_place_with_a_slash(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1")
    assert run("cp", "-r", "folder", f"{memory}/x/").status == 0
    assert set(objects(memory)) == {"x/folder/a"}
    assert run("cp", "-r", f"{memory}/x", "y/").status == 0
    assert run("cp", "-r", f"{memory}/x", ".").status == 0
    assert contents(tmp_path) == {"folder/a": "1", "y/x/folder/a": "1", "x/folder/a": "1"}


def test_what_is_equal_is_left_alone(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1", b="2")
    run("cp", "-r", "folder", f"{memory}/x")
    fill(tmp_path / "folder", b="changed")
    report = run("cp", "-r", "--json", "folder", f"{memory}/x").report
    assert [info["key"].rpartition("/")[2] for info in report["done"]] == ["b"]
    assert len(report["skipped"]) == 1
    assert objects(memory)["x/b"] == b"changed"


def test_a_tree_goes_from_store_to_store(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1", b__c="2")
    other = f"memory://{uuid4()}"
    run("cp", "-r", "folder", f"{memory}/x")
    assert run("cp", "-r", f"{memory}/x", f"{other}/y").status == 0
    assert objects(other) == {"y/a": b"1", "y/b/c": b"2"}


def test_a_folder_needs_r(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1")
    answer = run("cp", "folder", f"{memory}/x")
    assert answer.status == 2
    assert "add -r" in answer.err
    assert objects(memory) == {}


def test_with_r_an_object_is_still_copied(run: Run, tmp_path: Path, memory: str) -> None:
    open_store(memory).put("a", b"text")
    fill(tmp_path, b="more")
    assert run("cp", "-r", f"{memory}/a", "copy").status == 0
    assert run("cp", "-r", "b", f"{memory}/b").status == 0
    assert (tmp_path / "copy").read_text() == "text"
    assert objects(memory) == {"a": b"text", "b": b"more"}


@pytest.mark.parametrize("command", ["cp -r", "sync"])
def test_a_tree_is_not_copied_into_itself(run: Run, tmp_path: Path, command: str) -> None:
    fill(tmp_path / "folder", a="1")
    for target in ("folder", "folder/deeper"):
        answer = run(*command.split(), "folder", target)
        assert answer.status == 2
        assert "apart" in answer.err
    assert contents(tmp_path) == {"folder/a": "1"}
    assert run(*command.split(), "folder", "folder2").status == 0


def test_what_is_not_there_is_not_copied(run: Run, tmp_path: Path, memory: str) -> None:
    for words in (["cp", "no"], ["cp", "-r", "no"], ["cp", f"{memory}/no"], ["cp", "-n", "no"]):
        assert run(*words, "target").status == 3
    assert run("cp", "-r", f"{memory}/no", "target").status == 3
    assert run("cp", "-r", f"{memory}/no/", "target").status == 3
    assert not (tmp_path / "target").exists()


def test_a_dry_run_says_what_would_be_done(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1", b="22")
    tree = run("cp", "-rn", "folder", f"{memory}/x")
    one = run("cp", "-n", "folder/b", f"{memory}/x")
    assert (tree.status, one.status) == (0, 0)
    assert tree.out.splitlines() == ["would be copied: a (1 B)", "would be copied: b (2 B)"]
    assert one.out.splitlines() == ["would be copied: b (2 B)"]
    assert objects(memory) == {}


# cp --no-clobber


@pytest.mark.parametrize("to_folder", [True, False])
def test_no_clobber_replaces_nothing(
    run: Run, tmp_path: Path, memory: str, to_folder: bool
) -> None:
    fill(tmp_path, a="new", b="old")
    open_store(memory).put("a", b"new")
    open_store(memory).put("b", b"old")
    source, target = (f"{memory}/a", "b") if to_folder else ("a", f"{memory}/b")
    for dry in ([], ["-n"]):
        answer = run("cp", "--no-clobber", *dry, source, target)
        assert answer.status == 5
        assert answer.err.count("\n") == 1
    assert contents(tmp_path) == {"a": "new", "b": "old"}
    assert objects(memory) == {"a": b"new", "b": b"old"}
    assert run("cp", "--no-clobber", source, target + "2").status == 0


def test_of_many_at_once_no_clobber_lets_one_through(tmp_path: Path, memory: str) -> None:
    for target in (f"{memory}/key", str(tmp_path / "key")):
        sources = [f"memory://{uuid4()}/a" for _ in range(8)]
        for number, source in enumerate(sources):
            store = open_store(source.removesuffix("/a"))
            store.put("a", f"from {number}".encode())
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(main, ["cp", "--no-clobber", s, target]) for s in sources]
        statuses = [call.result() for call in calls]
        assert sorted(statuses) == [0, 5, 5, 5, 5, 5, 5, 5]
        root, _, key = target.rpartition("/")
        assert open_store(root).read(key) == f"from {statuses.index(0)}".encode()


@pytest.mark.parametrize("way", ["up", "down", "across"])
def test_no_clobber_of_a_tree_copies_the_rest(
    run: Run, tmp_path: Path, memory: str, way: str
) -> None:
    fill(tmp_path / "folder", a="new", b__c="new")
    run("cp", "-r", "folder", f"{memory}/x")
    target = {"up": f"{memory}/y", "down": "y", "across": f"memory://{uuid4()}/y"}[way]
    source = {"up": "folder", "down": f"{memory}/x", "across": f"{memory}/x"}[way]
    run("cp", "-", f"{target}/a", stdin=b"old")
    would = run("cp", "-rn", "--no-clobber", "--json", source, target).report
    answer = run("cp", "-r", "--no-clobber", "--json", source, target)
    assert answer.status == 0
    for report in (would, answer.report):
        assert [info["key"] for info in report["done"]] == ["b/c"]
        assert report["skipped"] == ["a"]
    assert objects(target) == {"a": b"old", "b/c": b"new"}


@pytest.mark.parametrize("way", ["up", "across"])
def test_no_clobber_keeps_what_came_in_the_meantime(
    run: Run, tmp_path: Path, memory: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_cloud._memory import MemoryStore

    fill(tmp_path / "folder", a="new", b="new")
    run("cp", "-r", "folder", f"{memory}/x")
    target = f"memory://{uuid4()}/y"
    run("cp", "-", f"{target}/a", stdin=b"old")
    listing = MemoryStore._list

    def late(self: MemoryStore, *words: Any) -> Any:
        return iter(()) if self.url == target else listing(self, *words)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "_list", late)
        source = "folder" if way == "up" else f"{memory}/x"
        answer = run("cp", "-r", "--no-clobber", "--json", source, target)
    assert (answer.status, answer.report["skipped"]) == (0, ["a"])
    assert objects(target) == {"a": b"old", "b": b"new"}


def test_no_clobber_holds_inside_a_bucket(run: Run, memory: str) -> None:
    open_store(memory).put("a", b"new", metadata={"who": "me"})
    open_store(memory).put("b", b"old")
    assert run("cp", "--no-clobber", f"{memory}/a", f"{memory}/b").status == 5
    assert objects(memory)["b"] == b"old"
    other = f"memory://{uuid4()}"
    assert run("cp", "-r", "--no-clobber", memory, other).status == 0
    info = open_store(other).head("a")
    assert info is not None
    assert info.metadata == {"who": "me"}


def test_no_clobber_looks_at_all_names_first(run: Run, tmp_path: Path, memory: str) -> None:
    for key in ("x/a", "x/a/b", "x/c"):
        open_store(memory).put(key, b"text")
    assert run("cp", "-r", "--no-clobber", f"{memory}/x", "target").status == 1
    assert contents(tmp_path) == {}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_no_clobber_writes_through_no_link(run: Run, tmp_path: Path, memory: str) -> None:
    open_store(memory).put("x/a/b", b"text")
    (tmp_path / "outside").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target/a").symlink_to(tmp_path / "outside")
    answer = run("cp", "-r", "--no-clobber", f"{memory}/x", "target")
    assert answer.status == 1
    assert "link" in answer.err
    assert contents(tmp_path / "outside") == {}


def test_no_clobber_brings_the_files_of_a_committed_set(
    run: Run, tmp_path: Path, memory: str
) -> None:
    fill(tmp_path / "folder", a="new", b__c="new")
    fill(tmp_path / "target", a="old")
    assert run("commit", "folder", f"{memory}/x").status == 0
    assert run("cp", "-r", "--no-clobber", f"{memory}/x", "target").status == 0
    assert contents(tmp_path / "target") == {"a": "old", "b/c": "new"}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("extra", [[], ["--no-clobber"]])
def test_links_are_refused_unless_told(
    run: Run, tmp_path: Path, memory: str, extra: list[str]
) -> None:
    fill(tmp_path / "folder", a="1")
    (tmp_path / "folder/b").symlink_to("a")
    words = ["cp", "-r", *extra, "folder"]
    assert run(*words, f"{memory}/x").status == 1
    assert objects(memory) == {}
    assert run(*words, "--symlinks", "skip", f"{memory}/x").status == 0
    assert objects(memory) == {"x/a": b"1"}
    assert run(*words, "--symlinks", "inside", f"{memory}/y").status == 0
    assert objects(f"{memory}/y") == {"a": b"1", "b": b"1"}


# ls


def listed(run: Run, *words: str | Path) -> list[str]:
    answer = run("ls", *words)
    assert answer.status == 0
    assert answer.err == ""
    return answer.out.splitlines()


def test_ls_shows_one_level_or_all(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "folder", a="1", b__c="2", b__d__e="3", b0="4")
    assert listed(run, "folder") == ["a", "b/", "b0"]
    assert listed(run, "-r", "folder") == ["a", "b/c", "b/d/e", "b0"]
    assert listed(run, "folder/b") == ["c", "d/"]
    assert listed(run, "folder/a") == ["a"]
    assert listed(run, "--glob", "**/[ce]", "folder") == ["b/c", "b/d/e"]
    assert listed(run, "--glob", "*.bin", "folder") == []


def test_ls_tells_sizes_and_times(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "folder", a="x" * 5000, b__c="")
    os.utime(tmp_path / "folder/a", (1_700_000_000, 1_700_000_000))
    assert listed(run, "-l", "folder") == [
        "   4.9 KiB  2023-11-14T22:13:20Z  a",
        " " * 34 + "b/",
    ]


def test_ls_speaks_json_a_line(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "folder", a="12", b__c="")
    first, second = map(json.loads, listed(run, "--json", "folder"))
    assert (first["key"], first["size"]) == ("a", 2)
    assert second == {"prefix": "b/"}


def test_ls_of_nothing(run: Run, tmp_path: Path, memory: str) -> None:
    (tmp_path / "empty").mkdir()
    assert listed(run, "empty") == []
    assert listed(run, memory) == []
    assert run("ls", "no").status == 3
    assert run("ls", f"{memory}/no").status == 3


parts = st.sampled_from(["a", "a0", "b", "\u00e9", "\U0001f600"])
names = st.lists(parts, min_size=1, max_size=3).map("/".join)


@given(st.sets(names, max_size=20))
@settings(max_examples=60)
def test_ls_is_what_a_listing_of_all_begins_with(keys: set[str]) -> None:
    name = f"memory://{uuid4()}"
    store = open_store(name)
    for key in keys:
        store.put(key, b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_PATIENCE", 2)
        came = [getattr(entry, "key", entry) for entry in listing._level(store)]
    expected = {first + slash for first, slash, _ in (key.partition("/") for key in keys)}
    assert came == sorted(expected)


# cat, rm


def test_cat_writes_objects_one_after_the_other(run: Run, memory: str) -> None:
    open_store(memory).put("a", b"first ")
    open_store(memory).put("b", b"second")
    assert run("cat", f"{memory}/a", f"{memory}/b") == (0, "first second", "")
    assert run("cat", f"{memory}/no").status == 3


@pytest.mark.parametrize(
    ("given", "out"),
    [("0:3", "012"), ("7:", "789"), (":", "0123456789"), ("8:99", "89"), ("5:2", "")],
)
def test_cat_writes_a_range(run: Run, tmp_path: Path, given: str, out: str) -> None:
    fill(tmp_path, a="0123456789")
    assert run("cat", "--range", given, "a") == (0, out, "")
    assert run("cat", "--range", given, "no").status == 3


def test_cat_mixes_no_versions(run: Run, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tt_cloud._command import objects as module
    from tt_cloud._memory import MemoryStore

    store = open_store(memory)
    store.put("a", b"first version")
    read = MemoryStore._read

    def replaced(self: MemoryStore, *words: Any) -> bytes:
        data = read(self, *words)
        store.put("a", b"other version")
        return data

    monkeypatch.setattr(MemoryStore, "_read", replaced)
    monkeypatch.setattr(module, "_CHUNK", 4)
    answer = run("cat", "--range", ":", f"{memory}/a")
    assert (answer.status, answer.out) == (1, "firs")


def test_cat_writes_nothing_of_a_damaged_object(
    run: Run, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_cloud._memory import MemoryStore

    def damaged(*_: object) -> None:
        raise ChecksumMismatch("an object must come as it was stored")

    open_store(memory).put("a", b"text")
    monkeypatch.setattr(MemoryStore, "_get", damaged)
    answer = run("cat", f"{memory}/a")
    assert answer == (1, "", "tt-cloud: an object must come as it was stored\n")


def test_rm_deletes_what_is_named(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "folder", a="1", b__c="2", d="3")
    assert run("rm", "folder/a", "folder/b/c").status == 0
    assert contents(tmp_path) == {"folder/d": "3"}


def test_rm_deletes_a_tree_with_r_only(run: Run, tmp_path: Path, memory: str) -> None:
    for root in (str(tmp_path / "folder"), memory):
        run("cp", "-", f"{root}/x/a", stdin=b"1")
        run("cp", "-", f"{root}/x/b/c", stdin=b"2")
        run("cp", "-", f"{root}/xy", stdin=b"3")
        answer = run("rm", f"{root}/x")
        assert answer.status == 2
        assert "add -r" in answer.err
        assert len(objects(root)) == 3
        assert run("rm", "-rn", f"{root}/x").out.count("would be deleted: ") == 2
        assert len(objects(root)) == 3
        assert run("rm", "-r", f"{root}/x").status == 0
        assert set(objects(root)) == {"xy"}
        assert run("rm", "-r", f"{root}/x").status == 3
        for words in (["rm", "-n"], ["rm", "-rn"]):
            assert run(*words, f"{root}/xy").out.startswith("would be deleted: ")
            assert set(objects(root)) == {"xy"}
        assert run("rm", "-r", f"{root}/xy").status == 0
        assert objects(root) == {}


def test_rm_empties_a_bucket_when_told_twice(run: Run, memory: str) -> None:
    open_store(memory).put("a", b"1")
    answer = run("rm", "-r", memory)
    assert answer.status == 2
    assert "--everything" in answer.err
    assert run("rm", "-r", "--everything", memory).status == 0
    assert objects(memory) == {}


def test_rm_goes_on_behind_what_is_not_there(run: Run, tmp_path: Path) -> None:
    fill(tmp_path, a="1", b="2")
    assert run("rm", "no").status == 3
    answer = run("rm", "--json", "a", "no", "b")
    assert answer.status == 1
    assert [failure["error"] for failure in answer.report["failures"]] == ["NotFound"]
    assert len(answer.report["deleted"]) == 2
    assert contents(tmp_path) == {}


# sync, commit, verify, sweep


def test_sync_deletes_only_when_told(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1")
    for target in (f"{memory}/x", str(tmp_path / "copy")):
        run("cp", "-", f"{target}/old", stdin=b"")
        assert run("sync", "folder", target).status == 0
        assert objects(target) == {"a": b"1", "old": b""}
        would = run("sync", "--delete", "--dry-run", "folder", target)
        assert would.out == "would be deleted: old\n"
        assert set(objects(target)) == {"a", "old"}
        assert run("sync", "--delete", "folder", target).status == 0
        assert objects(target) == {"a": b"1"}


def test_sync_brings_a_folder_up_to_date(run: Run, tmp_path: Path, memory: str) -> None:
    open_store(memory).put("x/a", b"new")
    open_store(memory).put("x/b/c", b"2")
    fill(tmp_path / "copy", a="old", d="mine")
    assert run("sync", f"{memory}/x", "copy").status == 0
    assert contents(tmp_path / "copy") == {"a": "new", "b/c": "2", "d": "mine"}
    report = run("sync", "--json", "--delete", f"{memory}/x", "copy").report
    assert (report["done"], report["deleted"]) == ([], ["d"])
    assert contents(tmp_path / "copy") == {"a": "new", "b/c": "2"}


def test_a_typo_empties_nothing(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1")
    for source in ("floder", f"{memory}/no"):
        assert run("sync", source, "folder").status == 3
        assert run("sync", "--delete", source, "folder").status == 3
    assert contents(tmp_path / "folder") == {"a": "1"}


def test_a_commit_is_verified(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1", b__c="2")
    assert run("verify", f"{memory}/x").status == 3
    assert run("commit", "folder", f"{memory}/x").status == 0
    answer = run("verify", "--json", f"{memory}/x")
    assert answer.status == 0
    assert len(answer.report["done"]) == 2
    assert run("verify", "--read-back", f"{memory}/x").status == 0
    assert run("cp", "-r", f"{memory}/x", "back").status == 0
    assert contents(tmp_path / "back") == {"a": "1", "b/c": "2"}


def test_verify_names_what_is_damaged(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "folder", a="1", b="2")
    run("commit", "folder", "store")
    damaged = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    for path in damaged:
        if path.read_text() == "2":
            path.write_text("3")
    answer = run("verify", "--json", "store")
    assert answer.status == 1
    assert [failure["key"].endswith("b") for failure in answer.report["failures"]] == [True]
    assert answer.err.count("\n") == 1


def test_verify_reads_back_when_told(
    run: Run, tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_cloud._memory import MemoryStore

    fill(tmp_path / "folder", a="1")
    run("commit", "folder", f"{memory}/x")

    def damaged(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: MemoryStore, key: str, *words: Any) -> Any:
            if key.startswith("files/"):
                raise ChecksumMismatch("an object must come as it was stored")
            return original(self, key, *words)

        return call

    for name in ("_get", "_read", "_open"):
        monkeypatch.setattr(MemoryStore, name, damaged(getattr(MemoryStore, name)))
    assert run("verify", f"{memory}/x").status == 0
    assert run("verify", "--read-back", f"{memory}/x").status == 1


def test_sweep_removes_what_is_old_and_no_longer_meant(
    run: Run, tmp_path: Path, memory: str
) -> None:
    for text in ("1", "2"):
        fill(tmp_path / "folder", a=text)
        run("commit", "folder", f"{memory}/x")
    assert run("sweep", "--json", f"{memory}/x").report["deleted"] == []
    would = run("sweep", "--json", "--dry-run", "--older-than", "0s", f"{memory}/x").report
    report = run("sweep", "--json", "--older-than", "0s", f"{memory}/x").report
    assert len(report["deleted"]) == 1
    assert report["deleted"] == would["deleted"]
    assert run("verify", f"{memory}/x").status == 0


# what is said


def test_a_bucket_is_told_from_a_path() -> None:
    assert astuple(place("s3://bucket/a/b/")) == (
        "s3://bucket/a/b",
        "s3",
        "s3://bucket",
        "a/b",
        None,
        True,
    )
    for path in ("C:\\data\\a", "C:/data/a", "C://data/a", "a:b", "./s3://a"):
        assert place(path).scheme == "file"
    assert place("file:///data/a%20b").path == Path("/data/a b")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ls ftp://host/a", "begins with"),
        ("ls s3://", "needs the name of a bucket"),
        ("ls file://host/a", "file:///"),
        ("ls --region here .", "--region"),
        ("cp --profile me a gs://bucket/a", "--profile"),
        ("cp --endpoint-url http://127.0.0.1 s3://a/b gs://a/b", "AWS_ENDPOINT_URL_S3"),
        ("rm -r /", "--everything"),
    ],
)
def test_a_wrong_address_or_option_is_told_from_failure(run: Run, words: str, said: str) -> None:
    answer = run(*words.split())
    assert answer.status == 2
    assert said in answer.err
    assert answer.err.startswith("tt-cloud: ")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "",
        "cp a",
        "frobnicate",
        "cat a --range 1-2",
        "presign a --expires soon",
        "presign a --method DELETE",
        "sweep a --older-than 1y",
        "cp a b --concurrency 0",
    ],
)
def test_a_wrong_command_line_is_told_from_failure(run: Run, words: str) -> None:
    answer = run(*words.split())
    assert answer.status == 2
    assert answer.out == ""
    assert answer.err.startswith("usage: tt-cloud")


def test_help_tells_the_exit_statuses(run: Run) -> None:
    for command in ("cp", "ls", "cat", "rm", "sync", "commit", "verify", "sweep", "presign"):
        answer = run(command, "--help")
        assert answer.status == 0
        assert "130" in answer.out
        assert command in run("--help").out
    assert run("--version").out.startswith("tt-cloud ")


def test_errors_are_one_line_unless_more_is_wanted(run: Run) -> None:
    short, long = run("cat", "no"), run("cat", "--verbose", "no")
    assert short.err.count("\n") == 1
    assert long.err.endswith(short.err)
    assert "line " in long.err.removesuffix(short.err)


def test_errors_are_documents_with_json(run: Run) -> None:
    answer = run("verify", "--json", "no")
    assert answer.report == {
        "error": "NotCommitted",
        "message": answer.err.removeprefix("tt-cloud: ").rstrip(),
        "status": 3,
    }


def test_only_the_summary_is_said_unless_asked(run: Run, tmp_path: Path, memory: str) -> None:
    fill(tmp_path / "folder", a="1", b="22")
    usual = run("cp", "-r", "folder", f"{memory}/x")
    assert usual.out == ""
    assert usual.err.startswith("2 objects copied, 3 B in ")
    assert run("cp", "-rq", "folder", f"{memory}/y") == (0, "", "")
    assert run("cp", "-rv", "folder", f"{memory}/z").err.count("copied: ") == 2
    assert run("cp", "-r", "--json", "folder", f"{memory}/z").err == ""


def test_names_that_cannot_be_written_are_written_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, é="")
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["ls", str(tmp_path)]) == 0
    assert out.buffer.getvalue() == b"\\xe9\n"


def test_credentials_are_not_repeated(run: Run) -> None:
    for address in ("s3://key:hidden@bucket/a", "ftp://host/a?X-Amz-Signature=hidden"):
        for extra in ([], ["--verbose"], ["--json"]):
            answer = run("ls", *extra, address)
            assert answer.status == 2
            assert "hidden" not in answer.out + answer.err


def test_signed_addresses_are_cut_short(
    run: Run, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_cloud._memory import MemoryStore

    def refuse(*_: object) -> None:
        raise OSError("no answer from https://host/a?X-Amz-Signature=hidden; try again")

    monkeypatch.setattr(MemoryStore, "_get", refuse)
    answer = run("cat", "--verbose", f"{memory}/a")
    assert answer.err.endswith("tt-cloud: no answer from https://host/a?... try again\n")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("ls --region r --profile p s3://b", {"region": "r", "profile": "p"}),
        ("ls --anonymous --project p gs://b", {"anonymous": True, "project": "p"}),
        (
            "ls --endpoint-url https://h --ca-bundle f s3://b",
            {"endpoint_url": "https://h", "ca_bundle": "f"},
        ),
        ("verify --concurrency 3 s3://b", {"transfer": TransferOptions(concurrency=3)}),
        ("ls s3://b", {}),
    ],
)
def test_options_reach_the_store(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: str, options: dict[str, Any]
) -> None:
    from tt_cloud._command import stores

    came = []

    def opened(address: str, **given: Any) -> Any:
        came.append((address, given))
        raise PermissionError("that will do")

    monkeypatch.setattr(stores, "open_store", opened)
    assert run(*words.split()).status == 4
    assert came == [(words.split()[-1], options)]


def test_an_interrupt_lets_what_is_under_way_end(
    run: Run, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_cloud._local import stop_if
    from tt_cloud._memory import MemoryStore

    def interrupted(self: TreeStore, key: str, *rest: object) -> None:
        signal.raise_signal(signal.SIGINT)
        stop_if(rest[-1], key)

    before = signal.getsignal(signal.SIGINT)
    open_store(memory).put("a", b"text")
    monkeypatch.setattr(MemoryStore, "_get", interrupted)
    answer = run("cp", f"{memory}/a", "b")
    assert answer == (130, "", "tt-cloud: stopped; the same command goes on from here\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_bar_counts_what_all_threads_move() -> None:
    from tt_cloud._command.progress import _Meter

    tqdm = pytest.importorskip("tqdm").tqdm
    with tqdm(file=io.StringIO()) as bar, ThreadPoolExecutor(4) as pool:
        meter = _Meter(bar)
        calls = [pool.submit(meter, f"key {n}", 10, 40) for n in range(8) for _ in range(4)]
        assert [call.result() for call in calls] == [None] * 32
        meter("key 0", -10, 40)
        assert (bar.n, bar.total) == (310, 320)


# as a process of its own


def test_it_is_installed() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="tt-cloud")
    assert script.load() is main


def test_it_starts_without_what_only_some_calls_need() -> None:
    code = "import sys, tt_cloud._command.main; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert not {"boto3", "botocore", "google.cloud", "ssl", "http.client", "tqdm"} & set(loaded)


@pytest.mark.skipif(os.name == "nt", reason="needs a shell with pipes")
def test_it_is_quiet_when_nobody_reads_on(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number}-{'x' * 60}").touch()
    for words in ("ls", "ls --json", "cat"):
        target = tmp_path / f"0-{'x' * 60}" if words == "cat" else tmp_path
        if words == "cat":
            target.write_bytes(bytes(1 << 20))
        line = shlex.join([sys.executable, "-m", "tt_cloud", *words.split(), str(target)])
        shell = subprocess.run(f"{line} | head -c 1", shell=True, capture_output=True)
        assert len(shell.stdout) == 1
        assert shell.stderr == b""


def test_it_passes_bytes_through(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    command = [sys.executable, "-m", "tt_cloud", "cp"]
    file = tmp_path / "file"
    subprocess.run([*command, "-", file], input=data, check=True, stderr=subprocess.DEVNULL)
    back = subprocess.run([*command, file, "-"], check=True, capture_output=True)
    assert hashlib.sha256(back.stdout).digest() == hashlib.sha256(data).digest()
    assert back.stderr == b""


def test_an_unknown_kind_of_address_is_said_to_be_one(run: Any) -> None:
    assert "file://, gs://" in run("cp", "ftp://there", "here").err
