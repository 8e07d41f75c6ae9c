"""Mails by AIToolbox's name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tt_cloud._aitoolbox.files import expanded
from tt_cloud._mail.plain import text_of
from tt_cloud.mail import SESMailer

__all__ = ["SESSender"]


class SESSender:
    """Sends pages of HTML; `tt_cloud.mail.SESMailer` has more.

    Args:
        sender_name: Shown beside the sender's address.
        sender_email: The sender's address.
        recipient_email: Who gets it: one address or several.
        aws_region: Of SES.
    """

    def __init__(
        self,
        sender_name: str,
        sender_email: str,
        recipient_email: str | Sequence[str],
        aws_region: str = "eu-west-1",
    ) -> None:
        sender = f"{sender_name} <{sender_email}>"
        self.mailer = SESMailer(sender, recipient_email, region=aws_region)

    def send_email(
        self,
        subject: str,
        body: str,
        attachment_file_paths: Sequence[str | Path] | None = None,
    ) -> str:
        """Send a mail; raises what `SESMailer.send` does.

        Args:
            subject: One line.
            body: HTML. Readers without HTML see its text.
            attachment_file_paths: Files to attach.

        Returns:
            SES's name for it.
        """
        files = [expanded(path) for path in attachment_file_paths or ()]
        return self.mailer.send(subject, text_of(body), html=body, attachments=files)
