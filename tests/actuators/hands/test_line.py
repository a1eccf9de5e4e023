"""The line by which hands speak HTTP: what it calls its peer, and what it never quotes."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actuators.hands.stubs.web import Asked, Said, Stub
from offswitch.actuators.hands.contract import Trouble
from offswitch.actuators.hands.http import Answer, Line
from offswitch.actuators.hands.unsaid import unsaid


class _Echo(Stub):
    def answer(self, asked: Asked) -> Said:
        return Said.of(200, asked.headers)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/key?key=a secret", {}),
        ("/", {"authorization": "Bearer a secret\nof two lines"}),
        ("/", {"authorization": "a secret that is no latin-1: ☃"}),
    ],
)
def test_SR_4_what_cannot_be_sent_is_not_quoted(path: str, headers: dict[str, str]) -> None:
    echo = _Echo()
    line = Line(echo.url)
    try:
        with pytest.raises(Trouble) as raised:
            line.ask("GET", path, headers=headers)
        assert "secret" not in str(raised.value)
        assert "cannot be sent" in str(raised.value)
        assert line.ask("GET", "/").ok
    finally:
        line.close()
        echo.close()


def test_a_host_is_named_without_the_port_that_goes_without_saying() -> None:
    echo = _Echo()
    line = Line(echo.url)
    try:
        assert line.ask("GET", "/").json()["host"] == echo.url.removeprefix("http://")
    finally:
        line.close()
        echo.close()
    assert Line("https://api.example.org")._named == "api.example.org"
    assert Line("https://api.example.org:443/v3")._named == "api.example.org"
    assert Line("https://[::1]:8443/")._named == "[::1]:8443"


def test_SR_4_what_others_say_is_told_without_the_secrets_in_it() -> None:
    said = unsaid(
        "no: sk-1234 and a/b+c== or a%2Fb%2Bc%3D%3D \x1b[2J", ["sk-1234", "key = a/b+c==", "ab"]
    )
    assert "sk-1234" not in said
    assert "\x1b" not in said
    assert unsaid("wJalrXUtnFEMI/K7", ["id = AKIA\nsecret = wJalrXUtnFEMI/K7\n"]) == "•••"
    assert unsaid("ab", ["ab", ""]) == "ab"
    assert len(unsaid("x" * 9999, ["secret"])) == 200


def test_SR_4_a_secret_in_which_what_is_told_breaks_off_is_not_told_in_part() -> None:
    secret = "eyJhbGciOiJFUzI1NiJ9." + "payload" * 100
    for before in (80, 150, 190):
        told = Answer(401, b"x" * (before - 1) + b" " + secret.encode(), {}).text
        assert told.endswith(secret[: 200 - before])
        assert unsaid(told, [secret]) == "x" * (before - 1) + " •••"


def test_VER_2_an_answer_that_breaks_off_is_none() -> None:
    """Half a list of keys would look like a list without the other half."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = Line(f"http://127.0.0.1:{server.getsockname()[1]}")
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n<Key>one</Key>"

        def serve() -> None:
            one, _ = server.accept()
            with one:
                one.recv(4096)
                one.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        with pytest.raises(Trouble, match="IncompleteRead"):
            line.ask("GET", "/")
        serving.join(10)
        line.close()


def test_a_server_is_believed_by_the_certificate_that_was_named_and_by_no_other(
    tmp_path: Path,
) -> None:
    certificate = _certificate(tmp_path)
    echo = _Echo()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    echo._server.socket = context.wrap_socket(echo._server.socket, server_side=True)
    url = echo.url.replace("http://127.0.0.1", "https://localhost")
    known, unknown = Line(url, ca_file=str(certificate)), Line(url)
    other = Line(echo.url.replace("http", "https"), ca_file=str(certificate))
    try:
        assert known.ask("GET", "/").json()["host"] == url.removeprefix("https://")
        assert known.transport == "tls"
        for line in (unknown, other):
            with pytest.raises(Trouble, match="certificate"):
                line.open()
    finally:
        for line in (known, unknown, other):
            line.close()
        echo.close()


def _certificate(folder: Path) -> Path:
    """Make a certificate of `localhost`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(pem))
    return path
