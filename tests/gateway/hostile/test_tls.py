"""TLS on both sides: who shows what to whom, and what a stop does to a sealed stream."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gate import Gate, upstream_at
from installation import until
from offswitch.errors import BadConfig
from offswitch.gateway.plan.front import Front, Limits
from offswitch.gateway.plan.route import Route
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.wire.tls import client_context, server_context
from offswitch.model.level import Level
from scripted_upstream import ScriptedUpstream, Visit

SHOP = "shop"


def certificate(folder: Path, *names: str) -> str:
    """Make a key and a certificate that signs itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    said = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    known: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        for name in names
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(said)
        .issuer_name(said)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(known), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{names[0]}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def sealed(gate_of: Callable[..., Gate], upstream: ScriptedUpstream, tmp_path: Path) -> Gate:
    """A gateway that speaks TLS to its clients."""
    pem = certificate(tmp_path, "gate.example")
    return gate_of(Route(SHOP, upstream_at(upstream.port)), certificate=pem, private_key=pem)


@pytest.fixture
def trust(sealed: Gate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=sealed.front.certificate)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[ScriptedUpstream]:
    """An upstream that speaks TLS, as 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "127.0.0.1"))
    server = ScriptedUpstream(context=context)
    yield server
    server.close()


def talk(visit: Visit) -> None:
    visit.begin()
    for number in range(5000):
        visit.event(f"token {number}")
        time.sleep(0.002)
    visit.finish()


def test_what_passes_sealed_arrives(
    sealed: Gate, trust: ssl.SSLContext, upstream: ScriptedUpstream
) -> None:
    client = sealed.client(context=trust)
    assert isinstance(client.sock, ssl.SSLSocket)
    assert client.sock.version() in {"TLSv1.2", "TLSv1.3"}
    for number in range(2):
        client.ask(body=b'{"n": %d}' % number)
        assert client.answer()[2] == b'{"ok": true}'
    big = bytes(range(256)) * 12_000
    upstream.script = lambda visit: visit.answer(big, "application/octet-stream")
    client.ask(body=b'{"n": "%b"}' % (b"x" * 1_000_000))
    assert client.answer()[2] == big
    assert len(upstream.visits[2].body) > 1_000_000


def test_SEC_4_old_versions_and_plain_bytes_are_not_served(sealed: Gate) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        sealed.client(context=old)
    plain = sealed.client()
    plain.ask()
    assert not plain.rest()[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("told", [True, False], ids=["woken", "by the chunk"])
def test_ACT_1_a_sealed_stream_is_cut_in_the_words_of_its_api(
    sealed: Gate, trust: ssl.SSLContext, upstream: ScriptedUpstream, *, told: bool
) -> None:
    upstream.script = talk
    client = sealed.client(context=trust)
    client.ask()
    client.until(b"token 3\n\n")
    if told:
        sealed.stop(SHOP)
    else:
        sealed.word(SHOP, Level.KILL)
    got, how = client.rest()
    assert got.endswith(b'data: {"error": "stopped"}\n\n\r\n0\r\n\r\n')
    assert how == "closed"
    assert upstream.visit().gone() == "reset"


def test_ACT_1_a_sealed_stream_that_is_not_read_is_aborted(
    sealed: Gate, trust: ssl.SSLContext, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        for _ in range(4000):
            visit.event("x" * 4000)

    upstream.script = script
    client = sealed.client(receive=4096, context=trust)
    client.ask()
    client.until(b"\r\n\r\n")
    time.sleep(0.3)  # until everything on the way is full
    start = time.monotonic()
    sealed.swept(sealed.stop(SHOP))
    assert upstream.visit().gone() != "alive"
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        client.until(b"never")
    assert time.monotonic() - start < 5
    assert len(client.got) < 4000 * 4000


def test_an_upstreams_certificate_is_its_hosts(
    gate_of: Callable[..., Gate], behind: ScriptedUpstream, tmp_path: Path
) -> None:
    pem = str(tmp_path / "127.0.0.1.pem")
    gate = gate_of(Route(SHOP, Upstream("127.0.0.1", behind.port, tls=True)), ca_file=pem)
    client = gate.client()
    for _ in range(2):
        client.ask()
        assert client.answer()[2] == b'{"ok": true}'
    assert behind.visits[0].sock is behind.visits[1].sock
    behind.script = talk
    client.ask()
    client.until(b"token 3\n\n")
    gate.stop(SHOP)
    assert b"stopped" in client.rest()[0]
    assert behind.visit(2).gone() == "reset"


@pytest.mark.parametrize("case", ["another name", "another authority"])
def test_SR_26_an_upstream_that_is_not_whom_it_says_gets_nothing(
    gate_of: Callable[..., Gate], behind: ScriptedUpstream, tmp_path: Path, case: str
) -> None:
    pem = str(tmp_path / "127.0.0.1.pem")
    host = "127.0.0.1"
    if case == "another name":
        host = "localhost"
    else:
        pem = certificate(tmp_path, "10.0.0.1")
    upstream = Upstream(host, behind.port, tls=True, key=b"ours")
    gate = gate_of(Route(SHOP, upstream), ca_file=pem)
    client = gate.client()
    client.ask()
    assert client.answer()[0] == 502
    assert not behind.visits


def test_files_that_are_no_certificates_are_told_apart(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate\n")
    for path in (str(junk), str(tmp_path / "none.pem")):
        with pytest.raises(BadConfig, match="models"):
            server_context(Front("models", (), (), certificate=path, private_key=path))
        with pytest.raises(BadConfig, match="models"):
            client_context(Front("models", (), (), ca_file=path))
    assert server_context(Front("models", (), ())) is None


def test_a_handshake_that_does_not_end_is_given_up(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    pem = certificate(tmp_path, "gate.example")
    route = Route(SHOP, upstream_at(upstream.port))
    gate = gate_of(route, certificate=pem, private_key=pem, limits=Limits(header_s=0.3))
    client = gate.client()
    client.send(b"\x16\x03\x01\x02\x00\x01")
    client.sock.settimeout(5)
    client.rest()


def test_a_sealed_answer_that_ends_while_its_client_is_behind_is_over_once_it_has_read(
    sealed: Gate, trust: ssl.SSLContext, upstream: ScriptedUpstream
) -> None:
    size = 0

    def script(visit: Visit) -> None:
        visit.begin("application/octet-stream")
        for _ in range(size // 4000):
            visit.chunk(b"x" * 4000)
            time.sleep(0.0005)
        visit.finish()

    upstream.script = script
    client = sealed.client(receive=4096, context=trust)
    for size in range(200_000, 400_000, 40_000):
        client.ask()
        time.sleep(0.15)  # until it is behind
        assert len(client.answer()[2]) == size
    until(lambda: sealed.table.flows() == [], "nothing is in flight")
