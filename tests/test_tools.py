"""tools/check.py finds each breach of its rules and no other; tools/alone.py finds strangers."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [folder.name for folder in sorted((ROOT / "packages").iterdir()) if folder.is_dir()]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


check = load("check")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The packages' metadata, around files that are as small as the rules allow."""
    for file in ("LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    for name in PACKAGES:
        source, target = ROOT / "packages" / name, tmp_path / "packages" / name
        [package] = (source / "src").iterdir()
        (target / "src" / package.name).mkdir(parents=True)
        shutil.copy(source / "pyproject.toml", target)
        shutil.copy(ROOT / "LICENSE", target)
        (target / "src" / package.name / "py.typed").touch()
        (target / "README.md").write_text(f"# {name}\n\n```python\nimport {package.name}\n```\n")
        (target / "CHANGELOG.md").write_text(f"# {name}: changes\n")
        for file in ("tests/test_it.py", "changes/1.added.md"):
            (target / file).parent.mkdir()
            (target / file).touch()
    return tmp_path


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(tree: Path) -> None:
        text = (tree / file).read_text("utf-8")
        assert old in text
        (tree / file).write_text(text.replace(old, new, 1), "utf-8")

    return apply


def write(file: str, text: str) -> Callable[[Path], None]:
    def apply(tree: Path) -> None:
        (tree / file).write_text(text, "utf-8")

    return apply


def remove(file: str) -> Callable[[Path], None]:
    def apply(tree: Path) -> None:
        shutil.rmtree(tree / file) if (tree / file).is_dir() else (tree / file).unlink()

    return apply


NLP = "packages/tt-nlp/"
SUITE = "packages/aitoolbox-suite/"
CODE = NLP + "src/tt_nlp/code.py"

BREACHES = {
    "no upper bound": ("sibling-range", edit(NLP + "pyproject.toml", ">=0.1,<0.2", ">=0.1")),
    "too wide": ("sibling-range", edit(NLP + "pyproject.toml", ">=0.1,<0.2", ">=0.1,<1")),
    "lower bound above": ("sibling-range", edit(NLP + "pyproject.toml", ">=0.1,", ">=0.1.7,")),
    "hole in it": ("sibling-range", edit(NLP + "pyproject.toml", "<0.2", "<0.2,!=0.1.3")),
    "in an extra": ("sibling-range", edit(SUITE + "pyproject.toml", "[s3]>=0.1,<0.2", "[s3]")),
    "no such extra": (
        "sibling-extra",
        edit(SUITE + "pyproject.toml", "tt-cloud[s3]", "tt-cloud[r2]"),
    ),
    "suite lacks one": (
        "suite-complete",
        edit(SUITE + "pyproject.toml", '  "tt-loop>=0.1,<0.2",\n', ""),
    ),
    "other license": ("same-metadata", edit(NLP + "pyproject.toml", '"MIT"', '"ISC"')),
    "other Python": ("same-metadata", edit(NLP + "pyproject.toml", '">=3.11"', '">=3.12"')),
    "other builder": ("same-metadata", edit(NLP + "pyproject.toml", "hatchling>=", "hatchling==")),
    "other name": ("same-metadata", edit(NLP + "pyproject.toml", '"tt-nlp"', '"tt-text"')),
    "no py.typed": ("py-typed", remove(NLP + "src/tt_nlp/py.typed")),
    "excluded files": (
        "wheel-contents",
        edit(NLP + "pyproject.toml", '["src/tt_nlp"]', '["src/tt_nlp"]\nexclude = ["*.typed"]'),
    ),
    "no license": ("license-file", remove(NLP + "LICENSE")),
    "another license's text": ("license-file", write(NLP + "LICENSE", "All rights reserved.\n")),
    "no README": ("readme", remove(NLP + "README.md")),
    "README without Python": ("readme", write(NLP + "README.md", "# tt-nlp\n")),
    "no changelog": ("changelog", remove(NLP + "CHANGELOG.md")),
    "no tests": ("tests", remove(NLP + "tests")),
    "no notes": ("changes", remove(NLP + "changes")),
    "note of an unknown kind": ("changes", write(NLP + "changes/2.feature.md", "It can.\n")),
    "noqa without a code": ("suppression", write(CODE, "import os  # noqa\n")),
    "noqa without a reason": ("suppression", write(CODE, "import os  # noqa: F401\n")),
    "a whole file": ("suppression", write(CODE, "# ruff: noqa\nimport os\n")),
    "ignore without a code": ("suppression", write(CODE, "x = 1  # type: ignore - it is\n")),
    "ignore without a reason": ("suppression", write(CODE, "x = 1  # type: ignore[misc]\n")),
}


def test_a_whole_tree_passes(tree: Path) -> None:
    assert check.check(tree) == []


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_the_one_violation(tree: Path, breach: str) -> None:
    rule, apply = BREACHES[breach]
    apply(tree)
    assert [violation.rule for violation in check.check(tree)] == [rule]


@pytest.mark.parametrize(
    "text",
    [
        "import os  # noqa: F401, E501 - read by the tests\n",
        "x = f()  # type: ignore[no-any-return]  # the library has no types\n",
        'text = "# noqa"\n',
    ],
)
def test_a_reasoned_suppression_and_a_string_pass(tree: Path, text: str) -> None:
    write(CODE, text)(tree)
    assert check.check(tree) == []


def test_a_newer_sibling_asks_for_a_new_range(tree: Path) -> None:
    edit("packages/tt-metrics/pyproject.toml", '"0.1.0"', '"0.2.0"')(tree)
    found = [violation for violation in check.check(tree) if "tt-nlp" in str(violation.file)]
    assert [violation.do for violation in found] == ['write "tt-metrics>=0.2,<0.3"']


def test_from_1_0_on_the_major_version_breaks(tree: Path) -> None:
    edit("packages/tt-metrics/pyproject.toml", '"0.1.0"', '"1.4.0"')(tree)
    edit(NLP + "pyproject.toml", ">=0.1,<0.2", ">=1.2,<2")(tree)
    assert all("tt-nlp" not in str(violation.file) for violation in check.check(tree))


def test_violations_are_printed_and_end_with_1(tree: Path) -> None:
    remove(NLP + "CHANGELOG.md")(tree)
    command = [sys.executable, str(ROOT / "tools" / "check.py"), str(tree)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    line = f"{NLP}CHANGELOG.md: changelog: there is no such file; create it with its title\n"
    assert run.stdout == line


def test_a_full_environment_is_not_an_isolated_one() -> None:
    command = [sys.executable, str(ROOT / "tools" / "alone.py"), "tt-nlp"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert "tt-nlp does not declare aitoolbox-suite, torch, tt-cloud" in run.stdout
    assert "tt-metrics" not in run.stdout
