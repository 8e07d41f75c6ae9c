"""Check what the seven packages promise each other and no other tool looks at.

    hatch run lint:check            with the other static checks
    python tools/check.py [ROOT]    alone; needs `packaging`

Each violation is a line ``file: rule: what came; what to do``, and the exit status is then 1.
"""

import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

SUITE = "aitoolbox-suite"
IMPORT_NAMES = {SUITE: "aitoolbox"}  # the others: their own name with an underscore
SHARED = ("license", "requires-python", "authors", "readme")
SOURCES = ("packages", "tests", "tools", "examples")

# A suppression, the codes it names, and the words after them.
SUPPRESSION = re.compile(r"#\s*(ruff:\s*noqa|noqa|type:\s*ignore)(?P<rest>.*)", re.IGNORECASE)
CODES = re.compile(r"(:\s*[A-Z]+[0-9]+(\s*,\s*[A-Z]+[0-9]+)*|\[[a-z0-9, -]+\])", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Violation:
    file: Path
    rule: str
    came: str
    do: str

    def __str__(self) -> str:
        return f"{self.file}: {self.rule}: {self.came}; {self.do}"


@dataclass(frozen=True)
class Package:
    """One distribution below ``packages/`` and what its pyproject.toml says."""

    folder: Path
    config: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> "Package":
        return cls(folder, tomllib.loads((folder / "pyproject.toml").read_text("utf-8")))

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def import_name(self) -> str:
        return IMPORT_NAMES.get(self.name, self.name.replace("-", "_"))

    @property
    def project(self) -> dict[str, Any]:
        project: dict[str, Any] = self.config["project"]
        return project

    @property
    def version(self) -> Version:
        return Version(self.project["version"])

    @property
    def file(self) -> Path:
        return self.folder / "pyproject.toml"

    def requirements(self) -> Iterator[Requirement]:
        """What it needs, extras included."""
        extras = self.project.get("optional-dependencies", {}).values()
        for text in [*self.project.get("dependencies", []), *(r for e in extras for r in e)]:
            yield Requirement(text)


def check(root: Path) -> list[Violation]:
    """Every violation in the tree, files relative to its root."""
    packages = [Package.read(file.parent) for file in root.glob("packages/*/pyproject.toml")]
    tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]
    note_types = {kind["directory"] for kind in tools["towncrier"]["type"]}
    license_text = (root / "LICENSE").read_text("utf-8")
    found = [
        *sibling_ranges(packages),
        *sibling_extras(packages),
        *whole_suite(packages),
        *shared_metadata(packages),
        *(v for package in packages for v in wheel_contents(package)),
        *(v for package in packages for v in license_file(package, license_text)),
        *(v for package in packages for v in documents(package)),
        *(v for package in packages for v in change_notes(package, note_types)),
        *(v for file in python_files(root) for v in suppressions(file)),
    ]
    return sorted(Violation(v.file.relative_to(root), v.rule, v.came, v.do) for v in found)


def breaking_line(version: Version) -> str:
    """The next version that may break users: a minor one below 1.0, a major one from then."""
    return f"0.{version.minor + 1}" if version.major == 0 else f"{version.major + 1}"


def sibling_ranges(packages: list[Package]) -> Iterator[Violation]:
    """A sibling is needed as ``>=oldest that works,<next breaking line`` around its version."""
    versions = {package.name: package.version for package in packages}
    for package in packages:
        for requirement in package.requirements():
            version = versions.get(requirement.name)
            if version is None:
                continue
            bounds = {s.operator: s.version for s in requirement.specifier}
            upper = breaking_line(version)
            fits = (
                sorted(bounds) == ["<", ">="]
                and len(requirement.specifier) == 2
                and bounds["<"] == upper
                and breaking_line(Version(bounds[">="])) == upper
                and Version(bounds[">="]) <= version
            )
            if not fits:
                extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
                wanted = f"{requirement.name}{extras}>={version.major}.{version.minor},<{upper}"
                came = f"{requirement} while {requirement.name} is at {version}"
                yield Violation(package.file, "sibling-range", came, f'write "{wanted}"')


def sibling_extras(packages: list[Package]) -> Iterator[Violation]:
    """An extra that a sibling is asked for exists: pip would only warn."""
    extras = {p.name: set(p.project.get("optional-dependencies", {})) for p in packages}
    for package in packages:
        for requirement in package.requirements():
            unknown = requirement.extras - extras.get(requirement.name, requirement.extras)
            for extra in sorted(unknown):
                came = f"{requirement.name} has no extra {extra}"
                yield Violation(package.file, "sibling-extra", came, "drop it, or define it there")


