"""A run as TensorBoard's event file. Needs ``tt-experiment[tensorboard]``."""

from __future__ import annotations

from pathlib import Path

from tt_experiment.errors import ExperimentSetupError
from tt_experiment.exports._columns import values_of
from tt_experiment.loggers._common import imported
from tt_experiment.runs import RunSummary

__all__ = ["export_tensorboard"]


def export_tensorboard(run: RunSummary, folder: Path | str) -> Path:
    """Write curves with their steps and times, and hyperparameters with the results.

    Args:
        run: The run, as `summarise` gives it.
        folder: Gets ``<project>/<run>/`` with an event file.

    Returns:
        The run's folder in there.

    Raises:
        MissingDependency: TensorBoard is not installed.
        ExperimentSetupError: The run is in there already: TensorBoard would show it twice.
    """
    tensorboard = imported("torch.utils.tensorboard", "tensorboard", "export_tensorboard")
    summary = imported("torch.utils.tensorboard.summary", "tensorboard", "export_tensorboard")
    target = Path(folder).expanduser().absolute() / run.path.parent.name / run.name
    if target.is_dir() and any(target.iterdir()):
        msg = f"a run is exported once into a folder. {target} is there: remove it first"
        raise ExperimentSetupError(msg)
    with tensorboard.SummaryWriter(str(target)) as writer:
        params = {k: "none" if v is None else v for k, v in run.hyperparams.items()}
        for part in summary.hparams(params, dict(run.results)):
            writer.file_writer.add_summary(part)
        for name, result in run.results.items():
            writer.add_scalar(name, result)
        for value in values_of(run):
            writer.add_scalar(value.metric, value.value, value.step, walltime=value.time)
    return target
