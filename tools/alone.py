"""Check that this environment holds one package, what it declares, and no more of the suite.

    hatch run isolated:test     begins with this

A package that is tested beside undeclared neighbours passes by accident: tt-cloud, tt-metrics and
tt-nlp must do without torch, and none may see a sibling that it does not name.
"""

import sys
from importlib.metadata import distribution, distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SUITE = {"aitoolbox-suite", "tt-cloud", "tt-experiment", "tt-loop"}
SUITE |= {"tt-metrics", "tt-nlp", "tt-parallel"}
HEAVY = {"torch"}


def declared(name: str) -> set[str]:
    """A package and all that it requires, extras left out."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = canonicalize_name(waiting.pop())
        if current in found:
            continue
        found.add(current)
        for text in distribution(current).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def main() -> int:
    package = sys.argv[1]
    installed = {canonicalize_name(found.name) for found in distributions()}
    strangers = sorted(installed & (SUITE | HEAVY) - declared(package))
    if strangers:
        print(f"{package} does not declare {', '.join(strangers)}, and would be tested beside it.")
        print("Remake the environment: hatch env remove isolated")
    return 1 if strangers else 0


if __name__ == "__main__":
    sys.exit(main())
