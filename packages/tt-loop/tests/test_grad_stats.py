"""Gradients of chosen layers."""

import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tt_loop.api import Callback, GradNormClip, LoopTypeError, LoopValueError
from tt_loop.callbacks.grad_distribution import GradDistributionPlot, GradientOutput
from tt_loop.callbacks.grad_stats import GradientStatsPrint

LINE = re.compile(
    r"gradient of (.+) at update (\d+): mean (\S+), standard deviation (\S+), zeros (\S+)%"
)


def linear_layers(model):
    return [layer for layer in model if isinstance(layer, nn.Linear)]


class Gradients(Callback):
    """Keeps copies of the first and the last layer's weight gradients, update by update."""

    def __init__(self) -> None:
        super().__init__("gradients", execution_order=-1)
        self.of_updates = []

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        model = self.train_loop_obj.model
        copies = {name: model[int(name)].weight.grad.numpy().copy() for name in "03"}
        self.of_updates.append((self.train_loop_obj.epoch, copies))

    def last(self, epoch: int) -> dict:
        return [copies for number, copies in self.of_updates if number == epoch][-1]


def logged(caplog) -> list:
    found = [LINE.fullmatch(each.message) for each in caplog.records]
    return [(m[1], int(m[2]), *map(float, m.groups()[2:])) for m in found if m]


def fit_and_log(caplog, loop, callbacks, **fit) -> list:
    with caplog.at_level(logging.INFO, logger="tt_loop"):
        loop.fit(**{"num_epochs": 2, **fit}, callbacks=callbacks)
    return logged(caplog)


def test_statistics_of_every_update_are_numpys_of_the_true_gradients(make_loop, caplog) -> None:
    gradients, stats = Gradients(), GradientStatsPrint(linear_layers)
    lines = fit_and_log(caplog, make_loop(), [gradients, stats, GradNormClip(1e-3)])
    assert len(lines) == 2 * 10
    expected = [
        (name, number + 1, grad.mean(), grad.std(), 100 * (grad == 0).mean())
        for number, (_, copies) in enumerate(gradients.of_updates)
        for name, grad in copies.items()
    ]
    for line, truth in zip(lines, expected, strict=True):
        assert line[:2] == truth[:2]
        assert line[2:] == pytest.approx(truth[2:], rel=1e-3, abs=0.06)


@pytest.mark.parametrize(
    ("every", "options", "updates"),
    [(4, {}, [4, 8]), (11, {}, []), (1, {"grad_accumulation": 2}, [1, 2, 3, 4, 5, 6])],
)
def test_every_nth_update_is_looked_at(make_loop, caplog, every, options, updates) -> None:
    stats = GradientStatsPrint(lambda model: [model[0]], every)
    lines = fit_and_log(caplog, make_loop(), [stats], **options)
    assert [line[1] for line in lines] == updates


class FakeLoop(SimpleNamespace):
    """What the callbacks need of a loop for one update."""

    def __init__(self, model, *optimizers) -> None:
        super().__init__(model=model, optimizers=list(optimizers), updates_done=0)


def lines_of_one_update(caplog, loop, layers, optimizers=(0,)) -> list:
    stats = GradientStatsPrint(layers).register_train_loop_object(loop)
    with caplog.at_level(logging.INFO, logger="tt_loop"):
        stats.on_train_begin()
        for number in optimizers:
            stats.on_after_gradient_update(number)
    return logged(caplog)


def test_each_optimizer_shows_the_gradients_of_its_own_layers(caplog) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    one = torch.optim.SGD(model[0].parameters(), lr=0.1)
    two = torch.optim.SGD(model[1].parameters(), lr=0.1)
    for number, layer in enumerate(model):
        layer.weight.grad = torch.full((2, 2), float(number + 1))
    loop = FakeLoop(model, one, two)
    lines = lines_of_one_update(caplog, loop, lambda model: list(model), (1, 0))
    assert [(line[0], line[2]) for line in lines] == [("1", 2.0), ("0", 1.0)]


def test_layers_without_gradient_are_left_out(caplog) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[1].weight.grad = torch.tensor([[1.0, 0.0]])
    loop = FakeLoop(model, torch.optim.SGD(model.parameters(), lr=0.1))
    lines = lines_of_one_update(caplog, loop, lambda model: list(model))
    assert lines == [("1", 1, 0.5, 0.5, 50.0)]


class Sharded(torch.Tensor):
    """A gradient of which this process has a part."""

    def to_local(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)[:1]


def sparse_embedding():
    layer = nn.Embedding(4, 2, sparse=True)
    (layer(torch.tensor([1])) * torch.tensor([[1.0, 1.0]])).sum().backward()
    return layer  # its gradient is 1 in one row of four


def half_precision():
    layer = nn.Linear(2, 1, dtype=torch.bfloat16)
    layer.weight.grad = torch.tensor([[1.0, 1.0078125]], dtype=torch.bfloat16)
    return layer  # there is no such number between them


def sharded():
    layer = nn.Linear(4, 2)
    layer.weight.grad = torch.tensor([[1.0] * 4, [float("nan")] * 4]).as_subclass(Sharded)
    return layer


