"""The command ``aitoolbox``.

    aitoolbox versions     which packages of the suite are installed, and what they plug in

Exit status: 0; 1 when a package of the suite is missing; 2 for a wrong command line.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, entry_points, version

__all__ = ["main"]

PACKAGES = (
    "aitoolbox-suite",
    "tt-cloud",
    "tt-experiment",
    "tt-loop",
    "tt-metrics",
    "tt-nlp",
    "tt-parallel",
)
GROUPS = {  # what a user writes as a string, and where packages register it
    "gpu_mode": "tt_loop.strategies",
    "use_amp": "tt_loop.precisions",
    "store": "tt_experiment.stores",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, or those of the process; return its exit status."""
    parser = argparse.ArgumentParser(prog="aitoolbox", description="The AIToolbox suite.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    about = "list the installed packages of the suite, and the names that they provide"
    commands.add_parser("versions", help=about, description=about)
    parser.parse_args(arguments)
    return _versions()


def _versions() -> int:
    installed = {name: _version(name) for name in PACKAGES}
    _section("packages", [(name, found or "not installed") for name, found in installed.items()])
    for argument, group in GROUPS.items():
        _section(f"{argument} ({group})", sorted(_provided(group)))
    return 0 if all(installed.values()) else 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _provided(group: str) -> Iterator[tuple[str, str]]:
    """Registered names and their providers; nothing is loaded, so a broken one is listed too."""
    for entry in entry_points(group=group):
        provider = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown provider"
        yield entry.name, f"{provider}, {entry.value}"


def _section(title: str, rows: Sequence[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {what}" for name, what in rows] or ["  none"]
    sys.stdout.write("\n".join([title, *lines, ""]))


if __name__ == "__main__":
    sys.exit(main())
