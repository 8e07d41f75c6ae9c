"""A run that ended anywhere goes on through the disk, to the bits of the run that did not end."""

import contextlib
import gc
import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from tt_experiment.api import (
    CheckpointMismatch,
    CorruptCheckpoint,
    Experiment,
    ExperimentCheckpoint,
    ExperimentFolder,
    ExperimentSetupError,
    NoValidCheckpoint,
    Provenance,
    QueryError,
    RunFolderError,
    RunLockedError,
    TrainLoopCheckpoint,
    read_metrics,
)
from tt_experiment.recorder import read_events
from tt_experiment.report import write_report
from tt_experiment.resume import resume_from
from tt_loop.api import (
    Callback,
    EarlyStopping,
    GeneralLRSchedulerCallback,
    StepLRScheduler,
    TrainLoop,
)

SAMPLES = 26  # batches of 4, the last of 2


@pytest.fixture(autouse=True)
def _without_surroundings(monkeypatch) -> None:
    """Looking at the machine's packages and at git takes longer than all else here."""
    monkeypatch.setattr("tt_experiment.folder.environment", dict)
    monkeypatch.setattr("tt_experiment.folder.git_state", lambda *_, **__: None)


class Noisy(Dataset):
    """Samples that draw."""

    def __init__(self) -> None:
        self.x = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int):
        return self.x[index] + 0.1 * torch.rand(4), int(self.x[index].sum() > 0)


def parts(workers: int = 0, width: int = 6, optimizer=torch.optim.AdamW):
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.2), nn.Linear(width, 2)
    )
    loader = DataLoader(Noisy(), 4, shuffle=True, num_workers=workers)
    validation = DataLoader(Noisy(), 8)
    return model, loader, validation, validation, optimizer(model.parameters(), lr=0.01)


def loop_of(root: Path, name: str = "run", hyperparams=None, workers: int = 0, **options):
    return TrainLoopCheckpoint(
        *parts(workers), nn.CrossEntropyLoss(), "project", name, root, hyperparams or {"lr": 0.01},
        **{"seed": 5, "progress": False, **options},
    )  # fmt: skip


class Lr(Callback):
    """Puts a value into the history in the middle of each epoch: it is recorded at its end."""

    def __init__(self) -> None:
        super().__init__("lr")

    def on_batch_end(self) -> None:
        loop = self.train_loop_obj
        if loop.iteration == 1:
            loop.insert_metric_result_into_history("early", float(loop.total_iteration_idx))


class Die(Callback):
    """Dies after so many batches, at a place."""

    def __init__(self, batches: int, hook: str = "on_batch_end") -> None:
        super().__init__("die", execution_order=200)
        self.batches, self.hook = batches, hook

    def _die(self) -> None:
        if self.train_loop_obj.total_iteration_idx + 1 >= self.batches:
            raise Died

    def on_batch_end(self) -> None:
        if self.hook == "on_batch_end":
            self._die()

    def on_evaluate_begin(self, dataset_info) -> None:
        if self.hook == "on_evaluate_begin":
            self._die()

    def on_train_end(self) -> None:
        if self.hook == "on_train_end":
            self._die()


class Died(Exception):  # noqa: N818 - it is the end of a run, no error of the program
    pass


def callbacks():
    return [Lr(), EarlyStopping(patience=9), StepLRScheduler(2)]


def curves(run: Path) -> list:
    return [(r["step"], r["epoch"], r["values"]) for r in read_metrics(run)]


def assert_same(whole, resumed) -> None:
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    mine, theirs = whole.optimizer.state_dict(), resumed.optimizer.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    for number, state in mine["state"].items():
        for key, value in state.items():
            assert torch.equal(value, theirs["state"][number][key]), key
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()
    assert curves(whole.experiment.folder.path) == curves(resumed.experiment.folder.path)
    assert whole.total_iteration_idx == resumed.total_iteration_idx


def whole_of(tmp_path: Path, fit, **options):
    whole = loop_of(tmp_path / "whole", **options)
    whole.fit(callbacks=callbacks(), **fit)
    return whole


