import gzip
import io
import logging
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import (
    Cancelled,
    Changed,
    NotFound,
    TreeStore,
    Unavailable,
    UnsafeArchive,
    UnsafeKey,
    open_store,
)
from tt_cloud._cache_dir import cache_dir
from tt_cloud.datasets import Limits, fetch_dataset

ZIP = "squad/v2.zip"
FILES = {"train.json": b'{"a": 1}', "dev/dev.json": b"{}"}


class Watched:
    """A store that counts what it is asked for, and fails when it is told to."""

    def __init__(self, store: TreeStore) -> None:
        self.store = store
        self.asked: list[str] = []
        self.fault: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "url":
            return self.store.url
        if self.fault is not None:
            raise self.fault
        self.asked.append(name)
        return getattr(self.store, name)

    @property
    def fetched(self) -> int:
        return sum(name in ("get", "download_tree") for name in self.asked)


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = open_store(tmp_path / "store")
    store.put(ZIP, zipped(FILES))
    store.put("plain/train.csv", b"1,2\n")
    store.put("plain/test.csv.gz", gzip.compress(b"3,4\n"))
    return Watched(store)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_an_archive_is_fetched_once_and_unpacked(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    assert content(folder) == FILES
    assert fetch_dataset(store, ZIP, cache) == folder
    assert store.fetched == 1
    assert [path.name for path in cache.iterdir() if path.name != ".tt-cloud"] == [folder.name]


def test_a_file_is_fetched_as_it_is(store: Any, cache: Path) -> None:
    file = fetch_dataset(store, "plain/train.csv", cache)
    assert file.name == "train.csv"
    assert file.read_bytes() == b"1,2\n"


def test_a_compressed_file_is_unpacked(store: Any, cache: Path) -> None:
    file = fetch_dataset(store, "plain/test.csv.gz", cache)
    assert file.name == "test.csv"
    assert file.read_bytes() == b"3,4\n"


def test_an_archive_may_stay_packed(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    archive = fetch_dataset(store, ZIP, cache, extract=False)
    assert archive.name == "v2.zip"
    assert archive.read_bytes() == store.read(ZIP)
    assert content(folder) == FILES


def test_another_version_is_another_entry(store: Any, cache: Path) -> None:
    before = fetch_dataset(store, ZIP, cache)
    store.put(ZIP, zipped({"other": b""}))
    after = fetch_dataset(store, ZIP, cache)
    assert content(after) == {"other": b""}
    assert content(before) == FILES


def test_the_same_content_of_another_store_is_the_same_entry(store: Any, cache: Path) -> None:
    other = Watched(open_store("memory://datasets"))
    other.put(ZIP, store.read(ZIP))
    folder = fetch_dataset(store, ZIP, cache)
    assert fetch_dataset(other, ZIP, cache) == folder
    assert other.fetched == 0


def test_a_folder_is_fetched_as_it_is(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, "plain", cache)
    assert set(content(folder)) == {"train.csv", "test.csv.gz"}
    assert fetch_dataset(store, "plain", cache) == folder
    assert store.fetched == 1
    store.put("plain/more.csv", b"5")
    assert set(content(fetch_dataset(store, "plain", cache))) == {
        "train.csv",
        "test.csv.gz",
        "more.csv",
    }


def test_a_whole_store_is_a_dataset(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, "", cache)
    assert set(content(folder)) == {ZIP, "plain/train.csv", "plain/test.csv.gz"}


def test_a_committed_set_is_fetched(store: Any, cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a").write_bytes(b"1")
    store.commit(source, "set")
    first = fetch_dataset(store, "set", cache)
    assert content(first) == {"deep/a": b"1"}
    assert fetch_dataset(store, "set", cache) == first
    assert store.fetched == 1
    (source / "deep" / "a").write_bytes(b"2")
    store.commit(source, "set")
    assert content(fetch_dataset(store, "set", cache)) == {"deep/a": b"2"}


def test_what_is_not_there_is_not_found(store: Any, cache: Path) -> None:
    with pytest.raises(NotFound, match=r"squad/v3\.zip"):
        fetch_dataset(store, "squad/v3.zip", cache)
    with pytest.raises(UnsafeKey):
        fetch_dataset(store, "../squad", cache)
    assert not cache.exists()


# -- what is there is not trusted blindly


def damage(file: Path, data: bytes, *, keep_time: bool = False) -> None:
    before = file.stat()
    file.write_bytes(data)
    shift = 0 if keep_time else 1_000_000
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + shift))


@pytest.mark.parametrize("data", [b"", FILES["train.json"].upper(), b"x" * 100])
def test_a_damaged_file_is_fetched_again(
    store: Any, cache: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    damage(folder / "train.json", data)
    assert fetch_dataset(store, ZIP, cache) == folder
    assert content(folder) == FILES
    assert "train.json" in caplog.text
    assert store.fetched == 2


def test_a_file_that_lost_bytes_in_a_crash_is_fetched_again(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    damage(folder / "train.json", b"", keep_time=True)
    fetch_dataset(store, ZIP, cache)
    assert content(folder) == FILES


def test_a_missing_file_is_fetched_again(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    (folder / "train.json").unlink()
    fetch_dataset(store, ZIP, cache)
    assert content(folder) == FILES


def test_a_file_that_was_touched_is_read_and_kept(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    damage(folder / "train.json", FILES["train.json"])
    fetch_dataset(store, ZIP, cache)
    assert store.fetched == 1


def test_hidden_damage_is_found_by_the_full_check(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    damage(folder / "train.json", FILES["train.json"].upper(), keep_time=True)
    fetch_dataset(store, ZIP, cache)
    assert store.fetched == 1
    fetch_dataset(store, ZIP, cache, full_check=True)
    assert store.fetched == 2
    assert content(folder) == FILES


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"version": 99}', '{"version": 1}'])
def test_an_entry_without_its_record_is_fetched_again(
    store: Any, cache: Path, text: str | None
) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    (folder / "train.json").write_bytes(b"half")
    record = cache / ".tt-cloud" / f"{folder.name}.json"
    if text is None:
        record.unlink()
    else:
        record.write_text(text)
    assert fetch_dataset(store, ZIP, cache) == folder
    assert content(folder) == FILES


# -- without the store


def test_the_last_version_will_do_while_the_store_is_down(
    store: Any, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_dataset(store, ZIP, cache)
    store.put(ZIP, zipped({"other": b""}))
    folder = fetch_dataset(store, ZIP, cache)
    store.fault = Unavailable("down")
    assert fetch_dataset(store, ZIP, cache) == folder
    assert "down" in caplog.text
    assert folder.name in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_single_file_will_do_while_the_store_is_down(store: Any, cache: Path) -> None:
    file = fetch_dataset(store, "plain/test.csv.gz", cache)
    store.fault = Unavailable("down")
    assert fetch_dataset(store, "plain/test.csv.gz", cache) == file
    with pytest.raises(Unavailable):  # asked for otherwise, it was not fetched
        fetch_dataset(store, "plain/test.csv.gz", cache, extract=False)


def test_a_store_that_is_down_can_be_an_error(store: Any, cache: Path) -> None:
    fetch_dataset(store, ZIP, cache)
    store.fault = Unavailable("down")
    with pytest.raises(Unavailable, match="down"):
        fetch_dataset(store, ZIP, cache, offline="refused")
    with pytest.raises(Unavailable, match="down"):
        fetch_dataset(store, "plain/train.csv", cache)


def test_other_faults_are_not_hidden(store: Any, cache: Path) -> None:
    fetch_dataset(store, ZIP, cache)
    store.delete(ZIP)
    with pytest.raises(NotFound):
        fetch_dataset(store, ZIP, cache)


def test_damaged_data_are_no_use_without_the_store(store: Any, cache: Path) -> None:
    folder = fetch_dataset(store, ZIP, cache)
    (folder / "train.json").write_bytes(b"")
    store.fault = Unavailable("down")
    with pytest.raises(Unavailable):
        fetch_dataset(store, ZIP, cache)


def test_the_store_need_not_be_asked(store: Any, cache: Path) -> None:
    with pytest.raises(Unavailable, match="offline='only'"):
        fetch_dataset(store, ZIP, cache, offline="only")
    folder = fetch_dataset(store, ZIP, cache)
    store.asked.clear()
    assert fetch_dataset(store, ZIP, cache, offline="only") == folder
    assert not store.asked


# -- what goes wrong on the way


def test_nothing_is_left_of_an_unsafe_archive(store: Any, cache: Path) -> None:
    store.put("evil.zip", zipped({"fine": b"", "../../evil": b""}))
    with pytest.raises(UnsafeArchive):
        fetch_dataset(store, "evil.zip", cache)
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".lock"]
    with pytest.raises(UnsafeArchive, match="Limits"):
        fetch_dataset(store, ZIP, cache, limits=Limits(members=1))


def test_a_call_that_failed_is_made_again(store: Any, cache: Path) -> None:
    class Broken(Watched):
        def get(self, key: str, target: Path, /, **options: Any) -> None:
            target.parent.mkdir(parents=True)
            target.write_bytes(b"half")
            raise Unavailable("cut")

    with pytest.raises(Unavailable, match="cut"):
        fetch_dataset(Broken(store.store), ZIP, cache)
    assert content(fetch_dataset(store, ZIP, cache)) == FILES


def test_a_dataset_that_is_replaced_meanwhile_is_fetched_in_its_new_version(
    store: Any, cache: Path
) -> None:
    class Late(Watched):
        replacements = 1

        def get(self, key: str, target: Path, /, **options: Any) -> Any:
            if self.replacements:
                self.replacements -= 1
                self.store.put(key, zipped({f"{self.replacements}": b""}))
            return self.store.get(key, target, **options)

    late = Late(store.store)
    assert content(fetch_dataset(late, ZIP, cache)) == {"0": b""}
    late.replacements = 100
    with pytest.raises(Changed):
        fetch_dataset(late, ZIP, cache / "another")


def test_a_folder_that_changes_meanwhile_is_fetched_in_its_new_version(
    store: Any, cache: Path
) -> None:
    class Late(Watched):
        replacements = 1

        def download_tree(self, prefix: str, folder: Path, /, **options: Any) -> Any:
            report = self.store.download_tree(prefix, folder, **options)
            if self.replacements:
                self.replacements -= 1
                self.store.put(f"{prefix}/{self.replacements}.csv", b"new")
                self.store.delete(f"{prefix}/train.csv")
            return report

    folder = fetch_dataset(Late(store.store), "plain", cache)
    assert set(content(folder)) == {"test.csv.gz", "0.csv"}


def test_it_can_be_stopped_while_it_waits(store: Any, cache: Path) -> None:
    from tt_cloud.datasets._lock import locked

    folder = fetch_dataset(store, ZIP, cache)
    cancel = threading.Event()
    cancel.set()
    with (
        locked(cache / ".tt-cloud" / f"{folder.name}.lock"),
        pytest.raises(Cancelled, match="waits"),
    ):
        fetch_dataset(store, ZIP, cache, cancel=cancel)


def test_progress_is_told(store: Any, cache: Path) -> None:
    moved: list[int] = []
    fetch_dataset(store, ZIP, cache, progress=lambda key, size, whole: moved.append(size))
    assert sum(moved) == store.head(ZIP).size


def test_the_users_cache_is_used_by_default(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert fetch_dataset(store, ZIP).parent == tmp_path / "home" / "tt-cloud" / "datasets"


@pytest.mark.parametrize(
    ("platform", "place"),
    [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")],
)
def test_each_platform_has_its_place_for_caches(
    platform: str, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_dir("datasets") == tmp_path / place / "tt-cloud" / "datasets"


# -- other processes


PROCESS = """
import logging, sys
from pathlib import Path
from tt_cloud import open_store
from tt_cloud.datasets import fetch_dataset

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
store = open_store(sys.argv[1])
get = type(store).get

def told(self, *words, **options):
    print("fetches", flush=True)
    if "die" in sys.argv:
        __import__("os")._exit(9)
    return get(self, *words, **options)

type(store).get = told
print("has", fetch_dataset(store, sys.argv[2], sys.argv[3]), flush=True)
"""


def process(store: Any, cache: Path, *words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", PROCESS, store.url, ZIP, str(cache), *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_several_processes_one_fetches(store: Any, cache: Path) -> None:
    from tt_cloud.datasets._lock import locked

    folder = fetch_dataset(store, ZIP, cache)
    record = cache / ".tt-cloud" / f"{folder.name}.json"
    with locked(record.with_suffix(".lock")):
        record.unlink()
        several = [process(store, cache) for _ in range(3)]
        for each in several:  # all of them wait before anybody may begin
            assert each.stdout is not None
            assert "another process" in each.stdout.readline()
    said = "".join(each.communicate(timeout=60)[0] for each in several)
    assert said.count("fetches") == 1
    assert said.count(f"has {folder}") == 3
    assert content(folder) == FILES


@pytest.mark.slow
def test_a_process_that_dies_leaves_the_way_free(store: Any, cache: Path) -> None:
    first = process(store, cache, "die")
    said, _ = first.communicate(timeout=60)
    assert said.splitlines()[-1] == "fetches"
    assert first.returncode == 9
    assert content(fetch_dataset(store, ZIP, cache)) == FILES
    assert not list(cache.rglob("*.part"))


# -- from servers


@pytest.mark.slow
def test_datasets_come_from_s3(
    s3_endpoint: str, s3_bucket: str, s3_client: Any, cache: Path
) -> None:
    s3_client.put_object(Bucket=s3_bucket, Key=ZIP, Body=zipped(FILES))
    store: Any = Watched(open_store(f"s3://{s3_bucket}", endpoint_url=s3_endpoint))
    assert content(fetch_dataset(store, ZIP, cache)) == FILES
    fetch_dataset(store, ZIP, cache)
    assert store.fetched == 1
    s3_client.put_object(Bucket=s3_bucket, Key=ZIP, Body=zipped({"other": b""}))
    assert content(fetch_dataset(store, ZIP, cache)) == {"other": b""}


@pytest.mark.slow
def test_datasets_come_from_google(
    gcs_endpoint: str, gcs_bucket: str, gcs_client: Any, cache: Path
) -> None:
    gcs_client.bucket(gcs_bucket).blob(ZIP).upload_from_string(zipped(FILES))
    options: Any = {"endpoint_url": gcs_endpoint, "anonymous": True}
    store: Any = Watched(open_store(f"gs://{gcs_bucket}", **options))
    assert content(fetch_dataset(store, ZIP, cache)) == FILES
    fetch_dataset(store, ZIP, cache)
    assert store.fetched == 1


@pytest.mark.parametrize("name", ["データセット" * 8 + ".txt", "x" * 251 + ".txt"])
def test_a_name_may_be_as_long_as_that_of_a_file(tmp_path: Path, name: str) -> None:
    store = open_store("memory://long-names")
    store.put(name, b"words")
    path = fetch_dataset(store, name, tmp_path)
    assert (path.name, path.read_bytes()) == (name, b"words")
    assert fetch_dataset(store, name, tmp_path, offline="only") == path
