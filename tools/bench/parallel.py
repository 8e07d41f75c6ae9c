"""What two processes cost above the loop that one writes by hand for two.

    python tools/bench/parallel.py                   a step of some milliseconds
    python tools/bench/parallel.py --case small      a step in which all that is not compute shows
    python tools/bench/parallel.py --case calls      collectives per step
    python tools/bench/parallel.py --case eval       a data set evaluated by two and by one
    python tools/bench/parallel.py --case start      from the command to the first batch
    python tools/bench/parallel.py --only tt-loop Fabric --steps 200 --epochs 4 --rounds 15
    hatch run bench:parallel --case start            with all peers installed

Two processes on the CPU talk through Gloo, one thread each. All loops do the same work
(`parallel_runs/job.py`) and take turns in the same two processes, in an order that is reversed each
round; a time is the mean of both processes' CPU times, for what one waits for the other is no cost.
"Above" is the median of what a loop took longer than bare `DistributedDataParallel` in the same
round; weights are compared with the bare loop's, bit for bit (Accelerate gives each process other
samples of the same global batch). A `DataLoader` reads for the bare loop and for peers; tt-loop
reads that loader's data set itself, so a second bare loop reads in its way.

In the case "start" each command is a process of its own and of a script that a user would write
(`parallel_runs/commands`), in turns; times are wall clock, and the first batch has come when rank 0
first calls its model.
"""

import argparse
import os
import sys
from importlib import import_module
from typing import NamedTuple

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # everything runs on the CPU

from loops.race import Racer, heading, row, silence, table
from parallel_runs import pair
from parallel_runs.job import Contestant, Job


class Loop(NamedTuple):
    """A row: which function of which file makes it, and what to install for it."""

    name: str
    file: str
    function: str
    install: str = ""


BARE = Loop("bare DDP", "bare", "bare")
LOOPS = [
    BARE,
    Loop("bare DDP again", "bare", "bare"),
    Loop("bare DDP, tt-loop's reading", "bare", "read_as_ours", "tt-loop"),
    Loop("tt-loop, gpu_mode='ddp'", "ours", "loop", "tt-loop tt-parallel"),
    Loop("by hand, DistributedStrategy", "ours", "by_hand", "tt-loop tt-parallel"),
    Loop("Fabric", "lightning", "fabric", "lightning"),
    Loop("Ignite", "ignite", "ignite", "pytorch-ignite"),
    Loop("Accelerate", "accelerate", "accelerate", "accelerate"),
    Loop("Lightning Trainer", "lightning", "trainer", "lightning"),
]
WIDTHS = {"step": 512, "small": 64, "calls": 64}


def set_up(loops: list[Loop], job: Job) -> tuple[dict[str, Contestant], list[str]]:
    """The loops whose packages are there, by name, and what to say of the others."""
    found, missing = {}, []
    for loop in loops:
        try:
            make = getattr(import_module(f"parallel_runs.{loop.file}"), loop.function)
            found[loop.name] = make(job)
        except ImportError as error:
            missing.append(f"({loop.name} is left out: {error}; pip install {loop.install})")
    return found, missing


def of_steps(loops: list[Loop], job: Job, options: argparse.Namespace) -> None:
    with pair.meeting() as rank:
        with silence():
            found, missing = set_up(loops, job)
            racers = {name: Racer(*made) for name, made in found.items()}
            pair.race_together(racers, job.steps * job.epochs, options.rounds)
        if rank == 0:
            print("\n".join(missing))
            table(racers, "step", [BARE.name])


def of_calls(loops: list[Loop], job: Job, _: argparse.Namespace) -> None:
    """Counted in fits of two lengths, so that what a fit sends once can be told from the rest."""
    from parallel_runs.calls import collectives

    lengths = [job.steps // 10, job.steps // 5]
    with pair.meeting() as rank:
        counts = []
        for steps in lengths:
            with silence():
                found, missing = set_up(loops, Job(steps, 1, job.width))
                for _model, run in found.values():
                    run()  # after its first step DDP makes its buckets anew
                counts.append({name: collectives(run) for name, (_model, run) in found.items()})
        if rank:
            return
        print("\n".join(missing))
        heading("loop", "collectives per step", "of an epoch, and of a fit, besides")
        for name, few in counts[0].items():
            many = counts[1][name]
            more = {kind: (many[kind] - few[kind]) / (lengths[1] - lengths[0]) for kind in many}
            rest = {kind: few[kind] - more[kind] * lengths[0] for kind in many}
            row(name, in_words(more), in_words(rest))


def in_words(counts: dict[str, float]) -> str:
    return ", ".join(f"{number:g} {kind}" for kind, number in counts.items() if number) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(description="Two processes against bare DDP on two.")
    parser.add_argument("--case", choices=[*WIDTHS, "eval", "start"], default="step")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="parts of names")
    parser.add_argument("--steps", type=int, default=200, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="of a turn")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each loop")
    options = parser.parse_args()
    if options.case == "start":
        import_module("parallel_runs.starts").compare(options.only, options.rounds)
        return
    if not pair.is_one():
        sys.exit(pair.start())
    if options.case == "eval":
        import_module("parallel_runs.evaluation").compare(options.rounds)
        return
    chosen = [
        loop
        for loop in LOOPS
        if loop.file == "bare" or any(part in loop.name for part in options.only)
    ]
    job = Job(options.steps, options.epochs, WIDTHS[options.case])
    (of_calls if options.case == "calls" else of_steps)(chosen, job, options)


if __name__ == "__main__":
    main()
