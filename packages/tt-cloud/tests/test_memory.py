import pickle
from pathlib import Path
from uuid import uuid4

import pytest

from tt_cloud import ChecksumMismatch, UnsafeKey, open_store
from tt_cloud._memory import _buckets, _Object


def test_changed_bytes_are_not_accepted(tmp_path: Path) -> None:
    name = str(uuid4())
    store = open_store(f"memory://{name}")
    (tmp_path / "target").write_bytes(b"before")
    for wrong in (b"storeD", b"store"):
        store.put("key", b"stored")
        _buckets[name]["key"] = _Object(wrong, _buckets[name]["key"].stored)
        with pytest.raises(ChecksumMismatch, match=f"memory://{name}/key"):
            store.get("key", tmp_path / "target")
        with pytest.raises(ChecksumMismatch, match=f"memory://{name}/key"):
            store.read("key")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_foreign_keys_that_are_unsafe_stop_a_listing() -> None:
    name = str(uuid4())
    store = open_store(f"memory://{name}")
    store.put("a", b"")
    _buckets[name]["folder/"] = _buckets[name]["a"]
    assert [info.key for info in store.list()] == ["a"]
    _buckets[name]["../above"] = _buckets[name]["a"]
    with pytest.raises(UnsafeKey):
        list(store.list())


def test_stores_of_one_name_are_one() -> None:
    name = str(uuid4())
    open_store(f"memory://{name}/some").put("key", b"data")
    assert open_store(f"memory://{name}").read("some/key") == b"data"
    assert list(open_store(f"memory://{uuid4()}").list()) == []


def test_a_pickle_holds_no_objects() -> None:
    store = open_store(f"memory://{uuid4()}")
    store.put("key", b"large" * 1000)
    assert len(pickle.dumps(store)) < 1000
