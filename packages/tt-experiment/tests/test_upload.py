"""Copies after the fact: `mirror`, and `sync` for what a process could not finish."""

import json
import shutil

import pytest
import torch

from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import RunFolderError, StoreError, UploadError
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder, run_files
from tt_experiment.outbox import Patience
from tt_experiment.provenance import Provenance
from tt_experiment.testing import BlobStoreContract, MemoryBlobStore
from tt_experiment.upload import mirror, sync

QUICK = Patience(base=0.001, cap=0.01, claim=30.0, give_up=0.05)


class Overwriting(MemoryBlobStore):
    def put(self, key, source, /, *, sha256=None, if_absent=False):
        return super().put(key, source, sha256=sha256)


def test_the_contract_finds_a_store_that_breaks_it(tmp_path):
    class Broken(BlobStoreContract):
        def make_store(self, path):
            return Overwriting()

    with pytest.raises(AssertionError, match="FileExistsError was expected"):
        Broken().test_if_absent_loses_when_the_key_is_taken(tmp_path)
    with pytest.raises(AssertionError):
        Broken().test_of_many_that_create_a_key_one_succeeds(tmp_path)


def refusing(*parts):
    def before(method, key):
        if method == "put" and any(part in key for part in parts):
            raise PermissionError("not allowed")

    return before


def down(method, key):
    raise ConnectionError("no route")


@pytest.fixture
def run(tmp_path):
    folder = ExperimentFolder.create(tmp_path, "p", "e")
    folder.write_start({"lr": 1}, Provenance(script=__file__, diff=False))
    checkpoints = CheckpointFolder(folder.checkpoints)
    for step in (1, 2):
        tree = {"model": {"w": torch.ones(2)}}
        checkpoints.save(tree, step=step, scores={}).wait_committed()
    (folder.path / ".tmp-live").write_text("unfinished")
    folder.seal()
    return folder


def test_everything_arrives_manifests_last(run):
    store = MemoryBlobStore()
    count = mirror(run.path, store, "team/run")
    expected = json.loads(run.manifest_file.read_text())["files"]
    assert set(store.objects) == {f"team/run/{name}" for name in [*expected, "MANIFEST.json"]}
    assert count == len(store.stored) == len(expected) + 1
    assert store.stored[-1] == "team/run/MANIFEST.json"
    for key in store.stored:
        if key.endswith("/MANIFEST.json"):
            below = [k for k in store.objects if k.startswith(key.removesuffix("MANIFEST.json"))]
            assert max(below, key=store.stored.index) == key
    assert run.run_file.read_bytes() == store.objects["team/run/run.json"]


def test_what_is_there_is_not_uploaded_again(run):
    store = MemoryBlobStore()
    mirror(run.path, store)
    assert mirror(run.path, store) == 0
    run.finish("completed")
    run.seal()
    assert mirror(run.path, store) == 2
    assert store.stored[-2:] == ["run.json", "MANIFEST.json"]


def test_a_failure_is_told_after_all_were_tried_and_holds_manifests_back(run):
    store = MemoryBlobStore()
    store.before = refusing("step-0000000001/model", "hyperparams.json")
    with pytest.raises(UploadError, match=r"2 parts .* did not reach mem://test") as caught:
        mirror(run.path, store)
    assert isinstance(caught.value, OSError)
    assert "hyperparams.json: not allowed" in str(caught.value)
    assert "checkpoint_model/step-0000000001: not allowed" in str(caught.value)
    assert "checkpoint_model/step-0000000001/MANIFEST.json" not in store.objects
    assert "checkpoint_model/step-0000000002/MANIFEST.json" in store.objects
    assert "MANIFEST.json" not in store.objects
    store.before = refusing()
    assert mirror(run.path, store) == 5
    assert store.stored[-1] == "MANIFEST.json"
    assert mirror(run.path, store) == 0


def test_nothing_is_written_to_the_run_that_is_mirrored(run):
    before = sorted(path.as_posix() for path in run.path.rglob("*"))
    mirror(run.path, MemoryBlobStore())
    assert sorted(path.as_posix() for path in run.path.rglob("*")) == before


