"""Files that belong to results."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tt_metrics._errors import MetricInputError

__all__ = ["zipped"]


def zipped(source: Path, target: Path) -> str:
    """Pack all files of a folder into a zip file, sorted by name, and give its path."""
    if not source.is_dir():
        msg = f"source_dir_path must be a folder; there is none at {str(source)!r}."
        raise MetricInputError(msg)
    if target.suffix != ".zip":
        target = target.with_name(target.name + ".zip")
    if target.resolve().is_relative_to(source.resolve()):
        msg = f"zip_path must lie outside the folder it packs; {str(target)!r} is in it."
        raise MetricInputError(msg)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(source).as_posix())
    return str(target)
