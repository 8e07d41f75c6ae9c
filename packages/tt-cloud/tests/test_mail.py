import gzip
import pickle
import sys
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tt_cloud import AccessDenied, MailError, MissingDependency, Throttled, Unavailable
from tt_cloud.mail import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Attachment,
    SESMailer,
    preformatted,
    send_log,
)

SENDER = "Trainer <trainer@example.org>"
ME = "me@example.org"
REGION = "eu-west-1"


class Outbox:
    """A client of SES that keeps what it is given."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answer = answer

    def send_raw_email(self, **call: Any) -> dict[str, str]:
        if self.answer is not None:
            raise self.answer
        self.sent.append(call)
        return {"MessageId": f"m{len(self.sent)}"}

    @property
    def mail(self) -> EmailMessage:
        (call,) = self.sent
        parsed = message_from_bytes(call["RawMessage"]["Data"], policy=default)
        assert isinstance(parsed, EmailMessage)
        assert not parsed.defects
        return parsed


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Outbox:
    pytest.importorskip("botocore", reason="needs tt-cloud[s3]")
    outbox = Outbox()
    monkeypatch.setattr("tt_cloud._boto.client", lambda *options: outbox)
    return outbox


@pytest.fixture
def mailer() -> SESMailer:
    return SESMailer(SENDER, ME, region=REGION)


@pytest.fixture
def ses(amazon: None) -> Any:
    import boto3

    client = boto3.client("ses", REGION)
    client.verify_email_identity(EmailAddress="trainer@example.org")
    return client


def body_of(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def parts(mail: EmailMessage) -> dict[str | None, Any]:
    return {part.get_filename(): part.get_payload(decode=True) for part in mail.iter_attachments()}


def test_the_service_takes_it_from_a_verified_sender(ses: Any, mailer: SESMailer) -> None:
    assert ses.get_send_quota()["SentLast24Hours"] == 0
    assert mailer.send("Done", "Accuracy: 0.93")
    assert ses.get_send_quota()["SentLast24Hours"] > 0


def test_the_service_refuses_another_sender_and_the_error_says_what_to_do(ses: Any) -> None:
    with pytest.raises(MailError, match=r"verified in SES.*sandbox") as caught:
        SESMailer("other@example.com", ME, region=REGION).send("Done", "")
    assert caught.value.code == "MessageRejected"


def test_text_html_and_files_arrive(outbox: Outbox, mailer: SESMailer, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>ü</p>", "utf-8")
    data = Attachment("raw.bin", bytes(range(256)))

    mailer.send("Über", "text ü", html="<b>ü</b>", attachments=[report, data])

    mail = outbox.mail
    assert mail["Subject"] == "Über"
    assert mail["From"].addresses == (Address("Trainer", "trainer", "example.org"),)
    assert body_of(mail, "plain") == "text ü\n"
    assert body_of(mail, "html") == "<b>ü</b>\n"
    assert parts(mail) == {"report.html": "<p>ü</p>".encode(), "raw.bin": bytes(range(256))}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image/png"),
        ("a.log.gz", "application/gzip"),
        ("a.tar.xz", "application/x-xz"),
        ("a.eml", "application/octet-stream"),  # base64 is not allowed for messages
        ("a.unknown-ending", "application/octet-stream"),
        ("a.Z", "application/octet-stream"),
    ],
)
def test_types_of_files_are_guessed(
    outbox: Outbox, mailer: SESMailer, name: str, kind: str
) -> None:
    mailer.send("s", "t", attachments=[Attachment(name, b"x")])
    (part,) = outbox.mail.iter_attachments()
    assert part.get_content_type() == kind


def test_all_recipients_get_it(outbox: Outbox) -> None:
    SESMailer(SENDER, [ME, "Jörg, B. <j@example.org>"]).send("s", "t")
    (call,) = outbox.sent
    assert call["Destinations"] == [ME, "j@example.org"]
    assert [each.display_name for each in outbox.mail["To"].addresses] == ["", "Jörg, B."]


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=30))
def test_any_name_of_one_line_stays_one_name(name: str) -> None:
    assume(not any(char in name for char in "<>@\u2028\u2029") and "=?" not in name)
    from tt_cloud._mail.message import address, compose

    sender = address(f"{name} <a@example.org>")
    data = compose(sender, [sender], "s", "t", None, (), DEFAULT_LIMIT)
    (found,) = message_from_bytes(data, policy=default)["From"].addresses
    assert found.addr_spec == "a@example.org"
    assert len(message_from_bytes(data, policy=default).items()) == 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "@x",
        "a@",
        "a@b, c@d",
        "a b@c",
        "a@b.c junk",
        "N <a@b> <c@d>",
        "G: a@b;",
        "ü@b.c",
        "a@b.c\nBcc: x@y.z",
        "N\r\nBcc: x@y.z <a@b.c>",
        "=?utf-8?q?a=0ABcc:?= <a@b.c>",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(MailError, match="address"):
        SESMailer(text, ME)
    with pytest.raises(MailError, match="address"):
        SESMailer(SENDER, [ME, text])


@pytest.mark.parametrize("line", ["a\nBcc: x@y.z", "a\rb", "a\0", "a\u2028b", "a\x85b"])
def test_headers_are_one_line(outbox: Outbox, mailer: SESMailer, line: str) -> None:
    with pytest.raises(MailError, match="one line"):
        mailer.send(line, "t")
    with pytest.raises(MailError, match="one line"):
        mailer.send("s", "t", attachments=[Attachment(line, b"")])
    assert not outbox.sent


def test_a_quoted_name_is_understood(outbox: Outbox) -> None:
    SESMailer(r'"J. \"The\" Trainer" <a@example.org>', ME).send("s", "t")
    (sender,) = outbox.mail["From"].addresses
    assert sender.display_name == 'J. "The" Trainer'


def test_a_missing_extra_is_named(mailer: SESMailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependency, match=r"tt-cloud\[s3\]"):
        mailer.send("s", "t")


def test_text_that_is_too_long_encoded_is_not_sent(outbox: Outbox) -> None:
    mailer = SESMailer(SENDER, ME, limit=2000)
    mailer.send("s", "\N{OHM SIGN}" * 400)
    with pytest.raises(MailError, match="up to 2000 bytes"):
        mailer.send("s", "\N{OHM SIGN}" * 1000)


def test_somebody_must_get_it() -> None:
    with pytest.raises(MailError, match="no recipients"):
        SESMailer(SENDER, [])


def test_a_mail_over_the_limit_is_not_sent(outbox: Outbox, mailer: SESMailer) -> None:
    size = DEFAULT_LIMIT * 57 // 78
    mailer.send("s", "t", attachments=[Attachment("a.bin", bytes(size - 1000))])
    (call,) = outbox.sent
    assert DEFAULT_LIMIT - 2000 < len(call["RawMessage"]["Data"]) <= DEFAULT_LIMIT
    with pytest.raises(MailError, match=f"up to {DEFAULT_LIMIT} bytes"):
        mailer.send("s", "t", attachments=[Attachment("a.bin", bytes(size))])
    assert len(outbox.sent) == 1


def test_a_huge_file_is_refused_before_it_is_read(
    outbox: Outbox, mailer: SESMailer, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.bin"
    with huge.open("wb") as file:
        file.truncate(1 << 40)  # of nothing: to read it would take all memory
    with pytest.raises(MailError, match="bytes"):
        mailer.send("s", "t", attachments=[huge])


def test_the_limit_can_be_raised_to_what_the_service_can_do(outbox: Outbox) -> None:
    large = Attachment("a.bin", bytes(DEFAULT_LIMIT))
    SESMailer(SENDER, ME, limit=MAX_LIMIT).send("s", "t", attachments=[large])
    with pytest.raises(MailError, match="limit"):
        SESMailer(SENDER, ME, limit=MAX_LIMIT + 1)


def test_a_missing_attachment_is_refused(outbox: Outbox, mailer: SESMailer, tmp_path: Path) -> None:
    with pytest.raises(MailError, match=r"nothing\.txt"):
        mailer.send("s", "t", attachments=[tmp_path / "nothing.txt"])
    with pytest.raises(MailError, match="can be read"):
        mailer.send("s", "t", attachments=[tmp_path])


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("MessageRejected", 400, MailError),
        ("AccountSendingPausedException", 400, MailError),
        ("Throttling", 400, Throttled),
        ("AccessDenied", 403, AccessDenied),
        ("InvalidClientTokenId", 403, AccessDenied),
        ("ExpiredToken", 403, AccessDenied),
        ("InternalFailure", 500, Unavailable),
        ("", 503, Unavailable),
    ],
)
def test_refusals_are_typed(
    outbox: Outbox, mailer: SESMailer, code: str, status: int, kind: type[Exception]
) -> None:
    from botocore.exceptions import ClientError

    answer: Any = {
        "Error": {"Code": code, "Message": "SECRET"},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r1"},
    }
    outbox.answer = ClientError(answer, "SendRawEmail")
    with pytest.raises(kind) as caught:
        mailer.send("s", "t")
    assert "SECRET" not in str(caught.value)
    assert caught.value.status == status
    assert caught.value.request_id == "r1"


def test_no_credentials_are_access_denied(
    mailer: SESMailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="needs tt-cloud[s3]")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessDenied, match="credentials"):
        mailer.send("s", "t")


def test_no_region_is_a_mail_error() -> None:
    pytest.importorskip("boto3", reason="needs tt-cloud[s3]")
    with pytest.raises(MailError, match="region"):
        SESMailer(SENDER, ME).send("s", "t")


def test_a_service_that_is_not_there_is_unavailable() -> None:
    pytest.importorskip("boto3", reason="needs tt-cloud[s3]")
    mailer = SESMailer(SENDER, ME, region=REGION, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="SES"):
        mailer.send("s", "t")


def test_a_mailer_can_be_sent_to_another_process(outbox: Outbox, mailer: SESMailer) -> None:
    mailer.send("s", "t")
    assert pickle.loads(pickle.dumps(mailer)).recipients == mailer.recipients


def test_a_log_is_sent_with_its_last_lines(
    outbox: Outbox, mailer: SESMailer, tmp_path: Path
) -> None:
    log = tmp_path / "training.log"
    log.write_text("".join(f"step <{i}>\n" for i in range(500)), "utf-8")

    send_log(mailer, log, tail=2)

    mail = outbox.mail
    assert mail["Subject"] == "training.log"
    assert body_of(mail, "plain") == "step <498>\nstep <499>\n"
    assert body_of(mail, "html") == "<pre>step &lt;498&gt;\nstep &lt;499&gt;</pre>\n"
    assert parts(mail) == {"training.log": log.read_bytes()}


def test_a_large_log_is_compressed(outbox: Outbox, mailer: SESMailer, tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    log.write_bytes(b"the same line\n" * 100_000)
    send_log(mailer, log, limit=100_000)
    ((name, content),) = parts(outbox.mail).items()
    assert name == "training.log.gz"
    assert gzip.decompress(content) == log.read_bytes()


def test_a_log_that_is_too_large_even_then_keeps_its_end(
    outbox: Outbox, mailer: SESMailer, tmp_path: Path
) -> None:
    import random

    lines = [random.Random(i).randbytes(40).hex().encode() + b"\n" for i in range(60_000)]
    log = tmp_path / "training.log"
    log.write_bytes(b"".join(lines))
    limit = 1_000_000

    send_log(mailer, log, tail=1, limit=limit)

    (call,) = outbox.sent
    assert limit // 2 < len(call["RawMessage"]["Data"]) <= limit
    ((name, content),) = parts(outbox.mail).items()
    assert name == "end-of-training.log.gz"
    kept = gzip.decompress(content).splitlines(keepends=True)
    assert kept == lines[-len(kept) :]


def test_a_log_of_awkward_characters_stays_below_the_limit(
    outbox: Outbox, mailer: SESMailer, tmp_path: Path
) -> None:
    log = tmp_path / "training.log"
    log.write_text('"\N{OHM SIGN}\0\n' * 50_000, "utf-8")
    send_log(mailer, log, tail=50_000, limit=5_000_000)
    assert len(outbox.sent[0]["RawMessage"]["Data"]) <= 5_000_000


def test_a_log_needs_room_and_a_file(mailer: SESMailer, tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    log.write_bytes(b"x" * 100_000)
    with pytest.raises(MailError, match="room"):
        send_log(mailer, log, limit=100)
    with pytest.raises(MailError, match="log"):
        send_log(mailer, tmp_path / "none.log")


def test_plain_text_is_escaped() -> None:
    assert preformatted("<script>&") == "<pre>&lt;script&gt;&amp;</pre>"


def test_the_envelope_has_the_plain_address(outbox: Outbox) -> None:
    SESMailer("Jürgen Müller <trainer@example.org>", ME, region=REGION).send("Done", "")
    assert outbox.sent[0]["Source"] == "trainer@example.org"  # SES takes ASCII only
    assert outbox.mail["From"] == "Jürgen Müller <trainer@example.org>"


@pytest.mark.parametrize(
    "parts",
    [
        ("a\udcff", "", None, "a"),
        ("", "a\udcff", None, "a"),
        ("", "", "\udcff", "a"),
        ("", "", None, "a\udcff"),
    ],
)
def test_what_is_not_unicode_is_a_mail_error(
    outbox: Outbox, parts: tuple[str, str, str | None, str]
) -> None:
    subject, text, page, name = parts
    mailer = SESMailer(SENDER, ME, region=REGION)
    with pytest.raises(MailError, match="is Unicode"):
        mailer.send(subject, text, html=page, attachments=[Attachment(name, b"")])
    assert not outbox.sent
