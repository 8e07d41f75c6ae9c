"""``tt-experiment pin`` and ``unpin``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tt_experiment._command.chosen import one_run
from tt_experiment._command.console import visible
from tt_experiment._command.status import OK

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console

_FILE = "checkpoint_model/PINNED.json"


def pin(arguments: Arguments, console: Console) -> int:
    """Run ``pin``: one checkpoint, or without a step tell what is pinned."""
    from tt_experiment._runs.reseal import changing
    from tt_experiment.checkpoints import CheckpointFolder

    run = one_run(arguments, arguments.name)
    folder = CheckpointFolder(run.path / "checkpoint_model")
    if arguments.step is not None:
        with changing(run.path, [_FILE]):
            folder.pin(arguments.step, arguments.reason)
    pinned = folder.pinned()
    console.document(
        {
            "path": str(run.path),
            "pinned": [{"name": i.name, "step": i.step, "reason": i.pinned} for i in pinned],
        }
    )
    for info in pinned:
        console.result(f"{info.name}  {visible(info.pinned or '')}".rstrip())
    return OK


def unpin(arguments: Arguments, console: Console) -> int:
    """Run ``unpin``."""
    from tt_experiment._runs.reseal import changing
    from tt_experiment.checkpoints import CheckpointFolder

    run = one_run(arguments, arguments.name)
    assert arguments.step is not None  # noqa: S101  # the parser requires it
    with changing(run.path, [_FILE]):
        CheckpointFolder(run.path / "checkpoint_model").unpin(arguments.step)
    console.document({"path": str(run.path), "unpinned": arguments.step})
    return OK
