"""Loaders that are built where they are read."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import (
    DistributedSamplerSetEpoch,
    InMultiProcessDataLoad,
    InProcess,
    LocalCollective,
    LoopValueError,
    SingleDevice,
    TrainLoop,
)


def build() -> DataLoader:
    return DataLoader(TensorDataset(torch.ones(6, 2), torch.ones(6, 1)), batch_size=2)


def loop_without_data(**options) -> TrainLoop:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return TrainLoop(model, None, None, None, optimizer, nn.MSELoss(), progress=False, **options)


class Alike(LocalCollective):
    """One of two processes that are alike."""

    world_size = 2

    def all_reduce(self, tensor, op="sum", /):
        return tensor * 2 if op == "sum" else tensor


class Two(SingleDevice):
    def __init__(self) -> None:
        super().__init__("cpu")
        self.comm = Alike()


class Overridden(InMultiProcessDataLoad):
    def build_train_dataloader(self) -> DataLoader:
        return build()


@pytest.mark.parametrize(
    "callback", [InMultiProcessDataLoad(build, build), Overridden(val_loader_build_fn=build)]
)
@pytest.mark.parametrize("mode", ["single", SingleDevice("cpu"), InProcess(Two())])
def test_loaders_are_built_in_the_process_that_trains(callback, mode) -> None:
    loop = loop_without_data(gpu_mode=mode)
    loop.fit(num_epochs=1, in_process_data_load=callback)
    assert len(loop.train_history["val_loss"]) == 1
    assert loop.test_loader is None
    assert loop.callbacks == [callback]


def test_several_callbacks_can_build() -> None:
    loop = loop_without_data()
    parts = [InMultiProcessDataLoad(build), InMultiProcessDataLoad(val_loader_build_fn=build)]
    loop.fit(num_epochs=1, in_process_data_load=parts)
    assert loop.validation_loader is not None


def test_a_callback_that_builds_nothing_is_no_training_loader() -> None:
    for callbacks in (None, InMultiProcessDataLoad()):
        with pytest.raises(LoopValueError, match="needs a train_loader"):
            loop_without_data().fit(num_epochs=1, in_process_data_load=callbacks)


def test_samplers_are_told_the_epoch() -> None:
    class Sampler:
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

    sampler = Sampler()
    loop = loop_without_data()
    loop.train_loader = build()
    loop.fit(num_epochs=2, callbacks=[DistributedSamplerSetEpoch(sampler, None, None)])
    assert sampler.epochs == [0, 1]
