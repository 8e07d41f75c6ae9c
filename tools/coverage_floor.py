"""Print how much of each package the tests cover, and fail where one is below the floor.

    hatch run cover     measures, and ends with this

Needs the combined data of a run. Statements and branches count alike, as in coverage's own total;
lines that no test reached are listed by `coverage report`.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from coverage import Coverage

ROOT = Path(__file__).resolve().parent.parent
FLOOR = 90.0  # percent, in every package: a total would let one hide behind the others


def measured() -> dict[str, Counter[str]]:
    """Coverage's counts, summed up by package."""
    coverage = Coverage(data_file=str(ROOT / ".coverage"), config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        coverage.json_report(outfile=str(report))
        files = json.loads(report.read_text("utf-8"))["files"]
    totals: dict[str, Counter[str]] = {}
    for name, entry in files.items():
        package = Path(name).resolve().relative_to(ROOT).parts[1]
        counts = {key: value for key, value in entry["summary"].items() if isinstance(value, int)}
        totals.setdefault(package, Counter()).update(counts)
    return totals


def percent(counts: Counter[str]) -> float:
    reached = counts["covered_lines"] + counts["covered_branches"]
    return 100 * reached / max(1, counts["num_statements"] + counts["num_branches"])


def main() -> int:
    totals = measured()
    low = []
    print(f"{'package':<16}{'statements':>12}{'branches':>10}{'missed':>8}{'covered':>9}")
    for folder in sorted(ROOT.glob("packages/*/")):
        counts = totals.get(folder.name, Counter())
        missed = counts["missing_lines"] + counts["missing_branches"]
        share = percent(counts)
        row = f"{counts['num_statements']:>12}{counts['num_branches']:>10}{missed:>8}{share:>8.1f}%"
        print(f"{folder.name:<16}{row}{'' if share >= FLOOR else f'  below {FLOOR:.0f} %'}")
        if share < FLOOR:
            low.append(folder.name)
    if low:
        print(f"Every package needs {FLOOR:.0f} %: test more of {', '.join(low)}.")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
