"""Gradients that cannot be right, by name."""

import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tt_loop.api import Callback, GradNormClip, LoopValueError, TrainLoop
from tt_loop.callbacks.anomaly import GradientAnomalyReport, GradientReport, _norms
from tt_loop.training.multi_loss_optim import MultiLoss, MultiOptimizer

NAMES = ["0.weight", "0.bias", "3.weight", "3.bias"]


class Set(Callback):
    """Gives the parameters these gradients: a factor of ones, or none."""

    def __init__(self, factors) -> None:
        super().__init__("set", execution_order=-10)
        self.factors = factors

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        for name, parameter in self.train_loop_obj.model.named_parameters():
            factor = self.factors.get(name, 1.0)
            parameter.grad = None if factor is None else torch.full_like(parameter, factor)


def reports_of(make_loop, factors, **options) -> list[GradientReport]:
    report = GradientAnomalyReport(1, **options)
    make_loop().fit(num_iterations=1, callbacks=[report, Set(factors)])
    return list(report.reports)


def test_each_kind_is_found_by_name(make_loop) -> None:
    factors = {"0.weight": None, "0.bias": math.nan, "3.weight": 1e-12, "3.bias": 1e4}
    (report,) = reports_of(make_loop, factors)
    assert report.update == 0
    assert report.missing == ["0.weight"]
    assert report.non_finite == ["0.bias"]
    assert report.vanishing == {"3.weight": pytest.approx(4e-12)}
    assert report.exploding == {"3.bias": pytest.approx(1e4 * 2**0.5)}


def test_sound_gradients_leave_no_report(make_loop) -> None:
    assert reports_of(make_loop, {}) == []


def test_a_large_finite_gradient_is_exploding_and_not_infinite(make_loop) -> None:
    (report,) = reports_of(make_loop, {"3.bias": 1e38})
    assert report.exploding == {"3.bias": pytest.approx(1e38 * 2**0.5, rel=1e-6)}
    (report,) = reports_of(make_loop, {"3.bias": math.inf})
    assert report.non_finite == ["3.bias"]


def test_zeros_are_vanishing_unless_nothing_is(make_loop) -> None:
    assert reports_of(make_loop, {"3.bias": 0.0})[0].vanishing == {"3.bias": 0.0}
    assert reports_of(make_loop, {"3.bias": 0.0}, vanishing=0) == []


def test_without_any_gradient_all_are_missing(make_loop) -> None:
    (report,) = reports_of(make_loop, dict.fromkeys(NAMES))
    assert report.missing == NAMES
    assert list(report.names()) == ["missing"]


def test_frozen_parameters_are_not_missed(make_loop) -> None:
    report = GradientAnomalyReport(1)
    loop = make_loop()
    loop.model[0].requires_grad_(False)
    loop.fit(num_iterations=1, callbacks=[report])
    assert not report.reports


def test_it_looks_at_every_so_many_updates(make_loop) -> None:
    report = GradientAnomalyReport(4)
    make_loop().fit(num_epochs=2, callbacks=[report, Set({"3.bias": 0.0})])
    assert [each.update for each in report.reports] == [0, 4, 8]
    report = GradientAnomalyReport(2)
    make_loop().fit(num_epochs=2, callbacks=[report, Set({"3.bias": 0.0})], grad_accumulation=2)
    assert [each.update for each in report.reports] == [0, 2, 4]


def test_gradients_are_seen_before_they_are_clipped(make_loop) -> None:
    report = GradientAnomalyReport(1)
    callbacks = [GradNormClip(1e-3), report, Set({"3.bias": 1e4})]
    make_loop().fit(num_iterations=1, callbacks=callbacks)
    assert report.reports[0].exploding


def test_looking_changes_nothing(make_loop) -> None:
    weights = []
    for callbacks in ([], [GradientAnomalyReport(1, exploding=1e-9)]):
        loop = make_loop()
        loop.fit(num_epochs=2, callbacks=callbacks)
        weights.append(nn.utils.parameters_to_vector(loop.model.parameters()))
    assert torch.equal(*weights)


def test_the_log_names_what_is_new(make_loop, caplog) -> None:
    report = GradientAnomalyReport(1)
    make_loop().fit(num_epochs=1, callbacks=[report, Set({"0.weight": None, "3.bias": math.nan})])
    own = [each for each in caplog.records if each.name == "tt_loop.callbacks.anomaly"]
    assert [each.getMessage() for each in own] == [
        "gradients of update 0, optimizer 0: missing: 0.weight; non-finite: 3.bias"
    ]
    assert own[0].levelno == logging.WARNING
    assert len(report.reports) == 5


def test_a_long_list_is_cut_short_in_the_log(make_loop, caplog) -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(8)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [[torch.ones(4, 2), torch.ones(4, 2)]]
    loop = TrainLoop(model, batches, None, None, optimizer, nn.MSELoss(), progress=False)
    loop.fit(num_epochs=1, callbacks=[GradientAnomalyReport(exploding=1e-9, vanishing=0)])
    assert "4.bias and 6 more" in caplog.text


def test_only_the_newest_reports_are_kept(make_loop) -> None:
    report = GradientAnomalyReport(1, max_reports=2)
    make_loop().fit(num_epochs=1, callbacks=[report, Set({"3.bias": 0.0})])
    assert [each.update for each in report.reports] == [3, 4]


def test_each_of_several_optimizers_is_looked_at() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(2, 1, bias=False) for _ in range(3))

        def get_loss(self, batch, criterion, device):
            losses = {"a": 1e9 * self.a(batch).sum(), "b": self.b(batch).sum()}
            return MultiLoss(losses, {"a": 0, "b": 1})

    model = Two()
    groups = ([*model.a.parameters()], [*model.b.parameters(), *model.c.parameters()])
    optimizer = MultiOptimizer([torch.optim.SGD(group, lr=0.1) for group in groups])
    loop = TrainLoop(model, [torch.ones(4, 2)], None, None, optimizer, None, progress=False)
    report = GradientAnomalyReport()
    loop.fit(num_epochs=1, callbacks=[report])
    first, second = report.reports
    assert (first.optimizer_idx, list(first.exploding)) == (0, ["a.weight"])
    assert (second.optimizer_idx, second.missing) == (1, ["c.weight"])


@settings(deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(1, 4), min_size=0, max_size=3), min_size=1, max_size=5),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.complex64]),
)
def test_norms_are_those_of_torch(shapes, dtype) -> None:
    gradients = [torch.randn(shape, dtype=dtype) for shape in shapes]
    expected = [float(torch.linalg.vector_norm(g.to(torch.complex128).abs())) for g in gradients]
    assert _norms(gradients) == pytest.approx(expected)


def test_sparse_gradients_have_a_norm() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 1, 3])).sum().backward()
    assert _norms([table.weight.grad]) == pytest.approx(
        [float(table.weight.grad.to_dense().norm())]
    )


def test_reports_come_back_from_other_processes(make_loop) -> None:
    report, other = GradientAnomalyReport(1), GradientAnomalyReport(1)
    make_loop().fit(num_epochs=1, callbacks=[report, Set({"3.bias": 0.0})])
    other.load_state_dict(report.state_dict())
    assert other.reports == report.reports


@pytest.mark.parametrize(
    "options",
    [{"every": 0}, {"max_reports": 0}, {"vanishing": -1}, {"vanishing": 1, "exploding": 1}],
)
def test_settings_that_cannot_work_are_refused(options) -> None:
    with pytest.raises(LoopValueError):
        GradientAnomalyReport(**options)
