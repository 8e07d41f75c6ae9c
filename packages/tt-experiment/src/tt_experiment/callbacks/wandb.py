"""AIToolbox's W&B callback, which feeds a `WandbLogger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tt_experiment.callbacks._logging import LoggingCallback, check_frequency
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.loggers.wandb import WandbLogger
from tt_experiment.ports import RunFacts
from tt_experiment.redact import redact
from tt_loop.api import Tree

__all__ = ["AlertConfig", "WandBTracking"]

_PREFIXES = ("metrics/", "loss/")


@dataclass(frozen=True, slots=True)
class AlertConfig:
    """When W&B is to send a message."""

    metric_name: str
    """Name in the history, such as ``val_loss``."""
    threshold_value: float
    objective: Literal["maximize", "minimize"] = "maximize"
    """Whether the metric has to rise above the threshold, or fall below it."""
    wandb_alert_level: Any = None
    """A ``wandb.AlertLevel`` or its name."""

    def __post_init__(self) -> None:
        if self.objective not in ("maximize", "minimize"):
            msg = f"objective must be 'maximize' or 'minimize'. Got {self.objective!r}"
            raise ExperimentSetupError(msg)

    @property
    def metric(self) -> str:
        """The name in the history, without the prefix that W&B shows it with."""
        prefix = next((each for each in _PREFIXES if self.metric_name.startswith(each)), "")
        return self.metric_name.removeprefix(prefix)

    def is_met(self, value: float) -> bool:
        """Whether a value is beyond the threshold."""
        if self.objective == "maximize":
            return value > self.threshold_value
        return value < self.threshold_value


class WandBTracking(LoggingCallback):
    """Log a fit into Weights & Biases.

    The history's numbers come as ``loss/<name>`` and ``metrics/<name>`` after each epoch; with
    ``batch_log_frequency`` also ``train_loss/last_batch_loss`` and
    ``train_loss/accumulated_batch_loss``, the mean over the epoch's batches so far. An alert is
    sent when its threshold is passed, and again only after the metric was back.

    Args:
        metric_names: Which metrics; ``None`` logs all.
        batch_log_frequency: Log losses after every so many batches; ``None`` does not.
        hyperparams: Shown as W&B's config; by default those of the run.
        tags: Tags of the W&B run.
        alerts: When W&B is to send a message.
        wandb_pre_initialized: Log into the run that ``wandb.init`` has begun, and leave it open.
        source_dirs: Folders of source code to log. Files that hold secrets are left out.
        log_dir: Folder of W&B's own files; by default in the run's folder.
        is_project: Log a run; otherwise there need be none.
        project_name: Folder of the project, and name of W&B's; by default that of the loop's run.
        experiment_name: Name of the run; by default that of the loop's run.
        local_model_result_folder_path: Folder of all projects; by default that of the loop's run.
        **kwargs: Arguments of `WandbLogger` and of ``wandb.init``, such as ``mode='offline'``.

    Raises:
        ExperimentSetupError: ``batch_log_frequency`` is below 1.

    Example:
        >>> tracking = WandBTracking(mode="offline", alerts=[AlertConfig("val_accuracy", 0.9)])
    """

    def __init__(
        self,
        metric_names: Sequence[str] | None = None,
        batch_log_frequency: int | None = None,
        hyperparams: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        alerts: Sequence[AlertConfig] | None = None,
        wandb_pre_initialized: bool = False,
        source_dirs: Sequence[Path | str] = (),
        log_dir: Path | str | None = None,
        is_project: bool = True,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        **kwargs: Any,
    ) -> None:
        options = {**({"tags": list(tags)} if tags else {}), **kwargs}
        if log_dir is not None:
            options["dir"] = str(log_dir)
        logger = WandbLogger(source_dirs=source_dirs, current_run=wandb_pre_initialized, **options)
        names = {
            "project_name": project_name,
            "experiment_name": experiment_name,
            "local_model_result_folder_path": local_model_result_folder_path,
        }
        super().__init__("W&B tracking", logger, log_dir, is_project, names)
        check_frequency(batch_log_frequency)
        self.metric_names = metric_names
        self.batch_log_frequency = batch_log_frequency
        self.hyperparams = hyperparams
        self.tags = tags
        self.alerts = list(alerts or ())
        self.wandb_pre_initialized = wandb_pre_initialized
        self.source_dirs = source_dirs
        self._met: set[AlertConfig] = set()

    def facts(self) -> RunFacts:
        """What W&B is told: with the callback's own hyperparameters, if it has some."""
        facts = super().facts()
        if self.hyperparams is None:
            return facts
        return replace(facts, hyperparams=redact(dict(self.hyperparams)))

    def on_epoch_begin(self) -> None:
        """Begin a new mean."""
        self.losses.begin_epoch()

    def on_batch_end(self) -> None:
        """Log, if it is this batch's turn."""
        if self.batch_log_frequency is not None:
            self.keep_loss(self.batch_log_frequency)

    def on_epoch_end(self) -> None:
        """Log what is new, and send alerts.

        Raises:
            ExperimentSetupError: A metric that was chosen, or is to alert, is measured by nobody.
        """
        self.check_alerts()
        self.send_configured_alerts(self.alerts, self.log_train_history_metrics(self.metric_names))

    def on_train_end(self) -> None:
        """Log what was measured at the very end, and end the W&B run."""
        self.log_train_history_metrics(self.metric_names)
        super().on_train_end()

    def check_alerts(self) -> None:
        """Refuse alerts on what nobody measures.

        Raises:
            ExperimentSetupError: There is such an alert.
        """
        tops = [alert.metric.partition("/")[0] for alert in self.alerts]
        history = self.train_loop_obj.train_history
        whole = [alert.metric for alert in self.alerts]
        self.check_measured(
            [name if name in history else top for name, top in zip(whole, tops, strict=True)]
        )

    def send_configured_alerts(
        self, alerts: Sequence[AlertConfig], metrics_log: Mapping[str, float]
    ) -> None:
        """Send a message for each alert that is met now and was not before.

        Args:
            alerts: The alerts.
            metrics_log: Numbers by their names in the history.
        """
        for alert in alerts:
            value = metrics_log.get(alert.metric)
            if value is None:
                continue
            if not alert.is_met(value):
                self._met.discard(alert)
            elif alert not in self._met:
                self._met.add(alert)
                self._send(alert, value)

    def _send(self, alert: AlertConfig, value: float) -> None:
        word = "above" if alert.objective == "maximize" else "below"
        text = f"{alert.metric} is {value:g}, {word} {alert.threshold_value:g}."
        level, thread, logger = alert.wandb_alert_level, self._thread, self.logger
        if thread is not None and isinstance(logger, WandbLogger):
            thread.call(lambda: logger.alert(f"{alert.metric} reached its threshold", text, level))

    def state_dict(self) -> Tree:
        """The mean of an epoch that is under way."""
        return self.losses.state_dict() if self.batch_log_frequency is not None else {}

    def load_state_dict(self, state: Tree) -> None:
        """Go on with it."""
        self.losses.load_state_dict(state, self.train_loop_obj.device)
