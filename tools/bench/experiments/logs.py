"""What a logged step costs: the same three numbers, to each recorder."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from experiments.table import row

HERE = Path(__file__).parents[1]
LIMIT = 600.0  # seconds

Log = Callable[[int, dict[str, float]], object]
Opened = tuple[Log, Callable[[], object]]


def ours(folder: Path) -> Opened:
    from tt_experiment.api import ExperimentFolder, JsonLinesRecorder
    from tt_loop.api import RunInfo

    made = ExperimentFolder.create(folder, "project", "run")
    made.write_start({})
    recorder = JsonLinesRecorder(made)
    recorder.open(RunInfo(step=0, epoch=0, world_size=1, strategy="SingleDevice"))

    def log(step: int, values: dict[str, float]) -> None:
        recorder.scalars(step, values, epoch=0)

    return log, lambda: recorder.close("completed")


def tensorboard(folder: Path) -> Opened:
    writer: Any = import_module("torch.utils.tensorboard").SummaryWriter(folder)

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def wandb(folder: Path) -> Opened:
    library: Any = import_module("wandb")
    run = library.init(mode="offline", dir=str(folder), project="project")
    return lambda step, values: run.log(values, step=step), run.finish


def mlflow(folder: Path) -> Opened:
    library: Any = import_module("mlflow")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    library.set_tracking_uri(folder.as_uri())
    library.set_experiment("project")
    library.start_run()
    return lambda step, values: library.log_metrics(values, step), library.end_run


class Recorder(NamedTuple):
    """A row: the function above, and numbers of steps whose difference is counted."""

    name: str
    function: str
    few: int
    many: int


RECORDERS = [
    Recorder("tt, JSON Lines", "ours", 1000, 51_000),
    Recorder("TensorBoard SummaryWriter", "tensorboard", 100, 5100),
    Recorder("W&B offline", "wandb", 100, 5100),
    Recorder("MLflow, files", "mlflow", 10, 210),
]


def compare(only: list[str], rounds: int, folder: Path | None) -> None:
    """CPU of a process that logs many steps, less that of one that logs few."""
    taken: dict[str, list[float]] = {}
    left = [one for one in RECORDERS if any(part in one.name for part in only)]
    for number in range(rounds):
        for recorder in list(left) if number % 2 else left[::-1]:
            try:
                few, many = (spent(recorder, n, folder) for n in (recorder.few, recorder.many))
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                said = str(getattr(error, "stderr", None) or error).strip().splitlines()
                print(f"({recorder.name} is left out: {said[-1]})", flush=True)
                left.remove(recorder)
                continue
            cost = (many[0] - few[0]) / (recorder.many - recorder.few) * 1e6
            taken.setdefault(recorder.name, []).append(cost)
    print()
    row("recorder", "CPU us per step of 3 numbers, least", "median", "of ours")
    row("---", "---", "---", "---")
    for recorder in RECORDERS:
        if recorder.name in taken:
            costs = sorted(taken[recorder.name])
            ratio = costs[0] / min(taken.get(RECORDERS[0].name, costs))
            middle = costs[len(costs) // 2]
            row(recorder.name, f"{costs[0]:.1f}", f"{middle:.1f}", f"{ratio:.1f}")


def spent(recorder: Recorder, steps: int, folder: Path | None) -> tuple[float, float]:
    """CPU seconds of the process and its children, and wall seconds of the logging."""
    with TemporaryDirectory(dir=folder) as place:
        done = subprocess.run(
            [sys.executable, "-m", "experiments.logs", recorder.function, str(steps), place],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )
    cpu, wall = json.loads(done.stdout.splitlines()[-1])
    return cpu, wall


def main() -> None:
    function, steps, folder = sys.argv[1:]
    with redirect_stdout(sys.stderr):
        log, close = globals()[function](Path(folder))
        began = time.monotonic()
        for step in range(int(steps)):
            log(step, {"loss": 1.0 / (step + 1), "accuracy": step / 1e6, "lr": 1e-3})
        wall = time.monotonic() - began
        close()
    everybody = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(each) for each in everybody]
    print(json.dumps([sum(each.ru_utime + each.ru_stime for each in used), wall]))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