@pytest.mark.parametrize(
    ("make", "mean", "zeros"),
    [(sparse_embedding, 0.25, 75.0), (half_precision, 1.00390625, 0.0), (sharded, 1.0, 0.0)],
)
def test_gradients_of_any_kind_are_read(caplog, make, mean, zeros) -> None:
    layer = make()
    loop = FakeLoop(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    (line,) = lines_of_one_update(caplog, loop, lambda model: [model])
    assert (line[0], line[2], line[4]) == ("layer 0", pytest.approx(mean, rel=1e-3), zeros)


@pytest.mark.parametrize(
    "make", [GradientStatsPrint, lambda layers: GradDistributionPlot(layers, output=Kept())]
)
def test_layers_without_weight_are_refused_before_training(make_loop, make) -> None:
    loop = make_loop()
    with pytest.raises(LoopTypeError, match=r"layers with a weight.*Dropout"):
        loop.fit(num_epochs=1, callbacks=[make(list)])
    assert loop.total_iteration_idx == -1


def test_a_frequency_below_1_is_refused() -> None:
    with pytest.raises(LoopValueError, match="stats_eval_freq"):
        GradientStatsPrint(list, 0)


class Kept:
    """An output that keeps what it gets."""

    def __init__(self) -> None:
        self.written = []

    def write(self, gradients, directory, file_format, epoch):
        self.written.append((gradients, directory, file_format, epoch))
        return [f"{directory}/{epoch}.{file_format}"]


class ZeroesInPlace(torch.optim.SGD):
    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none=False)


class Unsized:
    """A loader of which nobody knows the length."""

    def __init__(self, loader) -> None:
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)


def check(kept, gradients, epochs) -> None:
    assert [each[1:] for each in kept.written] == [("grads", "pdf", epoch) for epoch in epochs]
    for written, *_, epoch in kept.written:
        truth = gradients.last(epoch)
        assert set(written) == set(truth)
        for name, (counts, edges) in written.items():
            expected = np.histogram(truth[name], bins=len(counts))
            np.testing.assert_array_equal(counts, expected[0])
            np.testing.assert_allclose(edges, expected[1], rtol=1e-6)
            assert edges.dtype == np.float64


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize(
    ("fit", "epochs"),
    [
        ({"num_epochs": 2}, [0, 1]),
        ({"num_epochs": 2, "grad_accumulation": 2}, [0, 1]),
        ({"num_iterations": 3}, [0]),
        ({"num_iterations": 7}, [0, 1]),
    ],
    ids=["epochs", "accumulated", "within an epoch", "iterations"],
)
def test_the_distributions_are_those_of_each_epochs_last_update(
    make_loop, fit, epochs, sized, in_place
) -> None:
    loop, kept, gradients = make_loop(), Kept(), Gradients()
    if in_place:
        loop.optimizer = ZeroesInPlace(loop.model.parameters(), lr=0.1)
    if not sized:
        loop.train_loader = Unsized(loop.train_loader)
    plot = GradDistributionPlot(linear_layers, "grads", "pdf", output=kept)
    loop.fit(**fit, callbacks=[plot, gradients])
    check(kept, gradients, epochs)


def test_the_paths_are_left_as_a_message(make_loop) -> None:
    loop = make_loop()
    messages = []

    class Reads(Callback):
        def on_epoch_end(self) -> None:
            key = "GradDistributionPlot_results_file_local_paths"
            messages.append(loop.message_service.read_messages(key))

    plot = GradDistributionPlot(linear_layers, output=Kept())
    loop.fit(num_epochs=2, callbacks=[Reads("reads", execution_order=1), plot])
    assert messages == [[["grad_distribution/0.png"]], [["grad_distribution/1.png"]]]


class Stops(Callback):
    def on_batch_end(self) -> None:
        self.train_loop_obj.early_stop = True


def test_an_epoch_that_was_stopped_has_none_and_the_log_says_so(make_loop, caplog) -> None:
    kept = Kept()
    callbacks = [GradDistributionPlot(linear_layers, output=kept), Stops("stops")]
    fit_and_log(caplog, make_loop(), callbacks)
    assert kept.written == []
    assert "no gradients were seen" in caplog.text


class Broken:
    def write(self, *_):
        message = "the disk is full"
        raise OSError(message)


def test_an_output_that_fails_does_not_end_training(make_loop, caplog) -> None:
    loop = make_loop()
    loop.fit(num_epochs=2, callbacks=[GradDistributionPlot(linear_layers, output=Broken())])
    assert loop.epochs_done == 2
    assert caplog.text.count("the disk is full") == 2


def test_elements_that_are_not_finite_are_left_out() -> None:
    layer, kept = nn.Linear(4, 1), Kept()
    layer.weight.grad = torch.tensor([[float("nan"), float("inf"), 1.0, 3.0]])
    loop = FakeLoop(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    loop.epoch = loop.total_iteration_idx = loop.iteration = 0
    loop.message_service = SimpleNamespace(write_message=lambda *_: None)
    loop.num_iterations = 0
    batches = SimpleNamespace(sized=1)
    loop.fit_under_way = SimpleNamespace(data=SimpleNamespace(batches=batches))
    loop.fit_began = {"total_iteration_idx": -1}
    plot = GradDistributionPlot(lambda model: [model], output=kept)
    plot.register_train_loop_object(loop)
    plot.on_train_begin()
    plot.on_after_gradient_update(0)
    plot.on_epoch_end()
    counts, edges = kept.written[0][0]["layer 0"]
    assert counts.sum() == 2
    assert (edges[0], edges[-1]) == (1.0, 3.0)


def test_looking_does_not_change_the_weights(make_loop) -> None:
    watched, bare = make_loop(), make_loop()
    torch.manual_seed(1)
    plot = GradDistributionPlot(linear_layers, output=Kept())
    watched.fit(num_epochs=2, callbacks=[GradientStatsPrint(linear_layers), plot])
    torch.manual_seed(1)
    bare.fit(num_epochs=2)
    pairs = zip(watched.model.parameters(), bare.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_port_is_a_shape_and_both_run_in_the_first_process_only() -> None:
    assert isinstance(Kept(), GradientOutput)
    assert GradientStatsPrint(list).device_idx_execution == 0
    assert GradDistributionPlot(list, output=Kept()).device_idx_execution == 0
