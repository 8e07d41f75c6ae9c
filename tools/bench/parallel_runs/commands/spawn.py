"""Bare PyTorch, started by torch.multiprocessing.spawn."""

import os

from torch.multiprocessing.spawn import spawn

from parallel_runs.commands.bare import main
from parallel_runs.commands.work import free_port


def work(rank: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    main()


if __name__ == "__main__":
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    spawn(work, nprocs=2)  # type: ignore[no-untyped-call]  # torch's own
