"""A machine is ended after its run was verified elsewhere, and not otherwise."""

import pytest

from tt_experiment.errors import ExperimentSetupError, Preempted, UploadError
from tt_experiment.experiment import Experiment
from tt_experiment.finishing import EndInstance, end_instance
from tt_experiment.provenance import Provenance
from tt_experiment.testing import MemoryBlobStore


class Machine:
    def __init__(self):
        self.calls = []

    def stop(self):
        self.calls.append("stop")

    def terminate(self):
        self.calls.append("terminate")

    def interruption(self):
        return None


def started(root, store):
    provenance = Provenance(script=__file__, diff=False)
    experiment = Experiment("p", "e", root, store=store, provenance=provenance)
    experiment.start()
    return experiment


@pytest.mark.parametrize("action", ["stop", "terminate"])
def test_the_machine_is_ended_when_the_sealed_run_is_in_the_store(tmp_path, action):
    store, machine = MemoryBlobStore(), Machine()
    experiment = started(tmp_path, store)

    def at_the_end(method, key):
        assert machine.calls == []

    store.before = at_the_end
    with EndInstance(machine, experiment, action):
        experiment.finish("completed")
    assert machine.calls == [action]


def test_it_goes_on_when_the_run_is_not_whole(tmp_path):
    store, machine = MemoryBlobStore(), Machine()
    experiment = started(tmp_path, store)
    experiment.finish("completed")
    experiment.upload()
    prefix = experiment.prefix(experiment.folder)
    content = store.objects.pop(f"{prefix}/hyperparams.json")
    with (
        pytest.raises(UploadError, match=r"the machine goes on.*hyperparams.json: missing"),
        EndInstance(machine, experiment),
    ):
        pass
    store.objects[f"{prefix}/hyperparams.json"] = content

    def before(method, key):
        if method == "head" and "run.json" in key:
            raise ConnectionError("no route")

    store.before = before
    with pytest.raises(UploadError, match=r"cannot be verified: no route"):
        end_instance(machine, store, prefix)
    assert machine.calls == []


def test_it_goes_on_when_the_upload_fails_or_the_run_is_not_sealed(tmp_path):
    store, machine = MemoryBlobStore(), Machine()
    experiment = started(tmp_path, store)
    with pytest.raises(UploadError, match="not sealed"), EndInstance(machine, experiment):
        pass

    def before(method, key):
        raise PermissionError("denied")

    store.before = before
    with pytest.raises(UploadError, match="denied"), EndInstance(machine, experiment):
        experiment.finish("completed")
    assert machine.calls == []
    experiment.outbox.close()


@pytest.mark.parametrize(
    ("error", "after_failure", "ended"),
    [
        (MemoryError, False, False),
        (MemoryError, True, True),
        (KeyboardInterrupt, True, False),
        (lambda: Preempted("notice"), True, False),
    ],
)
def test_after_a_failure_it_is_ended_if_that_was_asked_for(tmp_path, error, after_failure, ended):
    store, machine = MemoryBlobStore(), Machine()
    experiment = started(tmp_path, store)
    what = error()
    experiment.finish("failed")
    with (
        pytest.raises(type(what)),
        EndInstance(machine, experiment, after_failure=after_failure),
    ):
        raise what
    assert machine.calls == (["stop"] if ended else [])


def test_what_failed_is_told_also_when_the_machine_cannot_be_ended(tmp_path, caplog):
    store, machine = MemoryBlobStore(), Machine()
    experiment = started(tmp_path, store)
    with pytest.raises(MemoryError), EndInstance(machine, experiment, after_failure=True):
        raise MemoryError
    assert "not sealed" in caplog.text
    assert machine.calls == []


@pytest.mark.parametrize(
    ("url", "action"),
    [("memory://x", "stop"), ("memory://x", "terminate"), ("file:///data", "terminate")],
)
def test_a_store_that_ends_with_the_machine_is_refused(tmp_path, url, action):
    store = MemoryBlobStore(url)
    experiment = Experiment("p", "e", tmp_path, store=store)
    with pytest.raises(ExperimentSetupError, match="lost with the machine"):
        EndInstance(Machine(), experiment, action)
    with pytest.raises(ExperimentSetupError, match="lost with the machine"):
        end_instance(Machine(), store, "p/e", action)


def test_a_run_without_a_store_and_an_unknown_action_are_refused(tmp_path):
    with pytest.raises(ExperimentSetupError, match="has none"):
        EndInstance(Machine(), Experiment("p", "e", tmp_path))
    with pytest.raises(ExperimentSetupError, match="'stop' or 'terminate'"):
        EndInstance(Machine(), Experiment("p", "e", tmp_path, store=MemoryBlobStore()), "explode")
