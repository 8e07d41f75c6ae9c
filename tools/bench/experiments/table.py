"""Times as a table, with ratios to `torch.save`."""

import statistics
from collections.abc import Callable

from experiments.cell import Times, Turn

Cost = Callable[[list[Times]], tuple[float, float]]


def waited(pairs: list[Times]) -> tuple[float, float]:
    return both([pair.waited for pair in pairs], [0.0] * len(pairs))


def added(pairs: list[Times]) -> tuple[float, float]:
    return both([pair.saving for pair in pairs], [pair.bare for pair in pairs])


def cpu(pairs: list[Times]) -> tuple[float, float]:
    return both([pair.saving_cpu for pair in pairs], [pair.bare_cpu for pair in pairs])


def both(having: list[float], without: list[float]) -> tuple[float, float]:
    """The median of the differences, and the difference of the least."""
    middle = statistics.median(a - b for a, b in zip(having, without, strict=True))
    return middle, min(having) - min(without)


COSTS: dict[str, Cost] = {"waited, ms": waited, "added to the run, ms": added, "CPU, ms": cpu}


def table(taken: dict[str, list[Turn]], reference: str) -> None:
    """A row a method, per save: medians, what the least differ by, and ratios to a reference."""
    columns = [each for name in COSTS for each in (name, "of minima", "ratio", "of minima")]
    print()
    row("method", *columns, "memory, MB", "on disk, MB", "load, s")
    row(*["---"] * (len(columns) + 4))
    for name, turns in taken.items():
        cells = [cell for cost in COSTS.values() for cell in beside(cost, turns, taken[reference])]
        memory = max(turn.memory for turn in turns)
        load = min(turn.load for turn in turns)
        row(name, *cells, f"{memory:.0f}", f"{turns[0].state:.0f}", f"{load:.2f}")


def beside(cost: Cost, turns: list[Turn], others: list[Turn]) -> list[str]:
    own = cost([pair for turn in turns for pair in turn.pairs])
    theirs = cost([pair for turn in others for pair in turn.pairs])
    ratios = [mine / yours for mine, yours in zip(own, theirs, strict=True)]
    return [*(f"{1e3 * number:.1f}" for number in own), *(f"{ratio:.3f}" for ratio in ratios)]


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)
