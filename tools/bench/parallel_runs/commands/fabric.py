"""Lightning Fabric: launch starts the processes."""

from importlib import import_module
from typing import Any

from torch.utils.data import DataLoader

from parallel_runs.commands.work import data, parts, train

lightning: Any = import_module("lightning")

if __name__ == "__main__":
    fabric = lightning.Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    own_model, own_optimizer, criterion = parts()
    model, optimizer = fabric.setup(own_model, own_optimizer)
    loader = fabric.setup_dataloaders(DataLoader(data(), 32))
    train(model, optimizer, criterion, loader, fabric.backward)
