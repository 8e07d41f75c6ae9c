import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import NotFound, UnsafeArchive, UnsafeKey, open_store
from tt_cloud.datasets.known import (
    DATASETS,
    CNNDailyMailDatasetFetcher,
    DatasetFetcher,
    HotpotQADatasetFetcher,
    QAngarooDatasetFetcher,
    SQuAD2DatasetFetcher,
    TriviaQADatasetFetcher,
)

ALL = [
    CNNDailyMailDatasetFetcher,
    HotpotQADatasetFetcher,
    QAngarooDatasetFetcher,
    SQuAD2DatasetFetcher,
    TriviaQADatasetFetcher,
]


def zipped(**files: bytes) -> bytes:
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
    return open_store(tmp_path / "store")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "project" / "data"


@pytest.mark.parametrize("fetcher", ALL)
def test_each_fetches_its_dataset(fetcher: type[DatasetFetcher], store: Any, data: Path) -> None:
    name = fetcher.dataset.name
    store.put(f"{name}/train.json", b"1")
    store.put(f"{name}-other/train.json", b"2")
    folder = fetcher("bucket", data, store=store).fetch_dataset()
    assert folder == data / name
    assert content(folder) == {"train.json": b"1"}


@pytest.mark.parametrize("fetcher", ALL)
def test_their_defaults_are_those_of_aitoolbox(
    fetcher: type[DatasetFetcher], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("boto3", reason="needs tt-cloud[s3]")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    default = fetcher()
    assert default.bucket_name == "dataset-store"
    assert default.store.url == "s3://dataset-store"
    assert default.local_base_data_folder_path == tmp_path / "project" / "data"


def test_an_archive_is_unpacked(store: Any, data: Path) -> None:
    store.put("SQuAD2-other/train", b"2")
    store.put("SQuAD2.zip", zipped(train=b"1"))
    folder = SQuAD2DatasetFetcher("bucket", data, store=store).fetch_dataset()
    assert content(folder) == {"train": b"1"}


def test_parts_are_folders_of_their_own(store: Any, data: Path) -> None:
    store.put("qangaroo/medhop.zip", zipped(a=b"1"))
    store.put("qangaroo/wikihop/b", b"2")
    fetcher = QAngarooDatasetFetcher("bucket", data, store=store)
    assert content(fetcher.fetch_dataset("medhop")) == {"a": b"1"}
    assert content(fetcher.fetch_dataset("wikihop")) == {"b": b"2"}
    assert set(content(fetcher.fetch_dataset())) == {"medhop.zip", "wikihop/b"}
    folders = {path.name for path in data.iterdir() if path.name != ".tt-cloud"}
    assert folders == {"qangaroo", "qangaroo-medhop", "qangaroo-wikihop"}


def test_a_prepared_variant_is_fetched(store: Any, data: Path) -> None:
    store.put("cnn-dailymail/abisee.zip", zipped(a=b"1"))
    fetcher = CNNDailyMailDatasetFetcher("bucket", data, store=store)
    assert fetcher.preproc_dataset_available("abisee")
    assert not fetcher.preproc_dataset_available("orig")
    assert content(fetcher.fetch_preprocessed_dataset("abisee")) == {"a": b"1"}
    with pytest.raises(NotFound, match="danqi"):
        fetcher.fetch_preprocessed_dataset("danqi")


def test_a_file_is_a_dataset(store: Any, data: Path) -> None:
    class Glove(DatasetFetcher):
        dataset = DATASETS["glove"]

    store.put("glove/glove.6B.50d.txt", b"the 0.1\n")
    folder = Glove("bucket", data, store=store).fetch_dataset("50")
    assert folder == data / "glove-50"
    assert content(folder) == {"glove.6B.50d.txt": b"the 0.1\n"}


def test_a_folder_that_is_there_is_protected(
    store: Any, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "SQuAD2").mkdir(parents=True)
    (data / "SQuAD2" / "mine").write_bytes(b"mine")
    fetcher = SQuAD2DatasetFetcher("bucket", data, store=store)
    assert content(fetcher.fetch_dataset()) == {"mine": b"mine"}  # there is nothing in the store
    assert "is not complete" in caplog.text
    with pytest.raises(NotFound):
        fetcher.fetch_dataset(protect_local_folder=False)
    assert content(data / "SQuAD2") == {"mine": b"mine"}
    store.put("SQuAD2/train", b"1")
    fetcher.fetch_dataset(protect_local_folder=False)
    assert content(data / "SQuAD2") == {"train": b"1"}


def test_a_folder_that_was_fetched_and_changed_is_told_of(
    store: Any, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    store.put("SQuAD2/train", b"1")
    fetcher = SQuAD2DatasetFetcher("bucket", data, store=store)
    fetcher.fetch_dataset()
    fetcher.fetch_dataset()
    assert not caplog.records
    (data / "SQuAD2" / "train").write_bytes(b"12")
    fetcher.fetch_dataset()
    assert "'train'" in caplog.text
    assert content(fetcher.fetch_dataset(protect_local_folder=False)) == {"train": b"1"}


def test_an_unprotected_folder_follows_the_store(store: Any, data: Path) -> None:
    fetcher = SQuAD2DatasetFetcher("bucket", data, store=store)
    for version in (b"1", b"2"):
        store.put("SQuAD2/train", version)
        folder = fetcher.fetch_dataset(protect_local_folder=False)
        assert content(folder) == {"train": version}
    store.put("SQuAD2/dev", b"3")
    store.delete("SQuAD2/train")
    assert content(fetcher.fetch_dataset(protect_local_folder=False)) == {"dev": b"3"}


def test_a_crash_in_the_middle_of_a_replacement_is_survived(store: Any, data: Path) -> None:
    fetcher = SQuAD2DatasetFetcher("bucket", data, store=store)
    store.put("SQuAD2/train", b"1")
    fetcher.fetch_dataset()
    unfinished = data / ".tt-cloud" / "SQuAD2.part"
    (unfinished / "old").mkdir(parents=True)
    (unfinished / "old" / "train").write_bytes(b"0")
    (data / ".tt-cloud" / "SQuAD2.json").unlink()
    assert content(fetcher.fetch_dataset(protect_local_folder=False)) == {"train": b"1"}
    assert not unfinished.exists()


def test_a_refused_archive_leaves_what_was_there(store: Any, data: Path) -> None:
    fetcher = SQuAD2DatasetFetcher("bucket", data, store=store)
    store.put("SQuAD2.zip", zipped(train=b"1"))
    fetcher.fetch_dataset()
    store.put("SQuAD2.zip", zipped(**{"../evil": b"1"}))
    with pytest.raises(UnsafeArchive):
        fetcher.fetch_dataset(protect_local_folder=False)
    assert content(data / "SQuAD2") == {"train": b"1"}


def test_a_part_stays_below_the_folder_for_data(store: Any, data: Path) -> None:
    (data / "qangaroo-a").mkdir(parents=True)
    (data.parent / "b").mkdir()
    with pytest.raises(UnsafeKey):
        QAngarooDatasetFetcher("bucket", data, store=store).fetch_dataset("a/../../b")


def test_a_file_in_the_place_of_the_folder_is_left_alone(store: Any, data: Path) -> None:
    data.mkdir(parents=True)
    (data / "SQuAD2").write_bytes(b"mine")
    with pytest.raises(NotADirectoryError, match="SQuAD2 is a file"):
        SQuAD2DatasetFetcher("bucket", data, store=store).fetch_dataset()
    assert (data / "SQuAD2").read_bytes() == b"mine"


def test_a_link_to_a_folder_is_replaced_and_not_followed(
    store: Any, data: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_bytes(b"mine")
    data.mkdir(parents=True)
    (data / "SQuAD2").symlink_to(elsewhere)
    store.put("SQuAD2/train", b"1")
    fetcher = SQuAD2DatasetFetcher("bucket", data, store=store)
    assert content(fetcher.fetch_dataset()) == {"mine": b"mine"}
    assert content(fetcher.fetch_dataset(protect_local_folder=False)) == {"train": b"1"}
    assert content(elsewhere) == {"mine": b"mine"}
