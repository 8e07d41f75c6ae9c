"""What tt-metrics costs beside scikit-learn and torchmetrics on the same arrays.

    python tools/bench/metrics.py [--quick] [--largest 1e7] [--rounds 5]

All run in one process on one thread and take turns; printed is the least CPU time of the rounds,
and how many times as long the others take, as Markdown tables. A peer that is not installed is left
out. "Off" is how far a result is from scikit-learn's on float64, relative to it, where that is more
than 1e-12.
"""

import argparse
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np

from tt_metrics import api as tt

Run = Callable[[], Any]


def optional(name: str) -> Any:
    """A module if it is installed."""
    try:
        return import_module(name)
    except ImportError:
        print(f"({name} is not installed and left out)")
        return None


sk = optional("sklearn.metrics")
tm = optional("torchmetrics")
torch = optional("torch")
tmf = tm and import_module("torchmetrics.functional.classification")

CLASSES = 10
SHARE = 0.8  # of items that are predicted right


class Case(NamedTuple):
    """One row: what each does, and how many times scikit-learn's time we aim at."""

    name: str
    size: int
    ours: Run
    sklearn: Run
    torchmetrics: Run | None
    target: float | None = None
    repeat: float = 1  # how many times a peer's run must be done to do what ours does
    truth: Run | None = None  # left out, what scikit-learn gives


def labels(size: int) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    true = draw.integers(0, CLASSES, size)
    predicted = np.where(draw.random(size) < SHARE, true, draw.integers(0, CLASSES, size))
    return true, predicted


def scores(size: int) -> tuple[Any, Any]:
    draw = np.random.default_rng(1)
    true = draw.integers(0, 2, size)
    return true, draw.normal(true.astype(np.float64))


def numbers(size: int) -> tuple[Any, Any]:
    """Targets far from zero, in float32: what makes single-precision sums go wrong."""
    draw = np.random.default_rng(2)
    true = draw.normal(1000, 1, size)
    return true.astype(np.float32), (true + draw.normal(0, 0.1, size)).astype(np.float32)


def probabilities(size: int) -> tuple[Any, Any]:
    draw = np.random.default_rng(3)
    raw = np.exp(draw.normal(size=(size, CLASSES)))
    return draw.integers(0, CLASSES, size), raw / raw.sum(axis=1, keepdims=True)


def with_torch(function: str, *arrays: Any, **settings: Any) -> Run | None:
    """A function of torchmetrics on tensors that share the arrays' memory."""
    if tm is None:
        return None
    tensors = [torch.from_numpy(array) for array in arrays]
    named = getattr(tmf, function, None) or getattr(
        import_module("torchmetrics.functional"), function
    )
    return lambda: np.asarray(named(*tensors, **settings))


def of_labels(size: int) -> Iterator[Case]:
    y, p = labels(size)
    known = {"num_classes": CLASSES}
    matrix = with_torch("multiclass_confusion_matrix", p, y, **known)
    accuracy = with_torch("multiclass_accuracy", p, y, average="micro", **known)
    f1 = with_torch("multiclass_f1_score", p, y, average="macro", **known)
    yield Case(
        "confusion matrix",
        size,
        lambda: tt.ConfusionMatrixMetric(y, p).matrix,
        lambda: sk.confusion_matrix(y, p),
        matrix,
        15,
    )
    yield Case(
        "accuracy",
        size,
        lambda: tt.AccuracyMetric(y, p).metric_result,
        lambda: sk.accuracy_score(y, p),
        accuracy,
        15,
    )
    yield Case(
        "macro F1",
        size,
        lambda: tt.F1ScoreMetric(y, p, average="macro").metric_result,
        lambda: sk.f1_score(y, p, average="macro"),
        f1,
        15,
    )
    yield Case(
        "report per class",
        size,
        lambda: report_of(y, p),
        lambda: sk.classification_report(y, p, output_dict=True),
        None,
        40,
    )


def report_of(y: Any, p: Any) -> Any:
    counts = tt.Confusion()
    counts.update(y, p)
    return tt.class_report(counts).to_dict()


def of_scores(size: int) -> Iterator[Case]:
    y, s = scores(size)
    area = with_torch("binary_auroc", s, y)
    precision = with_torch("binary_average_precision", s, y)
    yield Case(
        "ROC AUC",
        size,
        lambda: tt.ROCAUCMetric(y, s).metric_result,
        lambda: sk.roc_auc_score(y, s),
        area,
        8,
    )
    yield Case(
        "average precision",
        size,
        lambda: tt.AveragePrecisionMetric(y, s).metric_result,
        lambda: sk.average_precision_score(y, s),
        precision,
        6,
    )


