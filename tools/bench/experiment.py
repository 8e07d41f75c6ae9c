"""What keeping a training costs it: checkpoints, records and lists of runs, beside other ways.

    python tools/bench/experiment.py                     50 million parameters with AdamW
    python tools/bench/experiment.py --log               CPU of a logged step
    python tools/bench/experiment.py --list              ten thousand runs
    python tools/bench/experiment.py --only tt torch.save --rounds 5 --pairs 4 --folder /mnt/disk
    hatch run bench-experiment:run --log                 with all peers installed

Checkpoints: each turn is a process of its own; the methods take turns, in an order that is reversed
each round. A turn trains pairs of blocks of 12 steps: one without a save, one with a save after its
first step, to whose end belongs that the save is over. From the differences come the time added to
the run and the CPU (of all threads) of a save; "waited" is what the training thread spends in calls
that belong to saving. Before each block what is still to be written is written, so that nobody pays
for another; a first save and a first load are not counted among the pairs. One thread trains, as
where an accelerator does the work: others find the rest of the processors free. Memory is the peak
beyond what training alone takes. Only "tt" and "fsync" have everything on the disk when they are
done, and only "tt" can tell later whether it is what was written; all of the others leave the
writing to the system, which does it in the background.
"""

import argparse
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # everything runs on the CPU

from experiments import listing, logs
from experiments.cell import Job, Turn, run
from experiments.table import table


class Method(NamedTuple):
    """A row: which function of which file makes it, and whose version counts."""

    name: str
    file: str
    function: str
    package: str = "torch"


REFERENCE = Method("torch.save", "plain", "torch_save")
METHODS = [
    REFERENCE,
    Method("torch.save, fsync, rename", "plain", "torch_save_flushed"),
    Method("safetensors save_file", "plain", "safetensors", "safetensors"),
    Method("DCP async_save, thread", "dcp", "in_thread"),
    Method("Lightning, TorchCheckpointIO", "lightning", "in_place", "lightning"),
    Method("Lightning, AsyncCheckpointIO", "lightning", "behind", "lightning"),
    Method("Accelerate save_state", "accelerate", "save_state", "accelerate"),
    Method("tt, by hand", "ours", "by_hand", "tt-experiment"),
    Method("tt, Checkpoint in a TrainLoop", "ours", "in_loop", "tt-experiment"),
]


def compare(methods: list[Method], options: argparse.Namespace) -> None:
    """Let the methods take turns, and print the table."""
    taken: dict[str, list[Turn]] = {method.name: [] for method in methods}
    left = list(methods)
    for number in range(options.rounds):
        for method in list(left) if number % 2 else left[::-1]:
            with TemporaryDirectory(dir=options.folder) as folder:
                numbers = (options.parameters, options.every, options.pairs, options.threads)
                job = Job(Path(folder), *numbers)
                try:
                    taken[method.name].append(run(method.file, method.function, job))
                except (OSError, ValueError, subprocess.SubprocessError) as error:
                    print(f"({method.name} is left out: {last_line(error)})", flush=True)
                    left.remove(method)
    table({name: turns for name, turns in taken.items() if turns}, REFERENCE.name)


def last_line(error: Exception) -> str:
    said = str(getattr(error, "stderr", None) or error).strip().splitlines()
    return said[-1] if said else type(error).__name__


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description="What keeping a training costs it.")
    parser.add_argument("--log", action="store_true", help="compare recorders instead")
    parser.add_argument("--list", action="store_true", help="list runs instead")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="parts of names")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--pairs", type=int, default=4, help="saves of a turn")
    parser.add_argument("--every", type=int, default=12, help="steps between saves")
    parser.add_argument("--parameters", type=int, default=50_331_648)
    parser.add_argument("--threads", type=int, default=1, help="that train")
    parser.add_argument("--runs", type=int, default=10_000, help="to list")
    parser.add_argument("--folder", type=Path, help="where files are")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors")
    if options.log:
        logs.compare(options.only, options.rounds, options.folder)
        return
    if options.list:
        listing.compare(options.runs, options.rounds, options.folder)
        return
    chosen = [REFERENCE]
    chosen += [m for m in METHODS[1:] if any(part in m.name for part in options.only)]
    for method in [method for method in chosen if not installed(method.package)]:
        print(f"({method.name} is left out: pip install {method.package})")
        chosen.remove(method)
    print(", ".join(sorted({f"{m.package} {installed(m.package)}" for m in chosen})))
    free = shutil.disk_usage(options.folder or Path.cwd()).free
    if free < 60 * options.parameters:
        parser.error(f"about {60 * options.parameters / 1e9:.0f} GB of disk are needed")
    compare(chosen, options)


if __name__ == "__main__":
    main()