def broken_at(tmp_path: Path, fit, die: Die, **options):
    broken = loop_of(tmp_path / "runs", **options)
    with pytest.raises(Died):
        broken.fit(callbacks=[*callbacks(), die], **fit)
    return broken.experiment.folder


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize(
    ("after", "hook"),
    [
        (3, "on_batch_end"),
        (7, "on_batch_end"),  # the last of an epoch
        (12, "on_batch_end"),
        (14, "on_evaluate_begin"),
        (21, "on_train_end"),
    ],
)
def test_a_run_that_died_anywhere_goes_on_to_the_same_bits(
    tmp_path, window: int, after: int, hook: str
) -> None:
    fit = {"num_epochs": 3, "grad_accumulation": window, "eval_every": 5}
    options = {"iteration_save_freq": 2}
    whole = whole_of(tmp_path, fit, **options)
    folder = broken_at(tmp_path, fit, Die(after, hook), **options)
    resumed = loop_of(tmp_path / "runs", **options)
    torch.rand(9)
    resumed.fit(callbacks=callbacks(), **fit, resume="auto")
    assert resumed.experiment.folder.path == folder.path
    assert_same(whole, resumed)
    run = folder.run()
    assert [attempt["status"] for attempt in run["attempts"]] == ["failed", "completed"]
    assert run["status"] == "completed"
    folder.verify()


def test_values_that_are_recorded_late_do_not_depend_on_saves(tmp_path) -> None:
    """A save inside an epoch leaves them to the epoch's end."""
    often = whole_of(tmp_path, {"num_epochs": 2}, iteration_save_freq=1)
    seldom = loop_of(tmp_path / "seldom")
    seldom.fit(num_epochs=2, callbacks=callbacks())
    assert curves(often.experiment.folder.path) == curves(seldom.experiment.folder.path)
    assert "early" in curves(seldom.experiment.folder.path)[0][2]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "later"), [(2, 0), (0, 2)])
def test_with_another_number_of_workers(tmp_path, before: int, later: int) -> None:
    whole = whole_of(tmp_path, {"num_epochs": 2})
    broken_at(tmp_path, {"num_epochs": 2}, Die(10), workers=before, iteration_save_freq=3)
    resumed = loop_of(tmp_path / "runs", workers=later)
    resumed.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert_same(whole, resumed)


def test_the_report_shows_one_run(tmp_path) -> None:
    whole = whole_of(tmp_path, {"num_epochs": 2})
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9))
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert_same(whole, resumed)
    write_report(folder)
    kinds = [event["kind"] for event in read_events(folder.events_file)]
    assert kinds.count("resume") == 1
    assert kinds.count("start") == 1


@pytest.mark.parametrize("way", ["path", "text", "id", "name"])
def test_a_run_is_named_in_several_ways(tmp_path, way: str) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9))
    loop_of(tmp_path / "runs", name="other").fit(num_epochs=1)
    what = {
        "path": folder.path,
        "text": str(folder.path),
        "id": folder.run()["id"],
        "name": folder.path.name,
    }[way]
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=2, callbacks=callbacks(), resume=what)
    assert resumed.experiment.folder.path == folder.path
    assert_same(whole_of(tmp_path, {"num_epochs": 2}), resumed)


def test_a_run_comes_back_from_its_store(tmp_path) -> None:
    pytest.importorskip("tt_cloud")
    store = f"file://{tmp_path}/store"
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9), store=store)
    whole = whole_of(tmp_path, {"num_epochs": 2})
    key = folder.path.relative_to(tmp_path / "runs").as_posix()
    for number, what in enumerate(("auto", f"{store}/{key}")):
        root = tmp_path / f"elsewhere{number}"
        resumed = loop_of(root, store=store if what == "auto" else None)
        resumed.fit(num_epochs=2, callbacks=callbacks(), resume=what)
        assert resumed.experiment.folder.path == root / key
        assert_same(whole, resumed)


def test_a_checkpoint_of_a_run_that_went_on_abandons_what_came_after_it(tmp_path) -> None:
    first = loop_of(tmp_path / "runs")
    first.fit(num_epochs=4, callbacks=callbacks())
    folder = first.experiment.folder
    second = loop_of(tmp_path / "runs")
    with pytest.raises(Died):  # at once: what was abandoned stays so
        second.fit(
            num_epochs=4,
            callbacks=[*callbacks(), Die(15)],
            resume=folder.checkpoints / "step-0000000014",
        )
    assert [step for step, _, _ in curves(folder.path)] == [7, 14]
    third = loop_of(tmp_path / "runs")
    third.fit(num_epochs=3, callbacks=callbacks(), resume="auto")
    assert third.experiment.folder.path == folder.path
    assert_same(whole_of(tmp_path, {"num_epochs": 3}), third)
    assert third.experiment.latest().step == 21
    assert [each["from_step"] for each in folder.run()["attempts"]] == [0, 14, 14]


