"""`fit` against the loop that one writes by hand: equal bits."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import GradNormClip, GradValueClip, TrainLoop


def data(samples: int = 53) -> TensorDataset:
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(samples, 6, generator=generator)
    return TensorDataset(features, (features.sum(1) > 0).long())


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2)
    )


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}
CLIPS = {"none": None, "norm": GradNormClip(0.05), "value": GradValueClip(0.01)}


def train_by_hand(model: nn.Module, make_optimizer, loader, clip: str, epochs: int) -> list[float]:
    optimizer, criterion, losses = make_optimizer(model.parameters()), nn.CrossEntropyLoss(), []
    model.train()
    for _ in range(epochs):
        for inputs, target in loader:
            loss = criterion(model(inputs), target)
            loss.backward()
            if clip == "norm":
                nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            if clip == "value":
                nn.utils.clip_grad_value_(model.parameters(), 0.01)
            optimizer.step()
            optimizer.zero_grad()
            losses.append((loss.item(), len(target)))
    return losses


@pytest.mark.parametrize(("optimizer", "clip"), [*itertools.product(OPTIMIZERS, CLIPS)])
def test_fit_equals_the_hand_written_loop_bit_for_bit(optimizer: str, clip: str) -> None:
    model = network()
    other = copy.deepcopy(model)
    # Without a generator of its own, a DataLoader draws from the global one in the bare loop.
    loader = DataLoader(data(), batch_size=8, generator=torch.Generator())

    torch.manual_seed(3)
    losses = train_by_hand(model, OPTIMIZERS[optimizer], loader, clip, epochs=3)
    torch.manual_seed(3)
    callback = copy.deepcopy(CLIPS[clip])
    loop = TrainLoop(
        other,
        loader,
        None,
        None,
        OPTIMIZERS[optimizer](other.parameters()),
        nn.CrossEntropyLoss(),
        progress=False,
    )
    loop.fit(num_epochs=3, callbacks=[callback] if callback else None)

    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    per_epoch = [losses[i : i + 7] for i in range(0, 21, 7)]
    expected = [sum(loss * n for loss, n in epoch) / 53 for epoch in per_epoch]
    assert loop.train_history["loss"] == pytest.approx(expected, rel=1e-12)


def test_observers_do_not_change_a_bit_of_the_weights() -> None:
    def train(**observers) -> torch.Tensor:
        model = network()
        torch.manual_seed(5)
        loader = DataLoader(data(), batch_size=8, shuffle=True)
        loop = TrainLoop(
            model,
            loader,
            observers.get("validation"),
            observers.get("test"),
            torch.optim.SGD(model.parameters(), lr=0.1),
            nn.CrossEntropyLoss(),
            progress=observers.get("progress", False),
        )
        loop.fit(num_epochs=2)
        return nn.utils.parameters_to_vector(model.parameters())

    lean = train()
    shuffled = DataLoader(data(20), batch_size=3, shuffle=True)
    worked = DataLoader(data(20), batch_size=3, num_workers=1)
    for observers in (
        {"validation": shuffled},
        {"test": worked, "progress": True},
        {"validation": [data()[:4]]},
    ):
        assert torch.equal(lean, train(**observers))