def whole_suite(packages: list[Package]) -> Iterator[Violation]:
    """The suite installs every other package."""
    for suite in packages:
        if suite.name != SUITE:
            continue
        needs = {Requirement(text).name for text in suite.project.get("dependencies", [])}
        for name in sorted({package.name for package in packages} - needs - {SUITE}):
            came = f"{name} is not among its dependencies"
            yield Violation(suite.file, "suite-complete", came, f"add {name} with its range")


def shared_metadata(packages: list[Package]) -> Iterator[Violation]:
    """Metadata that hatchling cannot inherit is repeated: here it is compared with the suite's."""
    suite = next(package for package in packages if package.name == SUITE)
    for package in packages:
        pairs = [(f"project.{k}", suite.project.get(k), package.project.get(k)) for k in SHARED]
        pairs.append(("build-system", suite.config["build-system"], package.config["build-system"]))
        pairs.append(("project.name", package.name, package.project["name"]))
        for key, wanted, came in pairs:
            if came != wanted:
                yield Violation(package.file, "same-metadata", f"{key} = {came}", f"write {wanted}")


def wheel_contents(package: Package) -> Iterator[Violation]:
    """The wheel holds the import package, and with it ``py.typed``."""
    marker = package.folder / "src" / package.import_name / "py.typed"
    if not marker.is_file():
        yield Violation(marker, "py-typed", "there is no such file", "create it, empty")
    wanted = {"packages": [f"src/{package.import_name}"]}
    hatch = package.config.get("tool", {}).get("hatch", {})
    came = hatch.get("build", {}).get("targets", {}).get("wheel")
    if came != wanted:
        do = f"let [tool.hatch.build.targets.wheel] be packages = {wanted['packages']}"
        yield Violation(package.file, "wheel-contents", f"the wheel is built from {came}", do)


def license_file(package: Package, text: str) -> Iterator[Violation]:
    """The license goes with every copy, and hatchling takes it from the package's own folder."""
    file = package.folder / "LICENSE"
    if not file.is_file() or file.read_text("utf-8") != text:
        yield Violation(file, "license-file", "missing, or not the root's", "copy it from there")


def documents(package: Package) -> Iterator[Violation]:
    """A package has an example that runs, a changelog and tests."""
    readme = package.folder / "README.md"
    if not readme.is_file() or "\n```python\n" not in readme.read_text("utf-8"):
        yield Violation(readme, "readme", "no ```python block", "show its use; tests run it")
    changelog = package.folder / "CHANGELOG.md"
    if not changelog.is_file():
        yield Violation(changelog, "changelog", "there is no such file", "create it with its title")
    if not any(package.folder.glob("tests/**/test_*.py")):
        tests = package.folder / "tests"
        yield Violation(tests, "tests", "no test_*.py", "add some; they run with it alone")


def change_notes(package: Package, types: set[str]) -> Iterator[Violation]:
    """Notes are named so that towncrier finds them: it skips the others without a word."""
    folder = package.folder / "changes"
    notes = sorted(folder.iterdir()) if folder.is_dir() else []
    if not notes:
        yield Violation(folder, "changes", "no such folder, or empty", "add a note, or .gitkeep")
    pattern = re.compile(rf"[^.]+\.({'|'.join(sorted(types))})(\.\d+)?\.md")
    for note in notes:
        if note.name != ".gitkeep" and not pattern.fullmatch(note.name):
            do = f"name it <number>.<{'|'.join(sorted(types))}>.md"
            yield Violation(note, "changes", "not the name of a change note", do)


def python_files(root: Path) -> Iterator[Path]:
    yield from sorted(root.glob("*.py"))
    for source in SOURCES:
        yield from sorted((root / source).rglob("*.py"))


def suppressions(file: Path) -> Iterator[Violation]:
    """``noqa`` and ``type: ignore`` name what they silence, and say why."""
    text = file.read_text("utf-8")
    if "noqa" not in text.lower() and "ignore" not in text:  # reading tokens is slow
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        match = SUPPRESSION.search(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        came = f"line {token.start[0]} has `{token.string}`"
        codes = CODES.match(match["rest"].lstrip())
        if codes is None:
            yield Violation(file, "suppression", came, "name the codes it silences")
        elif not re.search(r"[A-Za-z]{2,}", match["rest"].lstrip()[codes.end() :]):
            yield Violation(file, "suppression", came, "say why after the code")


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    violations = check(root)
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