def test_a_completed_run_goes_on_with_more_epochs_or_says_that_nothing_is_left(
    tmp_path, caplog
) -> None:
    whole = whole_of(tmp_path, {"num_epochs": 3})
    done = loop_of(tmp_path / "runs")
    done.fit(num_epochs=2, callbacks=callbacks())
    again = loop_of(tmp_path / "runs")
    with caplog.at_level(logging.WARNING):
        again.fit(num_epochs=2, callbacks=callbacks(), resume=done.experiment.folder.path)
    assert "has its 2 epochs: nothing is left" in caplog.text
    assert_same(done, again)
    more = loop_of(tmp_path / "runs")
    more.fit(num_epochs=3, callbacks=callbacks(), resume=done.experiment.folder.path)
    assert more.epochs_done == 3
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, more.model.state_dict()[name])
    new = loop_of(tmp_path / "runs")
    new.fit(num_epochs=1, resume="auto")  # nothing is unfinished
    assert new.experiment.folder.path != done.experiment.folder.path
    new.fit(num_epochs=1, resume="auto")  # goes on in its own run
    assert new.epochs_done == 2


def test_a_run_without_a_checkpoint_begins_again_in_its_folder(tmp_path, caplog) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(3))
    assert not folder.checkpoints.exists()
    resumed = loop_of(tmp_path / "runs")
    with caplog.at_level(logging.WARNING):
        resumed.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert "begins again" in caplog.text
    assert resumed.experiment.folder.path == folder.path
    assert_same(whole_of(tmp_path, {"num_epochs": 2}), resumed)
    assert len(folder.run()["attempts"]) == 2


def test_a_damaged_checkpoint_gives_way_to_the_next_older_and_never_to_none(tmp_path) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 3}, Die(16))
    newest = folder.checkpoints / "step-0000000014" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"\0\0")
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=3, callbacks=callbacks(), resume="auto")
    assert [each["from_step"] for each in folder.run()["attempts"]] == [0, 7]
    assert_same(whole_of(tmp_path, {"num_epochs": 3}), resumed)

    other = broken_at(tmp_path, {"num_epochs": 3}, Die(9), name="other")
    (other.checkpoints / "step-0000000007" / "model.safetensors").unlink()
    before = other.run()
    resumed = loop_of(tmp_path / "runs", name="other")
    with pytest.raises(NoValidCheckpoint):
        resumed.fit(num_epochs=3, callbacks=callbacks(), resume="auto")
    assert other.run() == before
    assert resumed.total_iteration_idx == -1
    with pytest.raises(CorruptCheckpoint, match="step-0000000007"):
        resumed.fit(num_epochs=3, resume=other.checkpoints / "step-0000000007")


def test_automatic_means_the_same_names_and_hyperparameters(tmp_path, caplog) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9))
    for name, hyperparams in (("other", {"lr": 0.01}), ("run", {"lr": 0.5})):
        loop = loop_of(tmp_path / "runs", name, hyperparams)
        with caplog.at_level(logging.WARNING):
            loop.fit(num_epochs=1, resume="auto")
        assert loop.experiment.folder.path != folder.path
        assert len(loop.experiment.folder.run()["attempts"]) == 1
    assert "differ in lr" in caplog.text


def test_the_newest_unfinished_run_is_meant(tmp_path) -> None:
    folders = []
    for stamp in ("2026-01-02_00-00-00", "2026-01-01_00-00-00"):
        loop = loop_of(tmp_path / "runs")
        loop.experiment_timestamp = stamp
        with pytest.raises(Died):
            loop.fit(num_epochs=2, callbacks=[*callbacks(), Die(9)])
        folders.append(loop.experiment.folder)
    facts = json.loads(folders[0].run_file.read_text())
    folders[0].run_file.write_text(json.dumps({**facts, "created": "2020-01-01T00:00:00+00:00"}))
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert resumed.experiment.folder.path == folders[1].path


