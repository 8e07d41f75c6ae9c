"""Mails through Amazon's Simple Email Service (SES): text, HTML and files.

::

    mailer = SESMailer("Trainer <trainer@example.org>", ["me@example.org"], region="eu-west-1")
    mailer.send("Training is done", "Accuracy: 0.93", attachments=[Path("report.html")])

Needs boto3 (``pip install 'tt-cloud[s3]'``), and credentials that may call ``ses:SendRawEmail``.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from tt_cloud import _boto
from tt_cloud._mail.logs import excerpt
from tt_cloud._mail.message import DEFAULT_LIMIT, MAX_LIMIT, Attachment, address, compose
from tt_cloud.errors import MailError

__all__ = [
    "DEFAULT_LIMIT",
    "MAX_LIMIT",
    "Attachment",
    "Mailer",
    "SESMailer",
    "preformatted",
    "send_log",
]

_ADVICE = {
    "AccountSendingPausedException": "the account's sending is paused: see SES's console",
    "MailFromDomainNotVerified": "finish the set-up of the custom MAIL FROM domain in SES",
    "MailFromDomainNotVerifiedException": "finish the set-up of the custom MAIL FROM domain in SES",
    "MessageRejected": (
        "the sender must be verified in SES in this region, and so must each recipient while the "
        "account is in SES's sandbox; its text is this error's cause"
    ),
}


class Mailer(Protocol):
    """Whatever sends mails."""

    def send(
        self,
        subject: str,
        text: str,
        /,
        *,
        html: str | None = None,
        attachments: Sequence[Path | Attachment] = (),
    ) -> str:
        """Send a mail and return what the service calls it."""
        ...


class SESMailer:
    """Sends from one address to some; nothing is connected before the first mail.

    Args:
        sender: Address with or without a name: ``"Trainer <trainer@example.org>"``.
        recipients: One such address or several. All of them see each other.
        region: Of SES; else that of the environment.
        endpoint_url: A server other than that of AWS.
        limit: Bytes that an encoded mail may have: SES takes 10 MB, and up to 40 MB where AWS
            raised the account's quota.

    Raises:
        MailError: When an address is none.
        MissingDependency: At the first mail, when boto3 is not installed.
    """

    def __init__(
        self,
        sender: str,
        recipients: str | Sequence[str],
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        if not 0 < limit <= MAX_LIMIT:
            msg = f"SES takes mails of up to {MAX_LIMIT} bytes: got limit={limit}; lower it"
            raise MailError(msg)
        self.sender = address(sender)
        several = [recipients] if isinstance(recipients, str) else list(recipients)
        self.recipients = tuple(address(each) for each in several)
        if not self.recipients:
            msg = "a mail goes to somebody: got no recipients; name one"
            raise MailError(msg)
        self.limit = limit
        self._region = region
        self._endpoint_url = endpoint_url

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_client"}

    def send(
        self,
        subject: str,
        text: str,
        /,
        *,
        html: str | None = None,
        attachments: Sequence[Path | Attachment] = (),
    ) -> str:
        """Send a mail and return SES's name for it.

        A connection that breaks may have it sent twice: SES cannot tell.

        Args:
            subject: One line.
            text: What readers without HTML see.
            html: The same as a page; what comes from elsewhere is to be escaped (`html.escape`).
            attachments: Files, or content with a name.

        Raises:
            MailError: When the mail cannot be made, is too large, or SES refused it.
            AccessDenied: When the credentials are missing or do not allow it.
            Throttled: When SES wants fewer mails.
            Unavailable: When SES cannot be reached.
        """
        message = compose(
            self.sender, self.recipients, subject, text, html, attachments, self.limit
        )
        where = f"SES{f' in {self._region}' if self._region else ''}"
        client = self._client
        with _boto.translated(where, MailError, _ADVICE):
            answer = client.send_raw_email(
                Source=self.sender.addr_spec,  # SES wants ASCII here; the mail has the name
                Destinations=[each.addr_spec for each in self.recipients],
                RawMessage={"Data": message},
            )
        return str(answer["MessageId"])

    @cached_property
    def _client(self) -> Any:
        return _boto.client("ses", self._region, self._endpoint_url, MailError)


def send_log(
    mailer: Mailer,
    path: Path,
    /,
    *,
    subject: str | None = None,
    tail: int = 100,
    limit: int = DEFAULT_LIMIT,
) -> str:
    """Mail a log: its last lines to read, and all of it as a file.

    A log that is too large for a mail is sent compressed; one that is too large for that, too,
    loses its beginning.

    Args:
        mailer: Sends it.
        path: The log.
        subject: Else the file's name.
        tail: Lines to show in the mail itself.
        limit: Bytes that the encoded mail may have.

    Raises:
        MailError: When the log cannot be read, or the mail is not sent.
    """
    text, attachment = excerpt(path, tail, limit)
    page = preformatted(text)
    return mailer.send(subject or path.name, text, html=page, attachments=[attachment])


def preformatted(text: str) -> str:
    """Plain text as HTML that shows it as it is."""
    return f"<pre>{html.escape(text)}</pre>"
