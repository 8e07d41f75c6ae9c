"""Traces of training steps."""

import json
import logging

import pytest
import torch
from torch.profiler import ProfilerActivity

from tt_loop.api import Callback, LoopValueError
from tt_loop.callbacks.profiler import Profiler


def steps_of(path) -> int:
    """Number of whole steps in a trace."""
    events = json.loads(path.read_text())["traceEvents"]
    return len({event["name"] for event in events if event["name"].startswith("ProfilerStep#")})


def test_each_cycle_writes_one_trace_of_its_active_steps(make_loop, tmp_path) -> None:
    profiler = Profiler(wait=1, warmup=1, active=3, repeat=2, output_dir=tmp_path / "traces")
    loop = make_loop()
    loop.fit(num_epochs=4, callbacks=[profiler])
    names = ["trace-rank0-step4.json", "trace-rank0-step9.json"]
    assert [path.name for path in profiler.traces] == names
    assert sorted(path.name for path in (tmp_path / "traces").iterdir()) == names
    assert [steps_of(path) for path in profiler.traces] == [3, 3]


def test_the_table_is_logged(make_loop, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, logger="tt_loop.callbacks.profiler")
    profiler = Profiler(output_dir=tmp_path)
    make_loop().fit(num_epochs=1, callbacks=[profiler])
    assert "ProfilerStep*" in profiler.table
    assert profiler.table in caplog.text


def test_it_is_closed_after_its_last_cycle(make_loop, tmp_path) -> None:
    class Look(Callback):
        open: list = []  # noqa: RUF012  # one test only

        def __init__(self) -> None:
            super().__init__("look", execution_order=300)

        def on_batch_end(self) -> None:
            self.open.append(torch.autograd._profiler_enabled())

    profiler = Profiler(wait=0, warmup=1, active=2, output_dir=tmp_path)
    make_loop().fit(num_epochs=1, callbacks=[profiler, Look()])
    assert Look.open == [True, True, False, False, False]


def test_an_exception_closes_it_and_keeps_what_was_traced(make_loop, tmp_path) -> None:
    class Fail(Callback):
        def on_batch_begin(self) -> None:
            if self.train_loop_obj.iteration == 4:
                raise KeyboardInterrupt

    profiler = Profiler(wait=1, warmup=1, active=10, output_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        make_loop().fit(num_epochs=1, callbacks=[profiler, Fail("fail")])
    assert not torch.autograd._profiler_enabled()
    assert [path.name for path in profiler.traces] == ["trace-rank0-step4.json"]
    assert steps_of(profiler.traces[0]) >= 2


def test_a_fit_that_ends_inside_a_cycle_closes_it(make_loop, tmp_path) -> None:
    profiler = Profiler(wait=1, warmup=1, active=2, repeat=0, output_dir=tmp_path)
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[profiler])
    assert not torch.autograd._profiler_enabled()
    assert len(profiler.traces) == 1
    loop.fit(num_epochs=1)
    assert [path.name for path in profiler.traces][1:] == ["trace-rank0-step8.json"]


def test_a_step_may_be_less_than_a_batch(make_loop, tmp_path) -> None:
    class Half(Callback):
        def on_after_optimizer_step(self) -> None:
            profiler.step()

    profiler = Profiler(wait=0, warmup=1, active=4, output_dir=tmp_path)
    make_loop().fit(num_epochs=1, callbacks=[profiler, Half("half")])
    assert [path.name for path in profiler.traces] == ["trace-rank0-step2.json"]
    assert steps_of(profiler.traces[0]) == 4


def test_training_is_not_changed(make_loop, tmp_path) -> None:
    weights = []
    for callbacks in ([], [Profiler(output_dir=tmp_path)]):
        loop = make_loop()
        loop.fit(num_epochs=2, callbacks=callbacks)
        weights.append(torch.nn.utils.parameters_to_vector(loop.model.parameters()))
    assert torch.equal(*weights)


def test_options_go_to_torchs_profiler(make_loop, tmp_path) -> None:
    profiler = Profiler(
        output_dir=tmp_path, activities=[ProfilerActivity.CPU], record_shapes=True, with_stack=True
    )
    make_loop().fit(num_epochs=1, callbacks=[profiler])
    trace = json.loads(profiler.traces[0].read_text())
    assert trace["record_shapes"] == 1
    assert trace["with_stack"] == 1


def test_what_was_written_comes_back_from_other_processes(make_loop, tmp_path) -> None:
    profiler = Profiler(output_dir=tmp_path)
    make_loop().fit(num_epochs=1, callbacks=[profiler])
    other = Profiler(output_dir=tmp_path)
    other.load_state_dict(profiler.state_dict())
    assert other.traces == profiler.traces
    assert other.table == profiler.table


@pytest.mark.parametrize(
    "options",
    [
        {"wait": -1},
        {"warmup": -1},
        {"active": 0},
        {"repeat": -1},
        {"schedule": None},
        {"on_trace_ready": None},
    ],
)
def test_settings_that_cannot_work_are_refused(options, tmp_path) -> None:
    with pytest.raises(LoopValueError):
        Profiler(output_dir=tmp_path, **options)