def experiment_in(root, store, name="e"):
    """A run that ended while its store was down."""
    experiment = Experiment(
        "p", name, root, store=store, provenance=Provenance(script=__file__, diff=False)
    )
    experiment.start()
    experiment.outbox.drain()
    before, store.before = store.before, down
    experiment.save({"model": {"w": torch.ones(2)}}, step=1, scores={}).wait_committed(30)
    experiment.folder.finish("completed")
    experiment.folder.seal()
    experiment.lock.release()
    experiment.outbox.close()
    store.before = before
    return experiment


def in_store(store, experiment):
    path = experiment.folder.path
    names = {file.relative_to(path).as_posix() for file in run_files(path)}
    prefix = experiment.prefix(experiment.folder)
    return all(
        store.objects.get(f"{prefix}/{name}") == (path / name).read_bytes() for name in names
    )


def test_sync_brings_up_what_is_left_and_says_what_is_not(tmp_path):
    store = MemoryBlobStore()
    one, two = (experiment_in(tmp_path, store, name) for name in ("one", "two"))
    paths = [one.folder.path, two.folder.path]
    prefix = two.prefix(two.folder)

    def before(method, key):
        if key.startswith(prefix):
            raise ConnectionError("no route")

    store.before = before
    report = sync(tmp_path, store=store, patience=QUICK)
    assert (report.complete, list(report.pending)) == ((paths[0],), [paths[1]])
    assert "no route" in report.pending[paths[1]]
    assert report.exit_status == 3
    assert in_store(store, one)
    store.before = refusing()
    report = sync(paths[1], store=store)
    assert (report.complete, report.exit_status) == ((paths[1],), 0)
    assert report.files > 0
    assert in_store(store, two)
    assert sync(tmp_path / "p", store=store).files == 0


def test_sync_finds_and_mends_what_the_store_has_lost(tmp_path):
    store = MemoryBlobStore()
    experiment = experiment_in(tmp_path, store)
    sync(experiment.folder.path, store=store)
    prefix = experiment.prefix(experiment.folder)
    del store.objects[f"{prefix}/checkpoint_model/step-0000000001/state.json"]
    store.objects[f"{prefix}/hyperparams.json"] = b"{}"
    assert sync(experiment.folder.path, store=store).files == 4  # two manifests with them
    assert in_store(store, experiment)


def test_sync_without_a_run_or_a_store_is_an_error(tmp_path):
    with pytest.raises(RunFolderError, match=r"must be a run, or hold runs"):
        sync(tmp_path)
    local = Experiment("p", "e", tmp_path, provenance=Provenance(script=__file__, diff=False))
    local.start()
    local.finish("completed")
    with pytest.raises(StoreError, match="has no store"):
        sync(local.folder.path)
    assert sync(tmp_path).complete == ()


def test_the_store_is_known_from_the_run(tmp_path):
    store = MemoryBlobStore("nowhere://bucket")
    experiment = experiment_in(tmp_path, store)
    assert experiment.folder.run()["store"] == "nowhere://bucket"
    with pytest.raises(StoreError, match="nowhere"):
        sync(experiment.folder.path)
    shutil.rmtree(experiment.folder.path / ".outbox")
    sync(experiment.folder.path, store=store)
    assert in_store(store, experiment)


def test_what_a_store_raises_while_a_run_is_verified_keeps_no_other_run_back(tmp_path):
    store = MemoryBlobStore()
    one, two = (experiment_in(tmp_path, store, name) for name in ("one", "two"))

    def before(method, key):
        seal = f"{one.prefix(one.folder)}/MANIFEST.json"
        if method == "get" and key == seal:
            raise RuntimeError("of a kind of its own")

    store.before = before
    report = sync(tmp_path, store=store, patience=QUICK)
    assert report.complete == (two.folder.path,)
    assert "of a kind of its own" in report.pending[one.folder.path]
