"""tt-loop and tt-parallel: fit starts the processes."""

from torch.utils.data import DataLoader

from parallel_runs.commands.work import data, parts
from tt_loop.api import TrainLoop

if __name__ == "__main__":
    model, optimizer, criterion = parts()
    loader = DataLoader(data(), 32)
    loop = TrainLoop(
        model, loader, None, None, optimizer, criterion, gpu_mode="ddp", progress=False
    )
    loop.fit(num_epochs=1, num_gpus=2)
