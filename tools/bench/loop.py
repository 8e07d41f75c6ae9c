"""What a step of tt-loop costs above the loop that one writes by hand.

    python tools/bench/loop.py [--steps 500] [--epochs 4] [--rounds 15]

A tiny MLP (a step takes about 200 microseconds), batches from a list, one thread. The loops take
turns, each for some epochs of a number of steps; what a fit costs once is shared out among them.
Printed are CPU microseconds per step and ratios to the bare loop of medians and of minima. Weights
are compared bit for bit.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from tt_loop.api import Callback, EarlyStopping, TrainLoop

Batch = list[torch.Tensor]


class Watch(Callback):
    """A callback on each batch that does next to nothing."""

    def __init__(self) -> None:
        super().__init__("watch")
        self.seen = 0

    def on_batch_end(self) -> None:
        self.seen += 1


def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def bare(batches: list[Batch], epochs: int) -> tuple[nn.Module, Callable[[], None]]:
    model, optimizer = parts()
    criterion = nn.CrossEntropyLoss()

    def run() -> None:
        model.train()
        for _ in range(epochs):
            for inputs, target in batches:
                loss = criterion(model(inputs), target)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

    return model, run


def looped(
    batches: list[Batch], epochs: int, *, progress: bool, callbacks: list[Callback]
) -> tuple[nn.Module, Callable[[], None]]:
    model, optimizer = parts()
    loop = TrainLoop(
        model, batches, None, None, optimizer, nn.CrossEntropyLoss(), progress=progress
    )
    return model, lambda: loop.fit(num_epochs=epochs, callbacks=callbacks)


def cpu_per_step(run: Callable[[], None], steps: int) -> float:
    start = time.process_time()
    run()
    return (time.process_time() - start) / steps * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of a step against the bare loop.")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    torch.set_num_threads(1)
    data = torch.Generator().manual_seed(0)
    batches = [
        [torch.randn(32, 32, generator=data), torch.randint(10, (32,), generator=data)]
        for _ in range(options.steps)
    ]
    epochs, patient = options.epochs, EarlyStopping("loss", patience=10**9)
    rivals = {
        "bare": bare(batches, epochs),
        "bare again": bare(batches, epochs),
        "tt-loop, lean": looped(batches, epochs, progress=False, callbacks=[]),
        "tt-loop, bar and callbacks": looped(
            batches, epochs, progress=True, callbacks=[Watch(), Watch(), patient]
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(options.rounds + 1):
        for name, (_, run) in rivals.items():
            microseconds = cpu_per_step(run, options.steps * epochs)
            if turn:  # the first turn warms up
                times[name].append(microseconds)

    reference = times["bare"]
    weights = nn.utils.parameters_to_vector(rivals["bare"][0].parameters())
    print(f"\n{'loop':<28}{'median us':>10}{'min us':>9}{'ratio':>8}{'of minima':>11}  weights")
    for name, spent in times.items():
        median, least = statistics.median(spent), min(spent)
        same = torch.equal(weights, nn.utils.parameters_to_vector(rivals[name][0].parameters()))
        ratio, of_minima = median / statistics.median(reference), least / min(reference)
        words = f"{name:<28}{median:>10.1f}{least:>9.1f}{ratio:>8.3f}{of_minima:>11.3f}"
        print(words, " equal" if same else " DIFFERENT")


if __name__ == "__main__":
    main()
