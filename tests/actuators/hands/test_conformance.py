"""Every built-in hand keeps what a hand promises while nobody answers it (`check_hand`)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from pydantic import ConfigDict

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection
from offswitch.plugins import ACTUATORS, installed
from offswitch.testing import check_hand

AWS = "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = nobody-may-say-this-secret\n"
URL = "http://127.0.0.1:{port}"
KINDS: dict[str, dict[str, Any]] = {
    "aws": {
        "user": "agent",
        "endpoint": URL,
        "secret_file": "/s",
        "look_secret_file": "/l",
        "token_file": "/t",
    },
    "docker": {"container": "agent", "url": URL},
    "github": {
        "way": "app_token",
        "client_id": "Iv1",
        "api": URL,
        "secret_file": "/s",
        "token_file": "/t",
    },
    "llama_cpp": {"url": URL, "key_file": "/k"},
    "litellm": {"replicas": [URL], "secret_file": "/s", "token_file": "/t"},
    "nvml": {},
    "oauth": {
        "revocation_url": f"{URL}/revoke",
        "introspection_url": f"{URL}/introspect",
        "client_id": "offswitch",
        "secret_file": "/s",
        "token_file": "/t",
    },
    "ollama": {"url": URL, "key_file": "/k"},
    "postgres": {
        "dsn": "host=127.0.0.1 port={port} user=offswitch dbname=shop connect_timeout=2",
        "role": "agent",
        "deadline": "3s",  # it connects twice before it gives up
        "password_file": "/s",
        "token_file": "/t",
    },
    "nftables": {},
    "sglang": {"url": URL, "key_file": "/k"},
    "sqlite": {"path": "/nowhere/of-ours.db"},
    "ssf": {
        "receiver": URL,
        "issuer": "https://stop.example.org",
        "audience": "https://shop.example.org",
        "stream": "s-1",
        "key_file": "/k",
        "subject": {"format": "opaque", "id": "agent"},
        "resources": [URL],
        "token_file": "/t",
    },
    "systemd": {"units": ["no-such-unit-of-ours.service"]},
    "vault": {
        "url": URL,
        "secret_file": "/s",
        "look_secret_file": "/l",
        "prefixes": ["database/creds/agent"],
    },
    "vllm": {"url": URL, "key_file": "/k"},
    "webhook": {"url": URL, "key_file": "/k", "look_url": URL, "safe_state": "off"},
}
"""By kind the keys with which it reaches nobody."""
ALWAYS_HERE = {"nftables"}
"""Kinds whose peer is the kernel."""


def secrets_of(kind: str) -> dict[str, str]:
    """Give secrets of the shape that a kind reads."""
    if kind == "aws":
        return dict.fromkeys(("secret_file", "look_secret_file", "token_file"), AWS)
    if kind == "ssf":
        made = generate_private_key(SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {"key_file": made.decode()}
    return {}


def at(said: Any, port: int) -> Any:  # noqa: ANN401 - settings
    if isinstance(said, str):
        return said.replace("{port}", str(port))
    if isinstance(said, list):
        return [at(one, port) for one in said]
    return {key: at(one, port) for key, one in said.items()} if isinstance(said, dict) else said


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens, and which nobody else gets."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        yield sock.getsockname()[1]


def test_every_kind_is_tried_here() -> None:
    assert set(installed(ACTUATORS)) == set(KINDS), "give KINDS the keys of the new kind"


@pytest.mark.parametrize("kind", KINDS)
def test_SR_4_a_hand_whose_peer_is_gone_says_so_in_time_and_keeps_its_secrets(
    kind: str, closed: int
) -> None:
    cls = installed(ACTUATORS)[kind].cls
    said = {"kind": kind, **at(KINDS[kind], closed)}
    check_hand(cls, said, secrets_of(kind), peer_is_here=kind in ALWAYS_HERE)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_SR_4_a_hand_whose_peer_never_says_a_word_says_so_in_time(kind: str, silent: int) -> None:
    cls = installed(ACTUATORS)[kind].cls
    said = {"kind": kind, **at(KINDS[kind], silent)}
    check_hand(cls, said, secrets_of(kind), peer_is_here=kind in ALWAYS_HERE)


# --- and what breaks a promise is found -----------------------------------------------


class _Section(ActuatorSection):
    kind: Literal["odd"]
    secret_file: Secret = "/s"
    LAYER = "credentials"
    SECRETS = frozenset({"secret_file"})


class _Odd(Hand):
    """Keeps every promise; each of its heirs breaks one."""

    Settings = _Section

    def arm(self) -> Readiness:
        raise Trouble("nobody")

    def trip(self, level: str) -> Acted:
        raise Trouble("nobody")

    def look(self) -> Sight:
        return Sight(None, "nobody")

    def route(self) -> Route:
        return Route("tcp", "127.0.0.1:1", "/s", "nobody")


class _Raises(_Odd):
    def trip(self, level: str) -> Acted:
        raise ConnectionRefusedError("nobody")


class _Lies(_Odd):
    def trip(self, level: str) -> Acted:
        return Acted("done")


class _Sees(_Odd):
    def look(self) -> Sight:
        return Sight(True, "cut")


class _Boasts(_Odd):
    def arm(self) -> Readiness:
        return Readiness(Ready.READY)


class _Tells(_Odd):
    def look(self) -> Sight:
        raise Trouble(f"refused: {self.context.secrets['secret_file']}")


class _Shows(_Odd):
    def __repr__(self) -> str:
        return f"_Shows({dict(self.context.secrets)})"


class _KeepsIt(_Odd):
    def look(self) -> Sight:
        self.memory = f"refused: {self.context.secrets['secret_file']}"
        return Sight(None, "nobody")


class _Slow(_Odd):
    def trip(self, level: str) -> Acted:
        time.sleep(self.settings.deadline / 1e6 + 0.6)
        raise Trouble("nobody")


class _Mute(_Odd):
    def route(self) -> Route:
        return Route("tcp", "", "", "")


class _Leaves(_Odd):
    def open(self) -> None:
        self.left = socket.socket()


class _ClosesOnce(_Odd):
    left: list[int] | None = None

    def close(self) -> None:
        assert self.left is None
        self.left = []


class _Confuses(_Odd):
    def arm(self) -> Readiness:
        return Ready.UNPROVEN


class _OfNoLayer(_Odd):
    class Settings(_Section):
        LAYER = "magic"


class _OfAnyKind(_Odd):
    class Settings(_Section):
        kind: str


class _TakesAnything(_Odd):
    class Settings(_Section):
        model_config = ConfigDict(extra="allow")


class _ReadsWhatIsNoKey(_Odd):
    class Settings(_Section):
        SECRETS = frozenset({"password_file"})


def test_what_keeps_every_promise_passes() -> None:
    check_hand(_Odd, {"kind": "odd"})


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "odd",
    [
        _Raises,
        _Lies,
        _Sees,
        _Boasts,
        _Tells,
        _Shows,
        _KeepsIt,
        _Slow,
        _Mute,
        _Leaves,
        _ClosesOnce,
        _Confuses,
        _OfNoLayer,
        _OfAnyKind,
        _TakesAnything,
        _ReadsWhatIsNoKey,
    ],
)
def test_what_breaks_one_is_found(odd: type[Hand]) -> None:
    with pytest.raises((AssertionError, ConnectionRefusedError, AttributeError)):
        check_hand(odd, {"kind": "odd", "deadline": "1ms"})


def test_each_role_is_given_its_own_secrets_alone() -> None:
    seen: dict[Role, set[str]] = {}

    class Curious(_Odd):
        class Settings(_Section):
            look_secret_file: Secret | None = None
            SECRETS = frozenset({"secret_file", "look_secret_file"})

        def __init__(self, settings: ActuatorSection, context: Context) -> None:
            super().__init__(settings, context)
            seen[context.role] = set(context.secrets)

    check_hand(Curious, {"kind": "odd", "look_secret_file": "/l"})
    assert seen == {Role.ACT: {"secret_file"}, Role.LOOK: {"look_secret_file"}}