def of_numbers(size: int) -> Iterator[Case]:
    y, p = numbers(size)
    exact = y.astype(np.float64), p.astype(np.float64)
    y2, p2 = probabilities(size)
    yield Case(
        "mean squared error, float32",
        size,
        lambda: tt.MeanSquaredErrorMetric(y, p).metric_result,
        lambda: sk.mean_squared_error(y, p),
        with_torch("mean_squared_error", p, y),
        truth=lambda: sk.mean_squared_error(*exact),
    )
    yield Case(
        "R2, float32",
        size,
        lambda: tt.R2ScoreMetric(y, p).metric_result,
        lambda: sk.r2_score(y, p),
        with_torch("r2_score", p, y),
        truth=lambda: sk.r2_score(*exact),
    )
    yield Case(
        "log loss, 10 classes",
        size,
        lambda: tt.LogLossMetric(y2, p2).metric_result,
        lambda: sk.log_loss(y2, p2),
        None,
    )


def of_resampling(size: int) -> Iterator[Case]:
    """Intervals and tests; a peer does some resamples, and its time is scaled up."""
    y, p = labels(size)
    other = labels(2 * size)[1][size:]
    other = np.where(np.arange(size) % 50 == 0, other, p)
    f1 = tt.F1ScoreMetric(y, p, average="macro")
    rival = tt.F1ScoreMetric(y, other, average="macro")
    draw = np.random.default_rng(4)

    def resampled() -> Any:
        chosen = draw.integers(0, size, size)
        return sk.f1_score(y[chosen], p[chosen], average="macro")

    def swapped() -> Any:
        flips = draw.random(size) < 0.5
        systems = np.where(flips, p, other), np.where(flips, other, p)
        return [sk.f1_score(y, system, average="macro") for system in systems]

    yield Case("macro F1, interval of 1000 resamples", size, f1.ci, resampled, None, None, 1000)
    yield Case(
        "macro F1, two systems, 1000 resamples",
        size,
        lambda: tt.compare(f1, rival, n_resamples=1000),
        swapped,
        None,
        None,
        1000,
    )


def least(runs: list[Run], rounds: int) -> list[float]:
    """The least CPU seconds of one run of each, in rounds in which they take turns."""
    often = [max(1, int(0.02 / max(cpu(run, 1), 1e-7))) for run in runs]  # also warms up
    turns = [
        [cpu(run, times) for run, times in zip(runs, often, strict=True)] for _ in range(rounds)
    ]
    return [min(spent) for spent in zip(*turns, strict=True)]


def cpu(run: Run, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times


def shown(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def difference(ours: Any, theirs: Any) -> str:
    """How far a result is from scikit-learn's, relative to it."""
    if isinstance(ours, dict):
        pairs = [(ours[key], theirs[key]) for key in theirs]
        return max((difference(*pair) for pair in pairs), key=distance)
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    off = float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-300)))
    return "" if off <= 1e-12 else f"{off:.0e}"  # nan is not near either


def distance(text: str) -> tuple[bool, float]:
    """To sort by: nan last."""
    return text == "nan", float(text or 0)


def compared(cases: Iterator[Case], rounds: int) -> None:
    for case in cases:
        peers = [case.sklearn if sk else None, case.torchmetrics]
        spent = least([case.ours, *(run for run in peers if run)], rounds)
        cells = [case.name, f"{case.size:.0e}", shown(spent[0])]
        rest = iter(spent[1:])
        ratios = []
        for run in peers:
            seconds = next(rest) * case.repeat if run else None
            ratios.append(seconds and seconds / spent[0])
            cells.append(f"{shown(seconds)} ({seconds / spent[0]:.1f}x)" if seconds else "")
        cells += [verdict(ratios[0], case.target), *differences(case)]
        print("| " + " | ".join(cells) + " |", flush=True)


def verdict(ratio: float | None, target: float | None) -> str:
    if target is None or ratio is None:
        return ""
    return f"{target:g}x {'met' if ratio >= target else 'MISSED'}"


def differences(case: Case) -> list[str]:
    if sk is None or case.repeat > 1:
        return ["", "", ""]
    right = (case.truth or case.sklearn)()
    others = [case.ours, case.truth and case.sklearn, case.torchmetrics]
    return [difference(run(), right) if run else "" for run in others]


def heading(*names: str) -> None:
    print(f"\n| {' | '.join(names)} |\n| {' | '.join(['---'] * len(names))} |", flush=True)