def test_a_run_that_is_at_work_is_left_alone(tmp_path, monkeypatch) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9))

    def locked(self) -> None:
        if self.path.parent == folder.path:
            raise RunLockedError("at work")

    monkeypatch.setattr("tt_experiment._lock.RunLock.acquire", locked)
    with pytest.raises(RunLockedError):
        loop_of(tmp_path / "runs").fit(num_epochs=2, resume=folder.path)
    new = loop_of(tmp_path / "runs")
    new.fit(num_epochs=1, resume="auto")
    assert new.experiment.folder.path != folder.path


def test_what_is_no_run_is_said(tmp_path) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9))
    (tmp_path / "empty").mkdir()
    for what, error, rule in (
        (tmp_path / "empty", RunFolderError, "folder of a run"),
        ("no-such-run", QueryError, "no-such-run"),
        (folder.checkpoints / "step-0000000099", QueryError, "step-0000000099"),
    ):
        with pytest.raises(error, match=rule):
            loop_of(tmp_path / "runs").fit(num_epochs=2, resume=what)
    with pytest.raises(ExperimentSetupError, match="under its names"):
        loop_of(tmp_path / "runs", name="other").fit(num_epochs=2, resume=folder.path)
    started = loop_of(tmp_path / "runs")
    started.fit(num_epochs=1)
    with pytest.raises(ExperimentSetupError, match="make a new one"):
        started.fit(num_epochs=1, resume=folder.path)


def other_loop(root: Path, *, width=6, optimizer=torch.optim.AdamW, model=None, **options):
    made = list(parts(width=width, optimizer=optimizer))
    if model is not None:
        made[0] = model(made[0])
        made[4] = optimizer(made[0].parameters(), lr=0.01)
    return TrainLoopCheckpoint(
        *made, nn.CrossEntropyLoss(), "project", "run", root, {"lr": 0.01},
        **{"seed": 5, "progress": False, **options},
    )  # fmt: skip


class Renamed(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"width": 7}, r"0\.weight +float32 \[6, 4\] +float32 \[7, 4\]"),
        ({"optimizer": torch.optim.Adam}, r"optimizer 0 +AdamW +Adam\b"),
        ({"optimizer": torch.optim.SGD}, r"optimizer 0 +AdamW +SGD"),
        ({"model": Renamed}, r"class of the model +Sequential +Renamed"),
        ({"model": Renamed}, r"inner\.0\.weight +- +float32 \[6, 4\]"),
        ({"model": lambda model: model.double()}, r"3\.bias +float32 \[2\] +float64 \[2\]"),
        ({"callbacks": []}, r"scheduler 0 +StepLRScheduler\(StepLR\) +-"),
        (
            {
                "callbacks": [
                    GeneralLRSchedulerCallback(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)
                ]
            },
            r"scheduler 0 +StepLRScheduler\(StepLR\) +GeneralLRSchedulerCallback\(ExponentialLR\)",
        ),
    ],
)
def test_what_differs_is_told_in_a_table_and_nothing_is_loaded(tmp_path, change, row) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9))
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    given = change.pop("callbacks", None)
    loop = other_loop(tmp_path / "runs", **change)
    weights = {name: value.clone() for name, value in loop.model.state_dict().items()}
    with pytest.raises(CheckpointMismatch, match=row):
        loop.fit(num_epochs=2, callbacks=callbacks() if given is None else given, resume="auto")
    for name, value in loop.model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert loop.total_iteration_idx == -1
    assert loop.optimizer.state_dict()["state"] == {}
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    after.pop(folder.path / ".lock", None), before.pop(folder.path / ".lock", None)
    assert after == before


def test_groups_and_numbers_of_optimizers_are_compared(tmp_path) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(9))
    model, train, validation, test, _ = parts()
    groups = [{"params": model[0].parameters()}, {"params": model[1:].parameters()}]
    loop = TrainLoopCheckpoint(
        model, train, validation, test, torch.optim.AdamW(groups, lr=0.01), nn.CrossEntropyLoss(),
        "project", "run", tmp_path / "runs", {"lr": 0.01}, progress=False,
    )  # fmt: skip
    with pytest.raises(CheckpointMismatch, match=r"group 0 .*0\.weight.*\n.*group 1 +- "):
        loop.fit(num_epochs=2, callbacks=callbacks(), resume=folder.path)


