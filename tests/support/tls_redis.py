"""A Redis with TLS on a port of loopback, with a certificate of an authority made for it. The
server in our wheel is built without TLS, so a server of the system is needed.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.sentinel_set import free_ports

PASSWORD = "owner-password"
CONFIGURATION = """\
port 0
tls-port {port}
bind 127.0.0.1
dir {directory}
save ""
appendonly no
tls-cert-file {directory}/server.pem
tls-key-file {directory}/server.key
tls-ca-cert-file {directory}/ca.pem
tls-auth-clients no
aclfile {directory}/users.acl
logfile {directory}/redis.log
"""
START_SECONDS = 20.0


def authority(
    directory: Path, name: str = "ca"
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make an authority, and write its certificate to `NAME.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test authority {name}")])
    certificate = _signed(subject, subject, key, key, [], is_authority=True)
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _signed(subject, issuer, key, issuer_key, hosts, *, is_authority):
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        made = made.add_extension(names, critical=False)
    return made.sign(issuer_key, hashes.SHA256())


class TlsRedis:
    """The server, its certificate for `localhost` alone, and its users in an ACL file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca_file = directory / "ca.pem"
        [self.port] = free_ports(1)
        self.address = f"rediss://localhost:{self.port}"
        self.url = f"rediss://:{PASSWORD}@localhost:{self.port}/0?ssl_ca_certs={self.ca_file}"
        ca, ca_key = authority(directory)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
        certificate = _signed(subject, ca.subject, key, ca_key, ["localhost"], is_authority=False)
        (directory / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (directory / "users.acl").write_text(f"user default on >{PASSWORD} ~* &* +@all\n")
        text = CONFIGURATION.format(port=self.port, directory=directory)
        (directory / "redis.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait for it. Skips the test where no server has TLS."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("no redis-server or valkey-server with TLS is installed")
        self._process = subprocess.Popen(
            [program, self._directory / "redis.conf"], stdout=-3, stderr=-3
        )
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    if self._process.poll() is not None:
                        pytest.skip(f"{program} is built without TLS")
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
                else:
                    return

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None
