"""Runs in a store: found, fetched whole or not at all, and verified."""

import hashlib
import json

import pytest
import torch

from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import FormatVersionError, NoValidCheckpoint, RunFolderError
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder, run_files
from tt_experiment.provenance import Provenance
from tt_experiment.remote import fetch_run, find_runs, verify_run
from tt_experiment.testing import MemoryBlobStore
from tt_experiment.upload import mirror


def make(root, name="e", steps=(10, 20, 15)):
    folder = ExperimentFolder.create(root, "p", name, timestamp="2026-01-01_00-00-00")
    folder.write_start({"lr": 1}, Provenance(script=__file__, diff=False))
    checkpoints = CheckpointFolder(folder.checkpoints)
    for step in steps:
        tree = {"model": {"w": torch.full((3,), float(step))}, "epoch": step}
        checkpoints.save(tree, step=step, scores={"loss": 1.0}).wait_committed()
    folder.metrics.mkdir(exist_ok=True)
    (folder.metrics / "0001.jsonl").write_text('{"step": 1, "values": {}}\n')
    folder.results.mkdir(exist_ok=True)
    (folder.results / "results.json").write_text("{}")
    folder.finish("completed")
    folder.seal()
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = make(tmp_path_factory.mktemp("one"))
    store = MemoryBlobStore()
    mirror(folder.path, store, f"p/{folder.path.name}")
    return store, folder


@pytest.fixture
def stored(one):
    store = MemoryBlobStore()
    store.objects = dict(one[0].objects)
    return store, f"p/{one[1].path.name}", one[1]


def names(path):
    return {file.relative_to(path).as_posix() for file in run_files(path)}


def test_runs_are_found_with_what_is_whole(stored, tmp_path):
    store, prefix, folder = stored
    mirror(make(tmp_path / "two", "other", steps=()).path, store, "p/other")
    store.objects[f"{prefix}/checkpoint_model/step-0000000099/state.json"] = b"a part"
    store.objects[f"{prefix}/results/run.json"] = b"{}"
    store.objects["p/broken/run.json"] = b"{"
    runs = {run.prefix: run for run in find_runs(store)}
    assert set(runs) == {prefix, "p/other"}
    assert runs[prefix].checkpoints == tuple(f"step-{step:010d}" for step in (10, 15, 20))
    assert runs[prefix].sealed
    assert runs[prefix].run["id"] == folder.run()["id"]
    assert [run.prefix for run in find_runs(store, "p/oth")] == ["p/other"]


def test_to_go_on_the_newest_checkpoint_is_fetched(stored, tmp_path):
    store, prefix, folder = stored
    path = fetch_run(store, prefix, tmp_path / "two")
    assert path == tmp_path / "two" / "p" / folder.path.name
    fetched = Experiment.open(path)
    latest = fetched.latest()
    assert latest.step == 15  # saved after step 20
    assert torch.equal(fetched.load(latest)["model"]["w"], torch.full((3,), 15.0))
    whole = names(folder.path)
    kept = {name for name in whole if "step-" not in name or "step-0000000015" in name}
    assert names(path) == kept - {"MANIFEST.json", "results/results.json"}
    for name in names(path):
        assert (path / name).read_bytes() == (folder.path / name).read_bytes()