def per_batch(rounds: int) -> None:
    """Four metrics, updated with a batch of 256 x 10 scores."""
    draw = np.random.default_rng(5)
    y, s = draw.integers(0, CLASSES, 256), draw.normal(size=(256, CLASSES)).astype(np.float32)
    kinds: list[Any] = [tt.PrecisionMetric, tt.RecallMetric, tt.F1ScoreMetric]
    averaged = [kind(average="macro", num_classes=CLASSES) for kind in kinds]
    package = tt.GeneralResultPackage([tt.AccuracyMetric(num_classes=CLASSES), *averaged])
    runs: list[tuple[str, Run]] = [("tt-metrics", lambda: package.update(y, s))]
    if tm:
        collection = tm.MetricCollection(
            [
                getattr(tm.classification, f"Multiclass{name}")(CLASSES, average="macro")
                for name in ("Accuracy", "Precision", "Recall", "F1Score")
            ]
        )
        batch = torch.from_numpy(s), torch.from_numpy(y)
        collection.update(*batch)  # finds which of them share a state
        runs.append(("torchmetrics", lambda: collection.update(*batch)))
    spent = least([run for _, run in runs], 3 * rounds)
    heading("four metrics, batch of 256 x 10", "CPU time per update", "ratio", "target")
    for (name, _), seconds in zip(runs, spent, strict=True):
        target = f"10 us {'met' if seconds < 10e-6 else 'MISSED'}" if name == "tt-metrics" else ""
        print(f"| {name} | {shown(seconds)} | {seconds / spent[0]:.1f}x | {target} |", flush=True)


def memory(cases: Iterator[Case]) -> None:
    """The most memory above the arguments; torch's own does not show here."""
    for case in cases:
        peaks = [peak(run) / case.size for run in (case.ours, case.sklearn if sk else None) if run]
        print(f"| {case.name} | {' | '.join(f'{bytes_:.1f}' for bytes_ in peaks)} |", flush=True)


def peak(run: Run) -> int:
    run()
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


IMPORT = """
import importlib, re, sys, time
if sys.argv[1]: importlib.import_module(sys.argv[1])
spent = time.process_time()
kilobytes = re.search("VmHWM: *([0-9]+)", open("/proc/self/status").read().replace("\t", ""))[1]
print(spent, int(kilobytes) / 1024)
"""  # Linux only: getrusage would tell of the parent's memory too


def imports(rounds: int) -> None:
    """What a fresh process spends until a module is there; the interpreter's own part included."""
    heading("process that imports", "CPU time", "memory", "target")
    names = ["", "numpy", "tt_metrics", *(["sklearn.metrics"] if sk else [])]
    with TemporaryDirectory() as folder:  # of bytecode, as an installed package has it
        for name in [*names, *(["torchmetrics"] if tm else [])]:
            spent = [import_cost(name, folder) for _ in range(rounds + 1)]
            seconds, megabytes = (min(column) for column in zip(*spent, strict=True))
            target = f"0.2 s {'met' if seconds < 0.2 else 'MISSED'}"
            cells = [name or "nothing", f"{seconds:.3f} s", f"{megabytes:.0f} MB"]
            cells.append(target if name == "tt_metrics" else "")
            print(f"| {' | '.join(cells)} |", flush=True)


def import_cost(name: str, folder: str) -> tuple[float, float]:
    """CPU seconds and MB."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", IMPORT, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time beside scikit-learn and torchmetrics.")
    parser.add_argument("--quick", action="store_true", help="up to 1e5 items, two rounds")
    parser.add_argument("--largest", type=float, default=1e7, help="most items (%(default)g)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if torch:
        torch.set_num_threads(1)
    rounds = 2 if options.quick else options.rounds
    largest = min(options.largest, 1e5) if options.quick else options.largest
    sizes = [size for size in (10**5, 10**6, 10**7) if size <= largest]
    middle = min(10**6, sizes[-1])

    imports(rounds)
    per_batch(rounds)
    heading(
        "task",
        "items",
        *("tt-metrics", "scikit-learn", "torchmetrics", "target"),
        *("off", "scikit-learn off", "torchmetrics off"),
    )
    for size in sizes:
        compared(of_labels(size), rounds if size < 10**7 else 2)
    for make in (of_scores, of_numbers):
        compared(make(middle), rounds)
    compared(of_resampling(10**5), rounds)
    heading(f"task, {middle:.0e} items", "tt-metrics, bytes per item", "scikit-learn")
    for make in (of_labels, of_scores, of_numbers):
        memory(make(middle))


if __name__ == "__main__":
    main()
