"""Mails about a training: what was measured, with plots and tables."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formataddr
from pathlib import Path
from typing import Any

from tt_experiment._text import one_line
from tt_experiment.callbacks._run import experiment_of
from tt_experiment.mailers import open_mailer
from tt_experiment.ports import Mailer
from tt_experiment.redact import redact, redact_text
from tt_loop.api import Callback

__all__ = ["EmailNotification"]

_log = logging.getLogger(__name__)
_KEYS = tuple(
    f"{name}_results_file_local_paths"
    for name in ("ModelTrainHistoryPlot", "ModelTrainHistoryFileWriter")
)
_LINE = 200  # characters
_MAX_ATTACHED = 7_000_000  # bytes: SES takes 10 MB after encoding


class EmailNotification(Callback):
    """Send a mail after each epoch and at the end: metrics, hyperparameters, plots and tables.

    The files are those that ``ModelTrainHistoryPlot`` and ``ModelTrainHistoryFileWriter`` wrote in
    the epoch. A mail that is not accepted is logged and does not end training. Secrets among the
    hyperparameters are left out.

    Args:
        sender_name: Shown beside the sender's address.
        sender_email: The sender's address.
        recipient_email: Who gets it: one address or several.
        project_name: Shown; by default that of the run.
        experiment_name: Shown; by default that of the run.
        aws_region: Of Amazon's Simple Email Service, by which mails are sent by default.
        mailer: Sends the mails instead.

    Raises:
        MissingDependency: Nobody provides the default mailer.
    """

    may_change_weights = False

    def __init__(
        self,
        sender_name: str,
        sender_email: str,
        recipient_email: str | Sequence[str],
        project_name: str | None = None,
        experiment_name: str | None = None,
        aws_region: str = "eu-west-1",
        *,
        mailer: Mailer | None = None,
    ) -> None:
        super().__init__("Mail notification", execution_order=98, device_idx_execution=0)
        self.project_name, self.experiment_name = project_name, experiment_name
        if mailer is None:
            sender = formataddr((sender_name, sender_email))
            mailer = open_mailer("ses", sender, recipient_email, region=aws_region)
        self.mailer = mailer

    def on_epoch_end(self) -> None:
        """Send a mail."""
        self._send(f"epoch {self.train_loop_obj.epoch} done")

    def on_train_end(self) -> None:
        """Send a mail."""
        self._send("training done")

    def on_exception(self, exception: BaseException) -> None:
        """Send a mail that tells what ended the training; to be asked to end is no failure."""
        is_asked = isinstance(exception, KeyboardInterrupt | SystemExit)
        what = "training interrupted" if is_asked else "training failed"
        self._send(what, f"{type(exception).__name__}: {redact_text(str(exception))}")

    def get_metric_list_html(self) -> str:
        """The newest value of each metric, as an HTML list; names and values are escaped."""
        return _html_list(self._metrics())

    def get_hyperparams_html(self) -> str:
        """The hyperparameters as an HTML list, escaped and without secrets."""
        return _html_list(self._hyperparams())

    def _metrics(self) -> dict[str, Any]:
        history = self.train_loop_obj.train_history
        return {name: _shown(values[-1]) for name, values in history.items() if values}

    def _hyperparams(self) -> dict[str, Any]:
        loop = self.train_loop_obj
        run = experiment_of(loop)
        given = getattr(loop, "hyperparams", None) if run is None else run.hyperparams
        return redact(dict(given)) if isinstance(given, Mapping) else {}

    def _title(self) -> str:
        run = experiment_of(self.train_loop_obj)
        project = self.project_name or (run.project_name if run else "")
        experiment = self.experiment_name or (run.experiment_name if run else "")
        return one_line(
            ": ".join(name for name in (project, experiment) if name) or "training", _LINE
        )

    def _send(self, what: str, why: str = "") -> None:
        try:
            title, parts = self._title(), {"Metrics": self._metrics()}
            parts["Hyperparameters"] = self._hyperparams()
            text = "\n\n".join([f"{title}: {what}", *filter(None, [why]), *_paragraphs(parts)])
            page = "".join(
                [f"<h2>{html.escape(title)}: {html.escape(what)}</h2>"]
                + ([f"<p>{html.escape(why)}</p>"] if why else [])
                + [f"<h3>{name}</h3>{_html_list(values)}" for name, values in parts.items()]
            )
            self.mailer.send(f"{title}: {what}", text, html=page, attachments=self._attachments())
        except Exception as error:  # a mail is not worth a training
            _log.warning("a mail was not sent: %s", redact_text(str(error)))

    def _attachments(self) -> list[Path]:
        service, kept, size = self.train_loop_obj.message_service, [], 0
        for path in dict.fromkeys(_paths(service.read_messages(key) for key in _KEYS)):
            size += path.stat().st_size if path.is_file() else _MAX_ATTACHED
            if size > _MAX_ATTACHED:
                _log.warning("%s is not attached: mails have at most 7 MB of files", path)
                break
            kept.append(path)
        return kept


def _paths(messages: Any) -> Iterator[Path]:
    """Paths in messages, however nested; of AIToolbox's pairs of name and path, the path."""
    for message in messages or ():
        if isinstance(message, str | Path):
            yield Path(message)
        elif isinstance(message, tuple) and len(message) == 2:
            yield Path(message[1])
        elif message is not None:
            yield from _paths(message)


def _paragraphs(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        "\n".join([f"{title}:", *(f"  {one_line(str(n), _LINE)}: {v}" for n, v in values.items())])
        for title, values in parts.items()
    ]


def _html_list(values: Mapping[str, Any]) -> str:
    items = (f"<li>{html.escape(str(n))}: {html.escape(str(v))}</li>" for n, v in values.items())
    return f"<ul>{''.join(items)}</ul>"


def _shown(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
