"""The datasets that AIToolbox fetches, and its fetchers.

A dataset lies in the store under its name, and a part of it under ``name/part``: as an archive
(``SQuAD2.zip``, ``qangaroo/medhop.tar.gz``: any of `tt_cloud.datasets.archives.ARCHIVE_ENDINGS`),
as a file of just that name, or as a folder. On this machine it becomes the folder ``name`` or
``name-part`` of the folder for data.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from tt_cloud._keys import check_key
from tt_cloud.api import TreeStore
from tt_cloud.aws.data_access import AbstractDatasetFetcher, BaseDataLoader
from tt_cloud.datasets._entry import Entry
from tt_cloud.datasets._install import Plan, install
from tt_cloud.datasets._source import Source, find
from tt_cloud.datasets.archives import ARCHIVE_ENDINGS
from tt_cloud.errors import NotFound

__all__ = [
    "DATASETS",
    "CNNDailyMailDatasetFetcher",
    "DatasetFetcher",
    "HotpotQADatasetFetcher",
    "KnownDataset",
    "QAngarooDatasetFetcher",
    "SQuAD2DatasetFetcher",
    "TriviaQADatasetFetcher",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """What is known of a dataset.

    Attributes:
        name: In the store and on this machine.
        parts: Of which it can be fetched one; with what each is called in the store.
        preprocessed: Those among the parts that somebody prepared.
    """

    name: str
    parts: Mapping[str, str] = field(default_factory=dict)
    preprocessed: tuple[str, ...] = ()

    def key(self, part: str | None) -> str:
        """Where it is in the store, apart from an ending."""
        return self.name if part is None else f"{self.name}/{self.parts.get(part, part)}"

    def folder(self, part: str | None) -> str:
        """What it is called on this machine."""
        return self.name if part is None else f"{self.name}-{part}"


def _named(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_KNOWN = (
    KnownDataset("HotpotQA"),
    KnownDataset("SQuAD2"),
    KnownDataset("TriviaQA"),
    KnownDataset("cnn-dailymail", _named("abisee", "danqi"), ("abisee", "danqi")),
    KnownDataset("glove", {size: f"glove.6B.{size}d.txt" for size in ("50", "100", "200", "300")}),
    KnownDataset("qangaroo", _named("orig", "medhop", "wikihop")),
)

DATASETS: Mapping[str, KnownDataset] = MappingProxyType({each.name: each for each in _KNOWN})
"""By name."""


class DatasetFetcher(AbstractDatasetFetcher, BaseDataLoader):
    """Fetches a dataset to the folder for data.

    Args:
        bucket_name: Bucket of the datasets, on S3.
        local_dataset_folder_path: The folder for data.
        store: A store to use instead of the bucket.

    Attributes:
        dataset: Which; for subclasses.
    """

    dataset: ClassVar[KnownDataset]

    def __init__(
        self,
        bucket_name: str = "dataset-store",
        local_dataset_folder_path: str | Path = "~/project/data",
        *,
        store: TreeStore | None = None,
    ) -> None:
        BaseDataLoader.__init__(self, bucket_name, local_dataset_folder_path, store=store)
        self.available_preprocessed_datasets = self.dataset.preprocessed

    def fetch_dataset(
        self, dataset_name: str | None = None, protect_local_folder: bool = True
    ) -> Path:
        """Have the dataset, or a part of it, in a folder; it is fetched and unpacked if need be.

        Args:
            dataset_name: A part, where there are some: else all of it.
            protect_local_folder: Use a folder that is there as it is, without asking the store (a
                warning is logged where it is not what was fetched). Else a folder that is not as
                the store has it is replaced, once what replaces it is here.

        Raises:
            NotFound: When the store has no such dataset or part.
            UnsafeArchive: When an archive was refused.
        """
        key = self.dataset.key(dataset_name)
        check_key(key)
        entry = Entry(self.local_base_data_folder_path, self.dataset.folder(dataset_name))
        if protect_local_folder and os.path.lexists(entry.folder):
            _check_folder(entry.folder)
            if fault := entry.fault(None, full=False):
                _log.warning(
                    "%s %s; protect_local_folder=False fetches it again", entry.folder, fault
                )
            return entry.folder
        install(_locate(self.store, key), entry, Plan())
        return entry.folder


class SQuAD2DatasetFetcher(DatasetFetcher):
    """Fetches SQuAD 2.0."""

    dataset = DATASETS["SQuAD2"]


class QAngarooDatasetFetcher(DatasetFetcher):
    """Fetches QAngaroo; its parts are ``"orig"``, ``"medhop"`` and ``"wikihop"``."""

    dataset = DATASETS["qangaroo"]


class CNNDailyMailDatasetFetcher(DatasetFetcher):
    """Fetches CNN/DailyMail."""

    dataset = DATASETS["cnn-dailymail"]

    def fetch_preprocessed_dataset(
        self, preprocess_name: str, protect_local_folder: bool = True
    ) -> Path:
        """Have a variant that somebody prepared, ``"abisee"`` or ``"danqi"``, in a folder."""
        return self.fetch_dataset(preprocess_name, protect_local_folder)


class HotpotQADatasetFetcher(DatasetFetcher):
    """Fetches HotpotQA."""

    dataset = DATASETS["HotpotQA"]


class TriviaQADatasetFetcher(DatasetFetcher):
    """Fetches TriviaQA."""

    dataset = DATASETS["TriviaQA"]


def _check_folder(path: Path) -> None:
    if not path.is_dir():
        msg = f"a dataset is a folder: {path} is a file; move it, or use another folder for data"
        raise NotADirectoryError(msg)


def _locate(store: TreeStore, key: str) -> Source:
    """The file, archive or folder of that name: in this order, which is that of listings."""
    for info in store.list(key):
        if info.key == key or info.key.removeprefix(key).lower() in ARCHIVE_ENDINGS:
            return find(store, info.key)
        if info.key.startswith(f"{key}/"):
            return find(store, key)
    msg = f"a dataset is in the store to be fetched: {store.url} has no {key!r}; put it there"
    raise NotFound(msg)
