"""A page over TLS, by a name, and from where nobody answers; no look ever waits."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from offswitch.clock import SystemClock
from offswitch.errors import BadConfig
from offswitch.watch.sensors.contract import SensorContext
from offswitch.watch.sensors.prometheus import Prometheus, PrometheusSection
from watch.net.showing import Scraping, answering, scraping
from watch.net.speaking import free_port

PAGE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 1\n"


def always(sock: socket.socket) -> None:
    while True:
        sock.sendall(PAGE)
        if not sock.recv(65536):
            return


def certificate(folder: Path, name: str) -> Path:
    """Make a key and a certificate that signs itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    said = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    alternative: x509.GeneralName = x509.DNSName(name)
    if name[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    made = (
        x509.CertificateBuilder()
        .subject_name(said)
        .issuer_name(said)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Secure:
    """A server that speaks TLS with a certificate."""

    def __init__(self, pem: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _peer = self.sock.accept()
                with self.context.wrap_socket(plain, server_side=True) as sock:
                    sock.recv(65536)
                    always(sock)
            except ssl.SSLError:
                continue
            except OSError:
                return

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    one = Secure(certificate(tmp_path, "127.0.0.1"))
    yield one
    one.close()


def _over_tls(port: int, pem: Path, host: str = "127.0.0.1") -> Scraping:
    one = Scraping.__new__(Scraping)
    keys = {"name": "e", "target": "a", "kind": "prometheus", "every": "100ms", "timeout": "2s"}
    url = f"https://{host}:{port}/metrics"
    one.section = PrometheusSection.model_validate({**keys, "url": url, "ca_file": str(pem)})
    descriptor = Prometheus.prepare(one.section)
    assert descriptor is not None
    one.sensor = Prometheus(one.section, SensorContext(SystemClock(), {}, descriptor=descriptor))
    os.close(descriptor)
    return one


def test_a_page_over_tls_is_read_on_one_connection(secure: Secure, tmp_path: Path) -> None:
    one = _over_tls(secure.port, tmp_path / "127.0.0.1.pem")
    try:
        for _ in range(3):
            assert one.values()["a"] == 1
    finally:
        one.sensor.close()


def test_a_certificate_that_nobody_vouches_for_is_a_failed_source(
    secure: Secure, tmp_path: Path
) -> None:
    with scraping(f"https://127.0.0.1:{secure.port}/", timeout="2s") as stranger:
        assert "not trusted" in stranger.next().problem
    other = _over_tls(secure.port, certificate(tmp_path, "example.com"))
    wrong_name = _over_tls(secure.port, tmp_path / "127.0.0.1.pem", "localhost")
    for one in (other, wrong_name):
        assert "not trusted" in one.next().problem
        one.sensor.close()


def test_a_name_is_looked_up_without_waiting_for_it() -> None:
    with answering(always) as server:
        with scraping(f"http://localhost:{server.port}/", timeout="2s") as one:
            assert one.values()["a"] == 1
        with scraping("http://no-such-host.invalid/", timeout="2s") as nowhere:
            problem = nowhere.next().problem
            assert "name is not known" in problem or "in time" in problem


def test_where_nobody_answers_the_source_has_failed() -> None:
    with scraping(f"http://127.0.0.1:{free_port()}/") as one:
        assert "refused" in one.next().problem
    with scraping("http://192.0.2.1/", timeout="150ms") as lost:  # a documentation address
        assert lost.next().problem


def test_an_authority_that_cannot_be_read_is_told_at_start(tmp_path: Path) -> None:
    keys = {"name": "e", "target": "a", "kind": "prometheus", "url": "https://127.0.0.1:1/"}
    assert Prometheus.prepare(PrometheusSection.model_validate(keys)) is None
    for path in (tmp_path / "none", tmp_path):
        section = PrometheusSection.model_validate({**keys, "ca_file": str(path)})
        with pytest.raises(BadConfig):
            Prometheus.prepare(section)
