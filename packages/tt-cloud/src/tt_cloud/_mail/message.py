"""A mail as bytes: addresses checked, parts built, size bounded."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import NamedTuple

from tt_cloud.errors import MailError

DEFAULT_LIMIT = 10_000_000
MAX_LIMIT = 40_000_000

_OPAQUE = "application/octet-stream"
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_SPEC = r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9.-]+"
_ADDRESS = re.compile(rf"(?P<bare>{_SPEC})|(?P<name>[^<>@]*)<(?P<spec>{_SPEC})>", re.I | re.A)
_ESCAPED = re.compile(r"\\(.)")
_ENCODED = "=?"  # a name that readers would decode
_types = mimetypes.MimeTypes(())  # what Python knows: the same on each machine


class Attachment(NamedTuple):
    """Content to attach that is not a file yet."""

    name: str
    content: bytes


def address(text: str) -> Address:
    """Take ``Name <user@host>`` or ``user@host`` apart; anything else is refused."""
    found = _ADDRESS.fullmatch(_one_line("an address", text))
    name = (found["name"] or "").strip() if found else ""
    if found is None or _ENCODED in name:
        msg = f"an address is like 'user@host' or 'Name <user@host>': got {text!r}; correct it"
        raise MailError(msg)
    spec = found["bare"] or found["spec"]
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = _ESCAPED.sub(r"\1", name[1:-1])
    return Address(name, *spec.split("@"))


def compose(
    sender: Address,
    recipients: Sequence[Address],
    subject: str,
    text: str,
    html: str | None,
    attachments: Sequence[Path | Attachment],
    limit: int,
) -> bytes:
    """The whole mail, as it is sent."""
    _check_sizes(attachments, limit)
    message = EmailMessage(SMTP)
    for part in (text, html or ""):
        _check_text("a mail's text", part)
    message["From"] = sender
    message["To"] = recipients
    message["Subject"] = _one_line("a subject", subject)
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    for each in attachments:
        _attach(message, each)
    data = bytes(message)
    if len(data) > limit:
        raise _too_large(len(data), limit)
    return data


def _attach(message: EmailMessage, attachment: Path | Attachment) -> None:
    """Add a file; its name is not trusted to be one line."""
    if isinstance(attachment, Path):
        try:
            attachment = Attachment(attachment.name, attachment.read_bytes())
        except OSError as error:
            msg = f"an attachment is a file that can be read: {attachment} is not; correct it"
            raise MailError(msg) from error
    name = _one_line("an attachment's name", attachment.name)
    kind, subtype = _type(name).split("/")
    params = {"charset": "utf-8"} if kind == "text" else {}  # that of nearly all text by now
    message.add_attachment(attachment.content, kind, subtype, filename=name, params=params)


def _type(name: str) -> str:
    guessed, encoding = _types.guess_type(name)
    if encoding is not None:
        return _COMPRESSED.get(encoding, _OPAQUE)
    if guessed is None or guessed.startswith(("message/", "multipart/")):  # may not be base64
        return _OPAQUE
    return guessed


def _check_sizes(attachments: Sequence[Path | Attachment], limit: int) -> None:
    """Refuse before anything is read what cannot fit."""
    size = 0
    for each in attachments:
        if isinstance(each, Attachment):
            size += len(each.content)
        elif each.is_file():
            size += each.stat().st_size
    if encoded(size) > limit:
        raise _too_large(encoded(size), limit)


def encoded(size: int) -> int:
    """Bytes of base64, in lines of 76, for so many of content."""
    characters = -(-size // 3) * 4
    return characters + -(-characters // 76) * 2


def _too_large(size: int, limit: int) -> MailError:
    return MailError(
        f"an encoded mail has up to {limit} bytes: this one has {size}; attach less, compress it, "
        "or store it and send its address"
    )


def _one_line(what: str, text: str) -> str:
    """Line breaks in a header would begin another header."""
    if any(ord(char) < 32 or ord(char) == 127 or char in "\x85\u2028\u2029" for char in text):
        msg = f"{what} is one line of text: got {text!r}; leave the control characters out"
        raise MailError(msg)
    _check_text(what, text)
    return text


def _check_text(what: str, text: str) -> None:
    """Refuse what no mail can carry: names of files that are not UTF-8, and quotes of such."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        came = ascii(text[error.start : error.start + 1])
        msg = f"{what} is Unicode: got {came} at position {error.start}; leave that out"
        raise MailError(msg) from error
