"""Build the wheels and source archives of all packages, and try the wheels as a user gets them.

    hatch run wheels:check

They lie in ``dist`` afterwards. A new environment then gets `aitoolbox-suite` by its name and
everything else by what the wheels declare; examples/demo.py runs there, away from the sources.
"""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
DEMO = ROOT / "examples" / "demo.py"

# Run by the new environment's Python: which files the names stand for there.
WHERE = """
import importlib, sys
for name in sys.argv[2:]:
    file = importlib.import_module(name).__file__
    assert file.startswith(sys.argv[1]), f"{name} comes from {file}, not from the wheel"
"""


def build() -> list[Path]:
    """Build every package with the pinned hatchling of this environment; return the wheels."""
    shutil.rmtree(DIST, ignore_errors=True)
    for package in sorted(ROOT.glob("packages/*/pyproject.toml")):
        command = [sys.executable, "-m", "hatchling", "build", "--directory", str(DIST)]
        subprocess.run(command, cwd=package.parent, check=True)
    return sorted(DIST.glob("*.whl"))


def import_name(wheel: Path) -> str:
    """The one package in a wheel, which must say that it is typed."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if len(tops) != 1:
        sys.exit(f"{wheel.name}: one import package is expected, it holds {sorted(tops)}.")
    [top] = tops
    if f"{top}/py.typed" not in names:
        sys.exit(f"{wheel.name}: {top}/py.typed is missing: type checkers would ignore its types.")
    return top


def install(wheels: list[Path], folder: Path) -> Path:
    """Make an environment with the suite in it; return its Python."""
    home = folder / "env"
    venv.create(home, symlinks=os.name != "nt")  # without pip: this environment's installs into it
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # Constraints that name the files: an index may have a package of the same name and version.
    built = folder / "built.txt"
    pins = (f"{parse_wheel_filename(w.name)[0]} @ {w.resolve().as_uri()}\n" for w in wheels)
    built.write_text("".join(pins), "utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    constraints = ["--constraint", str(ROOT / "constraints.txt"), "--constraint", str(built)]
    source = ["--find-links", str(DIST)]
    wanted = ["aitoolbox-suite", "scikit-learn"]  # the latter has the demo's data
    subprocess.run([*pip, "install", "--quiet", *source, *constraints, *wanted], check=True)
    subprocess.run([*pip, "check"], check=True)
    return python


def main() -> int:
    wheels = build()
    names = [import_name(wheel) for wheel in wheels]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        python = install(wheels, folder)
        work = folder / "work"
        work.mkdir()
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        commands: tuple[list[str | Path], ...] = (
            [python, "-c", WHERE, folder, *names],
            [python.with_name("aitoolbox"), "versions"],
            [python, DEMO],
        )
        for command in commands:
            subprocess.run(command, cwd=work, env=clean, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
