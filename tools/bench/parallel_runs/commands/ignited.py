"""PyTorch-Ignite: Parallel starts the processes."""

from importlib import import_module
from typing import Any

from torch.utils.data import DataLoader, DistributedSampler

from parallel_runs.commands.work import data, free_port, parts

idist: Any = import_module("ignite.distributed")
engine: Any = import_module("ignite.engine")


def main(_: Any) -> None:
    own_model, own_optimizer, criterion = parts()
    model, optimizer = idist.auto_model(own_model), idist.auto_optim(own_optimizer)
    samples = data()
    loader = DataLoader(samples, 32, sampler=DistributedSampler(samples))
    engine.create_supervised_trainer(model, optimizer, criterion).run(loader, max_epochs=1)


if __name__ == "__main__":
    with idist.Parallel("gloo", nproc_per_node=2, master_port=int(free_port())) as parallel:
        parallel.run(main)
