"""Bare PyTorch in a process that somebody has started as torchrun does."""

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from parallel_runs.commands.work import data, parts, train


def main() -> None:
    dist.init_process_group("gloo")
    model, optimizer, criterion = parts()
    samples = data()
    loader = DataLoader(samples, 32, sampler=DistributedSampler(samples))
    train(DistributedDataParallel(model), optimizer, criterion, loader)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
