"""tt-loop on tt-parallel's strategy, and a loop that one writes by hand on that strategy."""

from parallel_runs.job import CPU, Contestant, Job
from tt_loop.api import TrainLoop
from tt_parallel.api import DistributedStrategy


def loop(job: Job) -> Contestant:
    """What `fit` does in each process that ``gpu_mode='ddp'`` has started."""
    model, optimizer, criterion = job.parts()
    loop = TrainLoop(
        model,
        job.loader(),
        None,
        None,
        optimizer,
        criterion,
        gpu_mode=DistributedStrategy(CPU),
        progress=False,
        end_auto_eval=False,
    )

    def run() -> None:
        loop.fit(num_epochs=job.epochs)

    return model, run


def by_hand(job: Job) -> Contestant:
    own_model, optimizer, criterion = job.parts()
    loader = job.own_loader()
    strategy = DistributedStrategy(CPU)
    model = strategy.prepare(own_model, [optimizer])

    def run() -> None:
        model.train()
        for _ in range(job.epochs):
            for inputs, target in loader:
                with strategy.micro(model, sync=True):
                    with strategy.forward():
                        loss = criterion(model(inputs), target)
                    strategy.backward(loss)
                strategy.apply(optimizer)

    return own_model, run
