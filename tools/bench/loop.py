"""What a train loop costs above the loop that one writes by hand.

    python tools/bench/loop.py                       a step of a tiny MLP
    python tools/bench/loop.py --case accum          4 batches a step, clipped by norm
    python tools/bench/loop.py --case val            the end of an epoch: 20,000 samples, accuracy
    python tools/bench/loop.py --case fast           tensors in memory, shuffled
    python tools/bench/loop.py --case import         what a process spends on `import`
    python tools/bench/loop.py --only tt-loop Fabric --steps 500 --epochs 4 --rounds 15
    hatch run bench:loop --case accum                with all peers installed

All loops do the same work (`loops/job.py`): they take turns on one thread, each for some epochs of
a number of steps, in an order that is reversed each round. Counted is CPU time, with what a fit
costs once shared out among its steps. Batches come from one `DataLoader` whose dataset fetches a
whole batch (`__getitems__`), for all alike; only the case "fast" is about other loaders. Peers are
in their leanest settings: no bar, log, checkpoint or sanity check, the accuracy counted by hand.
What loops print goes nowhere. "Above" is the median of what a loop took longer than the bare one in
the same round; weights are compared with the bare loop's, bit for bit. In the case "fast" each
library shuffles in its own way, so weights differ.

They run in one process because processes differ: the bare loop alone, once in each of six
processes taking turns, had medians up to 4 us apart; six of them in one process, 1.5 us. That is
less than the difference to be seen, and "bare again" shows it. Nobody pays for what others have
imported or left behind: garbage is collected before each turn, and what the set-up made is frozen.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # everything runs on the CPU

import torch
from loops.job import Job, batched_loader, sample_loader
from loops.race import Racer, heading, race, row, silence, table


class Loop(NamedTuple):
    """A row: which function of which file makes it, and what to import and to install for it."""

    name: str
    file: str
    function: str
    imports: str = ""
    install: str = ""


BARE = Loop("bare", "bare", "bare", "import torch")
AGAIN = Loop("bare again", "bare", "bare")
OURS = [
    Loop("tt-loop, lean", "ours", "lean", "from tt_loop.api import TrainLoop", "tt-loop"),
    Loop("tt-loop, bar and callbacks", "ours", "default", "", "tt-loop"),
]
PEERS = [
    Loop("Ignite", "ignite", "ignite", "from ignite.engine import Engine", "pytorch-ignite"),
    Loop("Fabric", "lightning", "fabric", "from lightning.fabric import Fabric", "lightning"),
    Loop("skorch", "skorch", "skorch", "from skorch import NeuralNet", "skorch"),
    Loop(
        "Accelerate", "accelerate", "accelerate", "from accelerate import Accelerator", "accelerate"
    ),
    Loop("Lightning Trainer", "lightning", "trainer", "from lightning import Trainer", "lightning"),
    Loop(
        "transformers Trainer",
        "transformers",
        "transformers",
        "from transformers import Trainer",
        "transformers accelerate",
    ),
]
COLLATED = BARE._replace(name="bare, samples collated")
FETCHED = BARE._replace(name="bare, `__getitems__`")
TENSORS = [
    COLLATED,
    FETCHED,
    AGAIN._replace(name="bare, samples collated, again"),
    OURS[0]._replace(name="tt-loop, the same DataLoader"),
    OURS[0]._replace(name="tt-loop, TensorLoader", function="with_tensor_loader"),
    OURS[0]._replace(
        name="tt-loop, TensorLoader, fused SGD", function="with_tensor_loader_and_fused"
    ),
]


class Case(NamedTuple):
    """Loops with what each has to do, the unit of their times, and the loops to compare with."""

    loops: list[tuple[Loop, Job]]
    unit: str
    units: int
    references: list[str]


def of_steps(steps: int, epochs: int) -> Case:
    job = Job(batched_loader(32 * steps), epochs)
    return Case(all_do(job), "step", steps * epochs, [BARE.name])


def of_windows(steps: int, epochs: int) -> Case:
    job = Job(batched_loader(32 * steps), epochs, accumulation=4, max_norm=1.0)
    return Case(all_do(job), "batch", steps * epochs, [BARE.name])


def of_validation(_: int, epochs: int) -> Case:
    """Epochs of one step: what is seen is their end."""
    epochs *= 5
    job = Job(batched_loader(32), epochs, validation=batched_loader(20_000, 100))
    return Case(all_do(job), "epoch", epochs, [BARE.name])


def of_tensors(steps: int, epochs: int) -> Case:
    """Each has a loader of its own, because a loader's generator remembers."""
    jobs = []
    for loop in TENSORS:
        at_once = loop is FETCHED
        loader = batched_loader(32 * steps, shuffle=True) if at_once else sample_loader(32 * steps)
        jobs.append((loop, Job(loader, epochs)))
    return Case(jobs, "step", steps * epochs, [COLLATED.name, FETCHED.name])


def all_do(job: Job) -> list[tuple[Loop, Job]]:
    return [(loop, job) for loop in (BARE, AGAIN, *OURS, *PEERS)]


CASES: dict[str, Callable[[int, int], Case]] = {
    "mlp": of_steps,
    "accum": of_windows,
    "val": of_validation,
    "fast": of_tensors,
}


def set_up(loops: list[tuple[Loop, Job]]) -> tuple[dict[str, Racer], list[str]]:
    """The loops whose packages are there, by name, and what to say of the others."""
    racers, missing = {}, []
    for loop, job in loops:
        try:
            make = getattr(import_module(f"loops.{loop.file}"), loop.function)
            racers[loop.name] = Racer(*make(job))
        except ImportError as error:
            missing.append(f"({loop.name} is left out: {error}; pip install {loop.install})")
    return racers, missing


IMPORT = """
import sys, time
import torch
began = time.process_time()
exec(sys.argv[1])
print(time.process_time() - began, began)
"""


def imports(rounds: int) -> None:
    """The least CPU seconds of fresh processes."""
    heading("import", "CPU s beyond `import torch`", "of that process in all")
    for loop in (BARE, *OURS, *PEERS):
        if loop.imports:
            command = [sys.executable, "-c", IMPORT, loop.imports]
            turns = [
                subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
                for _ in range(rounds + 1)  # the first one may write bytecode
            ]
            if not turns[0]:
                print(f"({loop.name} is left out: pip install {loop.install})")
                continue
            own, before = (min(map(float, column)) for column in zip(*turns, strict=True))
            row(f"`{loop.imports}`", f"{own:.2f}", f"{before + own:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of train loops against the bare loop.")
    parser.add_argument("--case", choices=[*CASES, "import"], default="mlp")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="parts of names")
    parser.add_argument("--steps", type=int, default=500, help="of an epoch, a multiple of 4")
    parser.add_argument("--epochs", type=int, default=4, help="of a turn")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each loop")
    options = parser.parse_args()
    if options.case == "import":
        imports(options.rounds)
        return

    torch.set_num_threads(1)
    case = CASES[options.case](options.steps, options.epochs)
    chosen = [
        (loop, job)
        for loop, job in case.loops
        if loop.file == "bare" or any(part in loop.name for part in options.only)
    ]
    with silence():
        racers, missing = set_up(chosen)
        race(racers, case.units, options.rounds)
    for words in missing:
        print(words)
    table(racers, case.unit, case.references)


if __name__ == "__main__":
    main()