class Prefixed(nn.Module):
    """As a compiled or parallel model names its parameters."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._orig_mod = inner

    def forward(self, x):
        return self._orig_mod(x)


def test_prefixes_of_compiled_and_parallel_models_do_not_matter(tmp_path) -> None:
    whole = whole_of(tmp_path, {"num_epochs": 3})
    folder = broken_at(tmp_path, {"num_epochs": 3}, Die(10), iteration_save_freq=2)
    compiled = other_loop(tmp_path / "runs", model=Prefixed)
    with pytest.raises(Died):
        compiled.fit(num_epochs=3, callbacks=[*callbacks(), Die(17)], resume=folder.path)
    plain = loop_of(tmp_path / "runs")
    plain.fit(num_epochs=3, callbacks=callbacks(), resume="auto")
    assert_same(whole, plain)


def test_a_plain_loop_resumes_with_an_experiment(tmp_path) -> None:
    def attempt(root, *more):
        experiment = Experiment("project", "run", root)
        loop = TrainLoop(*parts(), nn.CrossEntropyLoss(), seed=5, progress=False)
        found = resume_from(loop, "auto", experiment)
        given = [ExperimentCheckpoint(experiment, every_batches=3), *callbacks(), *more]
        loop.experiment = experiment
        with contextlib.suppress(Died):
            loop.fit(num_epochs=2, callbacks=given)
        return loop, found

    whole, nothing = attempt(tmp_path / "whole")
    broken, _ = attempt(tmp_path / "runs", Die(11))
    resumed, found = attempt(tmp_path / "runs")
    assert nothing is None
    assert found.step == 9
    assert resumed.experiment.folder.path == broken.experiment.folder.path
    assert_same(whole, resumed)


def test_a_state_of_a_fit_that_had_ended_is_gone_on_from(tmp_path) -> None:
    done = loop_of(tmp_path / "runs")
    done.fit(num_epochs=2, callbacks=callbacks())
    experiment = Experiment.open(done.experiment.folder.path)
    experiment.save(done.state_dict(), step=14, scores={}).wait_committed()
    more = loop_of(tmp_path / "runs")
    more.fit(num_epochs=1, callbacks=callbacks(), resume=done.experiment.folder.path)
    assert more.epochs_done == 3


def test_a_failing_loader_costs_no_step(tmp_path) -> None:
    """The state after the last step is saved, and the run goes on from there."""
    broken = loop_of(tmp_path / "runs")
    good = broken.train_loader

    class Fails(Noisy):
        reads = 0

        def __getitem__(self, index: int):
            Fails.reads += 1
            if Fails.reads > SAMPLES + 17:
                raise OSError("the disk of the data is gone")
            return super().__getitem__(index)

    broken.train_loader = DataLoader(Fails(), 4, shuffle=True)
    with pytest.raises(OSError, match="of the data"):
        broken.fit(num_epochs=2, callbacks=callbacks())
    assert good is not None
    assert broken.experiment.latest().step > 7
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert_same(whole_of(tmp_path, {"num_epochs": 2}), resumed)
    assert ExperimentFolder(resumed.experiment.folder.path).run()["attempts"][1]["from_step"] > 7


@pytest.mark.parametrize("end", [KeyboardInterrupt, Died])
def test_the_same_loop_goes_on_with_its_run_that_was_cut_short(tmp_path, end) -> None:
    """As when the cell of a notebook is run again."""
    whole = whole_of(tmp_path, {"num_epochs": 3})

    class Once(Callback):
        def __init__(self) -> None:
            super().__init__("once", execution_order=200)
            self.ends = [end]

        def on_batch_end(self) -> None:
            if self.train_loop_obj.total_iteration_idx == 10 and self.ends:
                raise self.ends.pop()

    loop = loop_of(tmp_path / "runs", iteration_save_freq=3)
    with pytest.raises(end):
        loop.fit(num_epochs=3, callbacks=[*callbacks(), Once()], resume="auto")
    loop.fit(num_epochs=3, resume="auto")
    assert_same(whole, loop)
    statuses = [attempt["status"] for attempt in loop.experiment.folder.run()["attempts"]]
    assert statuses[1:] == ["completed"]
    loop.fit(num_epochs=1, resume="auto")  # completed: a fit of its own, in the same run
    assert loop.epochs_done == 4


def test_the_loaders_data_are_written_down_and_compared(tmp_path, caplog) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(7, "on_evaluate_begin"))
    kept = json.loads(folder.data_file.read_bytes())
    assert set(kept) == {"train", "validation", "test"}
    assert kept["train"]["length"] == SAMPLES
    same = loop_of(tmp_path / "runs")
    with pytest.raises(Died):
        same.fit(num_epochs=2, callbacks=[*callbacks(), Die(8)], resume="auto")
    assert "have changed" not in caplog.text
    other = loop_of(tmp_path / "runs")
    other.train_loader = DataLoader(Subset(Noisy(), range(SAMPLES - 2)), 4, shuffle=True)
    other.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert f"length {SAMPLES} and is kind torch.utils.data.dataset.Subset" in caplog.text
    assert "validation was" not in caplog.text


def test_an_epoch_does_not_go_on_with_another_number_of_samples(tmp_path) -> None:
    options = {"iteration_save_freq": 2}
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(10), **options)
    before = folder.run()
    other = loop_of(tmp_path / "runs", **options)
    other.train_loader = DataLoader(Subset(Noisy(), range(SAMPLES - 2)), 4, shuffle=True)
    with pytest.raises(
        CheckpointMismatch, match=rf"length {SAMPLES} and is .*length {SAMPLES - 2}"
    ):
        other.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert other.epochs_done == 0
    assert folder.run() == before
    loop_of(tmp_path / "runs", **options).fit(num_epochs=2, callbacks=callbacks(), resume="auto")


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_run_that_does_not_say_what_its_data_were_goes_on(tmp_path, content) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(8))
    folder.data_file.unlink()
    if content is not None:
        folder.data_file.write_bytes(content)
    loop = loop_of(tmp_path / "runs")
    loop.fit(num_epochs=2, callbacks=callbacks(), resume="auto")
    assert loop.epochs_done == 2


def test_what_somebody_says_of_the_data_counts_more(tmp_path) -> None:
    experiment = Experiment(
        "project", "run", tmp_path, provenance=Provenance(data={"train": {"version": 3}})
    )
    model, *rest = parts()
    loop = TrainLoop(model, *rest, nn.CrossEntropyLoss(), progress=False)
    loop.fit(num_epochs=1, callbacks=[ExperimentCheckpoint(experiment)])
    kept = json.loads(experiment.folder.data_file.read_bytes())
    assert kept["train"] == {"version": 3}
    assert kept["validation"]["length"] == SAMPLES


def test_a_run_that_cannot_be_sealed_is_given_up_all_the_same(tmp_path, monkeypatch) -> None:
    loop = loop_of(tmp_path)

    def fail(self) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ExperimentFolder, "seal", fail)
    experiment = loop.experiment
    experiment.start()
    assert experiment.lock.held
    with pytest.raises(OSError, match="No space"):
        experiment.finish("completed")
    assert not experiment.lock.held


def large_tensors() -> set[int]:
    gc.collect()
    found = [each for each in gc.get_objects() if type(each) is torch.Tensor]
    return {id(t) for t in found if t.layout is torch.strided and t.nbytes >= 4 << 20}


def test_a_finished_run_keeps_no_copy_of_the_state(tmp_path) -> None:
    experiment = Experiment("project", "run", tmp_path)
    weight = torch.ones(1 << 20)
    before = large_tensors()
    experiment.save({"model": {"w": weight}}, step=1, scores={}).wait_committed()
    assert large_tensors() - before
    experiment.finish("completed")
    assert not large_tensors() - before
    experiment.save({"model": {"w": weight}}, step=2, scores={}).wait_committed()
    assert experiment.latest().step == 2


def test_a_named_run_goes_on_with_other_hyperparameters_but_not_unnoticed(tmp_path, caplog) -> None:
    folder = broken_at(tmp_path, {"num_epochs": 2}, Die(8))
    same = loop_of(tmp_path / "runs")
    with pytest.raises(Died):
        same.fit(num_epochs=2, callbacks=[*callbacks(), Die(9)], resume=folder.path)
    assert "other hyperparameters" not in caplog.text
    other = loop_of(tmp_path / "runs", hyperparams={"lr": 0.5})
    other.fit(num_epochs=2, callbacks=callbacks(), resume=folder.path)
    assert "began with other hyperparameters (lr)" in caplog.text
    assert other.optimizer.param_groups[0]["lr"] < 0.1
