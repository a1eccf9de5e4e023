"""What a request may look like, and how long it may take: a STOP always comes through."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from house import House, house
from installation import until
from offswitch.station.http.lines import Lines
from scale import LONG

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture(scope="module")
def home(town: House) -> House:
    return town


PROBLEM = "application/problem+json"
SLOW = b"POST /api/v1/stops HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SLOW_BODY = (
    b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)


def line(home: House) -> socket.socket:
    parts = urlsplit(home.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def answer(home: House, request: bytes) -> str:
    """Send raw bytes, and give all that comes back."""
    with line(home) as sock:
        sock.sendall(request)
        said = b""
        while more := sock.recv(65536):
            said += more
        return said.decode("latin-1")


def refused(home: House, why: str, again: Callable[[], object]) -> None:
    """See that it is recorded; each neighbour's refusals are, once a second."""

    def recorded() -> bool:
        again()
        entries = home.installation.entries()
        return any(one["kind"] == "refused" and why in str(one["why"]) for one in entries)

    until(recorded, f"a refusal: {why}")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../people.db",
        "/static/..%2f..%2fpeople.db",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%5c..%5cetc",
        "//etc/passwd",
        "/d/../../station/first",
        "/%00",
        "/a%0d%0aset-cookie:%20x=1",
    ],
)
def test_no_path_leads_out_of_what_we_serve(home: House, path: str) -> None:
    said = answer(
        home, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert said.split()[1] in {"400", "404", "403"}, said
    assert PROBLEM in said
    assert "root:" not in said
    assert "set-cookie: x" not in said.partition("\r\n\r\n")[0].lower()


def test_a_name_that_is_not_ours_is_answered_to_nobody_but_a_stop_is_heard(home: House) -> None:
    client, evil = home.client(), {"host": "evil.example"}
    for path in ("/sign-in", "/api/v1/status", "/healthz"):
        assert client.get(path, headers=evil).status_code == 421
    assert client.get("/sign-in", headers={"host": "localhost:7474"}).status_code == 200
    assert client.post("/stop", data={"scope": "nobody"}, headers=evil).status_code == 303
    assert client.get("/d/nobodys-key", headers=evil).status_code == 403, "and a phone is heard"
    refused(home, "another name", lambda: client.get("/sign-in", headers=evil))


def test_methods_that_are_not_used_are_refused_and_those_that_are_named(home: House) -> None:
    client = home.stranger()
    for method in ("TRACE", "CONNECT", "PROPFIND", "FOO"):
        got = client.request(method, "/")
        assert got.status_code == 405, method
        assert got.headers["content-type"] == PROBLEM
    for method in ("OPTIONS", "HEAD", "PUT"):
        got = client.request(method, "/api/v1/stops")
        assert got.status_code == 405
        assert got.headers["allow"] == "POST"
        assert "access-control-allow-origin" not in got.headers


def test_what_is_too_large_is_refused_before_it_is_read(home: House) -> None:
    client = home.client()
    big = b"x" * (300 << 10)
    got = client.post("/api/v1/stops", content=big, headers={"content-type": "application/json"})
    assert got.status_code == 413

    def drops() -> object:
        yield b'{"scopes": ["'
        for _ in range(300):
            yield b"x" * 1024
        yield b'"]}'

    got = client.post(
        "/api/v1/stops", content=drops(), headers={"content-type": "application/json"}
    )
    assert got.status_code == 413
    assert got.json()["kind"] == "usage"
    assert client.get("/" + "x" * 3000).status_code == 414
    assert client.get("/", headers={"x": "y" * 40_000}).status_code == 431
    refused(home, "no path here", lambda: client.get("/%00"))

    def too_large() -> None:
        client.post("/api/v1/stops", content=big)

    refused(home, "at most 262144 bytes", too_large)


def test_no_answer_tells_a_stranger_what_is_inside(home: House) -> None:
    client = home.stranger()
    for path in ("/sign-in", "/healthz", "/api/v1/openapi.json", "/nothing", "/api/v1/status"):
        got = client.get(path)
        said = got.text + str(got.headers)
        assert "Traceback" not in said
        assert "0.1.0" not in said
        assert "uvicorn" not in said.lower()
        assert home.installation.home not in said
        assert "server" not in got.headers
        assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
        assert got.headers["x-content-type-options"] == "nosniff"
    garbled = answer(home, b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
    assert "400 Bad Request" in garbled
    assert PROBLEM in garbled


def test_slow_heads_stand_in_no_stops_way(home: House) -> None:
    client = home.client()
    slow = [line(home) for _ in range(600)]
    try:
        for one in slow:
            one.sendall(SLOW)
        with httpx2.Client(base_url=home.url, cookies=client.cookies, timeout=20) as fresh:
            for _ in range(3):
                got = fresh.post("/api/v1/stops", json={"scopes": ["slow"]})
                assert got.status_code == 202
                assert got.json()["accepted_by"] == "warden"
    finally:
        for one in slow:
            one.close()


class Silent:
    """A connection, as far as the others know it."""

    def __init__(self, neighbour: str, *, busy: bool = False) -> None:
        self.neighbour = neighbour
        self.busy = busy
        self.ended = False
        self.transport = self

    def abort(self) -> None:
        self.ended = True


def test_where_there_are_too_many_those_give_way_that_ask_for_nothing() -> None:
    told: list[str] = []
    lines = Lines(lambda neighbour, _what: told.append(neighbour), lambda _there, _here: False)
    lines.most = 4
    other, *mine = [Silent("b"), Silent("a", busy=True), Silent("a"), Silent("a")]
    for one in (other, *mine):
        lines.add(one)  # type: ignore[arg-type]
    fresh = Silent("b")
    lines.add(fresh)  # type: ignore[arg-type]
    assert [one.ended for one in (other, *mine, fresh)] == [False, False, True, False, False]
    assert told == ["a"], "it is told of"
    lines.add(last := Silent("c", busy=True))  # type: ignore[arg-type]
    assert not last.ended


@pytest.mark.long
def test_a_head_that_never_ends_is_cut_off_and_so_is_a_body(home: House) -> None:
    for begin in (SLOW, SLOW_BODY):
        with line(home) as sock:
            sock.sendall(begin)
            sock.settimeout(0.2)
            began, said = time.monotonic(), b""
            while time.monotonic() - began < 25:
                try:
                    sock.sendall(b"x")
                    said = sock.recv(4096)
                    break
                except TimeoutError:
                    continue
                except OSError:
                    break
            assert time.monotonic() - began < 22
            assert said == b"" or b"408" in said
    entries = until(home.installation.entries, "entries")
    assert any("did not come" in str(one.get("why")) for one in entries)


def test_a_forwarded_address_is_believed_behind_a_proxy_only(home: House) -> None:
    forged = {"x-forwarded-for": "203.0.113.9"}
    data = {"name": "forger", "password": "x"}
    visitor = home.stranger()
    again = partial(visitor.post, "/sign-in", data=data, headers=forged)
    refused(home, "from 127.0.0.1", again)
    assert not any("203.0.113.9" in str(one) for one in home.installation.entries())


def test_by_tls_the_cookie_is_bound_to_the_host_and_the_proxy_names_who_asks(
    tmp_path: Path,
) -> None:
    cert = _certificate(tmp_path)
    config = (
        '[station]\nlisten = "127.0.0.1:0"\n'
        f'tls_cert = "{tmp_path}/cert.pem"\ntls_key = "{tmp_path}/key.pem"\nbehind_proxy = true\n'
    )
    with house(tmp_path, config, verify=cert) as own:
        assert own.url.startswith("https://")
        client = own.client()
        given = next(cookie for cookie in client.cookies.jar)
        assert given.name == "__Host-offswitch"
        assert given.secure
        assert "max-age" in client.get("/").headers["strict-transport-security"]
        forwarded = {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}
        data = {"name": "x", "password": "x"}
        refused(
            own,
            "from 203.0.113.9",
            partial(own.stranger().post, "/sign-in", data=data, headers=forwarded),
        )
        if LONG:  # who begins TLS and stays silent is cut off
            with line(own) as sock:
                sock.settimeout(15)
                assert sock.recv(1) == b""


def _certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "offswitch test")])
    now = dt.datetime.now(dt.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    Path(folder, "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    path = Path(folder, "key.pem")
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ssl.create_default_context(cafile=str(folder / "cert.pem"))
