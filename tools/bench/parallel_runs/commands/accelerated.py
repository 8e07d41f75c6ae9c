"""Accelerate in a process that its launcher has started."""

from importlib import import_module
from typing import Any

from torch.utils.data import DataLoader

from parallel_runs.commands.work import data, parts, train

hf: Any = import_module("accelerate")


def main() -> None:
    accelerator = hf.Accelerator(cpu=True)
    own_model, own_optimizer, criterion = parts()
    model, optimizer, loader = accelerator.prepare(own_model, own_optimizer, DataLoader(data(), 32))
    train(model, optimizer, criterion, loader, accelerator.backward)
    accelerator.end_training()


if __name__ == "__main__":
    main()