def test_all_of_a_run_is_fetched_with_its_seal(stored, tmp_path):
    store, prefix, folder = stored
    path = fetch_run(store, prefix, tmp_path / "two", what="all")
    assert names(path) == names(folder.path)
    ExperimentFolder(path).verify()


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "manifest"])
def test_a_damaged_checkpoint_is_skipped_for_the_next_older(stored, tmp_path, caplog, damage):
    store, prefix, _ = stored
    top = f"{prefix}/checkpoint_model/step-0000000015"
    key = f"{top}/MANIFEST.json" if damage == "manifest" else f"{top}/model.safetensors"
    content = bytearray(store.objects[key])
    content[len(content) // 2] ^= 1
    store.objects[key] = bytes(content[:-3] if damage == "cut" else content)
    if damage == "gone":
        del store.objects[key]
    path = fetch_run(store, prefix, tmp_path / "two")
    assert Experiment.open(path).latest().step == 20
    assert "skipping a damaged checkpoint" in caplog.text
    whole = fetch_run(store, prefix, tmp_path / "three", what="all")
    assert "MANIFEST.json" not in names(whole)
    assert sum(name.endswith("/state.json") for name in names(whole)) == 2


def test_without_a_valid_checkpoint_nothing_is_made(stored, tmp_path):
    store, prefix, _ = stored
    for key in store.objects:
        if key.endswith(".safetensors"):
            store.objects[key] = b"x"
    with pytest.raises(NoValidCheckpoint, match=r"no checkpoint that is whole"):
        fetch_run(store, prefix, tmp_path / "two")
    assert list((tmp_path / "two" / "p").iterdir()) == []


def test_a_newer_format_is_no_reason_for_an_older_checkpoint(stored, tmp_path):
    store, prefix, _ = stored
    key = f"{prefix}/checkpoint_model/step-0000000015/MANIFEST.json"
    manifest = {**json.loads(store.objects[key]), "format": "tt-checkpoint/99"}
    del manifest["self_sha256"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["self_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    store.objects[key] = json.dumps(manifest).encode()
    with pytest.raises(FormatVersionError, match="tt-checkpoint/99"):
        fetch_run(store, prefix, tmp_path)


def test_a_part_of_a_checkpoint_is_not_seen(stored, tmp_path):
    store, prefix, _ = stored
    del store.objects[f"{prefix}/checkpoint_model/step-0000000015/MANIFEST.json"]
    path = fetch_run(store, prefix, tmp_path / "two", what="all")
    assert not (path / "checkpoint_model" / "step-0000000015").exists()
    assert not (path / "MANIFEST.json").exists()
    assert Experiment.open(path).latest().step == 20


def test_a_fetch_that_dies_leaves_nothing_that_looks_whole(stored, tmp_path):
    """At every request; the next one succeeds, and sweeps nothing that is alive."""
    store, prefix, folder = stored
    root = tmp_path / "two"

    class Killed(BaseException):
        pass

    for survived in range(1000):
        requests = iter(range(survived))

        def before(method, key, requests=requests):
            if next(requests, None) is None:
                raise Killed

        store.before = before
        try:
            fetch_run(store, prefix, root)
        except Killed:
            assert not (root / "p" / folder.path.name).exists()
        else:
            break
    assert survived > 10
    assert Experiment.open(root / "p" / folder.path.name).latest().step == 15


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a\\b", "a//b"])
def test_keys_that_lead_out_of_the_folder_are_refused(stored, tmp_path, name):
    store, prefix, _ = stored
    store.objects[f"{prefix}/{name}"] = b"evil"
    with pytest.raises(RunFolderError, match=r"files of a run lie below its folder"):
        fetch_run(store, prefix, tmp_path / "two", what="all")
    assert not list(tmp_path.rglob("evil"))


def test_what_is_no_run_or_is_there_already_is_said(stored, tmp_path):
    store, prefix, _ = stored
    with pytest.raises(RunFolderError, match=r"no such run"):
        fetch_run(store, "p/nothing", tmp_path / "two")
    with pytest.raises(RunFolderError, match=r"a run's key is"):
        fetch_run(store, "nothing", tmp_path / "two")
    with pytest.raises(RunFolderError, match=r"a run's key is"):
        fetch_run(store, "../nothing", tmp_path / "two")
    fetch_run(store, prefix, tmp_path / "two")
    with pytest.raises(RunFolderError, match=r"go on with that"):
        fetch_run(store, prefix, tmp_path / "two")


@pytest.mark.parametrize("read_back", [False, True])
def test_a_sealed_run_is_verified_file_by_file(stored, read_back):
    store, prefix, folder = stored
    found = verify_run(store, prefix, read_back=read_back)
    assert found.whole
    assert found.files == len(json.loads(folder.manifest_file.read_text())["files"])
    store.objects[f"{prefix}/run.json"] += b" "
    del store.objects[f"{prefix}/hyperparams.json"]
    found = verify_run(store, prefix, read_back=read_back)
    assert not found.whole
    assert set(found.problems) == {"run.json", "hyperparams.json"}
    del store.objects[f"{prefix}/MANIFEST.json"]
    assert "not sealed" in verify_run(store, prefix).problems["MANIFEST.json"]


def test_read_back_finds_what_the_store_does_not_know(stored):
    store, prefix, _ = stored
    key = f"{prefix}/run.json"
    told = hashlib.sha256(store.objects[key]).hexdigest()
    store.objects[key] = b"x" * len(store.objects[key])
    real = store._info

    class Told:
        def __init__(self, info):
            self.key, self.size, self.sha256 = info.key, info.size, told

    store._info = lambda name, content: (
        Told(real(name, content)) if name == key else real(name, content)
    )
    assert verify_run(store, prefix).whole
    assert set(verify_run(store, prefix, read_back=True).problems) == {"run.json"}
