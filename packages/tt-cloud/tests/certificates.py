"""A certificate for servers on loopback."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """Two files in PEM."""

    file: Path
    key: Path


def make_certificate(folder: Path) -> Certificate | None:
    """One that has just been made; ``None`` where neither cryptography nor openssl is there."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    try:
        _by_cryptography(made)
    except ImportError:
        if (openssl := shutil.which("openssl")) is None:
            return None
        _by_openssl(openssl, made)
    return made


def _by_cryptography(made: Certificate) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=2))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    made.file.write_bytes(certificate.public_bytes(pem))
    made.key.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))


def _by_openssl(openssl: str, made: Certificate) -> None:
    subject = ["-subj", "/CN=loopback", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(made.key), "-out", str(made.file), "-days", "2"]
    line = [openssl, "req", "-x509", *key, *files, *subject]
    subprocess.run(line, check=True, capture_output=True)
