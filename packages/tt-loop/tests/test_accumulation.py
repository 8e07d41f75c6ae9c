"""Accumulated gradients equal those of the one big batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tt_loop.api import GradNormClip, TrainLoop, TTModel


class TokenModel(TTModel):
    """Mean squared error over tokens; the loss's weight is their number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1).double()
        nn.init.constant_(self.layer.weight, 0.3)
        nn.init.constant_(self.layer.bias, -0.1)

    def get_loss(self, batch_data, criterion, device):
        inputs, target = batch_data
        return criterion(self.layer(inputs).squeeze(1), target), len(target)

    def get_predictions(self, batch_data, device):
        return self.layer(batch_data[0]).squeeze(1), batch_data[1], {}


def batches(lengths: list[int]) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        [
            torch.randn(n, 2, generator=generator, dtype=torch.float64),
            torch.randn(n, generator=generator, dtype=torch.float64),
        ]
        for n in lengths
    ]


def weights_after(loader, accumulation: int, clip: bool = False) -> torch.Tensor:
    model = TokenModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, loader, None, None, optimizer, nn.MSELoss(), progress=False)
    callbacks = [GradNormClip(0.2)] if clip else None
    loop.fit(num_epochs=1, grad_accumulation=accumulation, callbacks=callbacks)
    return nn.utils.parameters_to_vector(model.parameters())


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=9),
    window=st.integers(2, 4),
    clip=st.booleans(),
)
def test_windows_of_uneven_batches_equal_big_batches(
    lengths: list[int], window: int, clip: bool
) -> None:
    small = batches(lengths)
    big = [
        [torch.cat(parts) for parts in zip(*small[start : start + window], strict=True)]
        for start in range(0, len(small), window)
    ]
    torch.testing.assert_close(
        weights_after(small, window, clip), weights_after(big, 1, clip), rtol=1e-12, atol=1e-14
    )


def test_a_window_of_no_weight_changes_nothing() -> None:
    class Padding(TokenModel):
        def get_loss(self, batch_data, criterion, device):
            loss, _ = super().get_loss(batch_data, criterion, device)
            return loss, torch.tensor([0])

    model = Padding()
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, batches([3, 3]), None, None, optimizer, nn.MSELoss(), progress=False)
    loop.fit(num_epochs=1, grad_accumulation=2)
    assert torch.equal(before, nn.utils.parameters_to_vector(model.parameters()))


def test_a_loader_without_length_steps_for_its_last_window() -> None:
    class Stream:
        def __iter__(self):
            return iter(batches([4, 2, 5]))

    torch.testing.assert_close(
        weights_after(Stream(), 2), weights_after(batches([4, 2, 5]), 2), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize(("window", "steps"), [(1, 5), (2, 3), (3, 2), (7, 1)])
def test_number_of_optimizer_steps(window: int, steps: int) -> None:
    model = TokenModel()
    optimizer = torch.optim.Adam(model.parameters())
    loop = TrainLoop(model, batches([3] * 5), None, None, optimizer, nn.MSELoss(), progress=False)
    loop.fit(num_epochs=1, grad_accumulation=window)
    assert int(optimizer.state[model.layer.bias]["step"]) == steps
