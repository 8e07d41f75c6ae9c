import dataclasses
import hashlib
import json

import pytest
import torch

from tt_experiment import upload
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import UploadError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.ports import BlobStore
from tt_experiment.testing import BlobStoreContract
from tt_experiment.upload import mirror


@dataclasses.dataclass
class Blob:
    key: str
    size: int
    sha256: str | None


class MemoryStore:
    """A store in memory, that fails for the keys it is told to."""

    url = "memory://"

    def __init__(self):
        self.blobs = {}
        self.order = []
        self.fail = ()

    def put(self, key, source, /, *, sha256=None, if_absent=False):
        if any(part in key for part in self.fail):
            raise ConnectionError("no route")
        content = source if isinstance(source, bytes) else source.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if sha256 not in (None, digest):
            raise ValueError("digest")
        if if_absent and key in self.blobs:
            raise FileExistsError(key)
        self.blobs[key] = content
        self.order.append(key)
        return Blob(key, len(content), digest)

    def head(self, key, /):
        if key not in self.blobs:
            return None
        content = self.blobs[key]
        return Blob(key, len(content), hashlib.sha256(content).hexdigest())

    def get(self, key, target, /):
        if key not in self.blobs:
            raise FileNotFoundError(key)
        target.write_bytes(self.blobs[key])
        return self.head(key)

    def list(self, prefix="", /):
        return (self.head(key) for key in sorted(self.blobs) if key.startswith(prefix))

    def delete(self, key, /):
        self.blobs.pop(key, None)


class TestMemoryStore(BlobStoreContract):
    def make_store(self, path):
        return MemoryStore()


class Overwriting(MemoryStore):
    def put(self, key, source, /, *, sha256=None, if_absent=False):
        return super().put(key, source, sha256=sha256)


def test_the_contract_finds_a_store_that_breaks_it(tmp_path):
    class Broken(BlobStoreContract):
        def make_store(self, path):
            return Overwriting()

    with pytest.raises(AssertionError, match="FileExistsError was expected"):
        Broken().test_if_absent_loses_when_the_key_is_taken(tmp_path)


@pytest.fixture
def run(tmp_path):
    folder = ExperimentFolder.create(tmp_path, "p", "e")
    folder.write_start({"lr": 1})
    store = CheckpointFolder(folder.checkpoints)
    for step in (1, 2):
        tree = {"model": {"w": torch.ones(2)}}
        store.save(tree, step=step, scores={}).wait_committed()
    (folder.path / ".tmp-live").write_text("unfinished")
    folder.seal()
    return folder


def test_the_memory_store_fits():
    assert isinstance(MemoryStore(), BlobStore)


def test_everything_arrives_manifests_last(run):
    store = MemoryStore()
    count = mirror(run.path, store, "team/run")
    expected = json.loads(run.manifest_file.read_text())["files"]
    assert set(store.blobs) == {f"team/run/{name}" for name in [*expected, "MANIFEST.json"]}
    assert count == len(store.order) == len(expected) + 1
    assert store.order[-1] == "team/run/MANIFEST.json"
    for key in store.order:
        if key.endswith("/MANIFEST.json"):
            below = [k for k in store.blobs if k.startswith(key.removesuffix("MANIFEST.json"))]
            assert max(below, key=store.order.index) == key
    assert (run.path / "run.json").read_bytes() == store.blobs["team/run/run.json"]


def test_what_is_there_is_not_uploaded_again(run):
    store = MemoryStore()
    mirror(run.path, store)
    assert mirror(run.path, store) == 0
    run.finish("completed")
    run.seal()
    assert mirror(run.path, store) == 2
    assert store.order[-2:] == ["run.json", "MANIFEST.json"]


def test_a_failure_is_told_after_all_were_tried_and_holds_manifests_back(run):
    store = MemoryStore()
    store.fail = ["step-0000000001/model", "hyperparams.json"]
    with pytest.raises(UploadError, match=r"2 files .* did not reach memory://") as caught:
        mirror(run.path, store)
    assert isinstance(caught.value, OSError)
    assert "hyperparams.json: no route" in str(caught.value)
    assert "checkpoint_model/step-0000000001/model.safetensors: no route" in str(caught.value)
    assert "checkpoint_model/step-0000000001/MANIFEST.json" not in store.blobs
    assert "checkpoint_model/step-0000000002/MANIFEST.json" in store.blobs
    assert "MANIFEST.json" not in store.blobs
    store.fail = ()
    assert mirror(run.path, store) == 4
    assert store.order[-1] == "MANIFEST.json"
    assert mirror(run.path, store) == 0


def test_a_checkpoint_that_retention_removes_meanwhile_is_no_failure(run, monkeypatch):
    doomed = run.checkpoints / "step-0000000001"
    real = upload._snapshot

    def snapshot(path):
        if path.parent == doomed and path.exists():
            for file in doomed.iterdir():
                file.unlink()
        return real(path)

    monkeypatch.setattr(upload, "_snapshot", snapshot)
    store = MemoryStore()
    mirror(run.path, store)
    assert not [key for key in store.blobs if "step-0000000001" in key]
    assert "MANIFEST.json" not in store.blobs  # it lists what is no longer there


def test_large_files_are_not_read_into_memory(run, monkeypatch):
    monkeypatch.setattr(upload, "_SNAPSHOT", 10)
    store = MemoryStore()
    mirror(run.path, store)
    assert store.blobs["run.json"] == run.run_file.read_bytes()
