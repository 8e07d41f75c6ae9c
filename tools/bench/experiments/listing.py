"""Ten thousand runs, listed: for the first time, again, and after some of them have changed."""

import json
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.table import row

PROJECTS, POINTS, CHANGED = 10, 20, 100
SETTLED = 3.0  # seconds after which the cache believes a file's time stamp


def compare(runs: int, rounds: int, folder: Path | None) -> None:
    """Print the seconds of ``tt-experiment list``, the whole process."""
    with TemporaryDirectory(dir=folder) as place:
        root = Path(place)
        made = fill(root, runs)
        time.sleep(SETTLED)
        print()
        row("list", "wall s, least", "median", "runs")
        row("---", "---", "---", "---")
        cold, again, changed = [], [], []
        for _ in range(rounds):
            shutil.rmtree(root / ".tt-cache", ignore_errors=True)
            cold.append(seconds(root, runs))
            again += [seconds(root, runs) for _ in range(3)]
            for path in made[:CHANGED]:
                (path / "run.json").touch()
            changed.append(seconds(root, runs))
        for name, taken in (
            ("without a cache", cold),
            ("again", again),
            (f"after {CHANGED} changed", changed),
        ):
            row(name, f"{min(taken):.2f}", f"{statistics.median(taken):.2f}", str(runs))


def seconds(root: Path, runs: int) -> float:
    command = [sys.executable, "-m", "tt_experiment", "list", "--root", str(root)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = time.monotonic() - began
    if sum("run-" in line for line in done.stdout.splitlines()) != runs:
        msg = f"{runs} runs must be listed"
        raise ValueError(msg)
    return taken


def fill(root: Path, runs: int) -> list[Path]:
    """Runs as they are after a training, as far as a list of them reads."""
    from tt_experiment.api import ExperimentFolder, JsonLinesRecorder
    from tt_loop.api import RunInfo

    template = ExperimentFolder.create(root, "template", "run")
    template.write_start({"lr": 0.1, "batch_size": 32, "model": "mlp"})
    recorder = JsonLinesRecorder(template)
    recorder.open(RunInfo(step=0, epoch=0, world_size=1, strategy="SingleDevice"))
    for step in range(1, POINTS + 1):
        recorder.scalars(step, {"loss": 1 / step, "accuracy": 1 - 1 / step}, epoch=step)
    recorder.close("completed")
    facts = template.run()
    made = []
    for number in range(runs):
        path = root / f"project-{number % PROJECTS}" / f"run-{number}_2026-01-02_03-04-05"
        shutil.copytree(template.path, path, ignore=shutil.ignore_patterns(".lock", "report.html"))
        own = {"id": str(uuid.uuid4()), "project": path.parent.name, "experiment": f"run-{number}"}
        (path / "run.json").write_text(json.dumps({**facts, **own}))
        made.append(path)
    shutil.rmtree(template.path.parent)
    return made
