"""Tokens through a real warden: from the configuration to a verdict that every replica backs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from actuators.hands.authorization_server import ISSUER, AuthorizationServer, Client, Resource
from actuators.hands.stubs.litellm import MASTER, Database, Replica
from installation import Installation, until
from needs import needs, needs_root
from offswitch.cli.declare import declare as as_told
from offswitch.config.load import Loaded, installed_kinds, parse

KEY = "sk-of-the-agent"
TARGET = "shop/agent"


def declare(home: Installation, text: str) -> None:
    """Declare a target and one actuator as `up` does: from the text of a configuration."""
    actuator = f'[[actuator]]\nname = "keys"\ntarget = "{TARGET}"\n{text}'
    whole = f'[[target]]\nname = "{TARGET}"\n{actuator}'.encode()
    kinds = installed_kinds()
    config = parse(whole, "offswitch.toml", kinds)
    home.ask(as_told(Loaded(config, kinds, "/offswitch.toml", "")))


def ready(home: Installation, state: str = "ready") -> None:
    hands = lambda: home.ask({"op": "target", "name": TARGET})["hands"][0]  # noqa: E731
    until(lambda: hands()["state"] == state, f"it is {state}: {hands()}")


def layer(answer: dict[str, Any]) -> dict[str, Any]:
    [target] = answer["targets"]
    return next(each for each in target["layers"] if each["layer"] == "credentials")


def written(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def proxy() -> Iterator[list[Replica]]:
    database = Database()
    database.make(KEY)
    replicas = [Replica(database), Replica(database)]
    assert all(replica.refused(KEY) is None for replica in replicas)
    yield replicas
    for replica in replicas:
        replica.close()


@pytest.fixture
def master() -> Iterator[str]:
    """Keep the master key in the kernel's keyring."""
    needs_root()
    calls = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    name, ring = f"test-master-{os.getpid()}", ctypes.c_long(-4)
    named = f"offswitch:{name}".encode()
    secret = MASTER.encode()
    serial = libc.syscall(ctypes.c_long(calls[0]), b"user", named, secret, len(secret), ring)
    needs(serial > 0, "keyrings")
    yield f"keyring:{name}"
    libc.syscall(ctypes.c_long(calls[1]), ctypes.c_long(9), ctypes.c_long(serial), ring)


def test_VER_2_a_revoked_credential_used_on_a_second_worker_is_confirmed_when_both_refuse(
    installation: Installation, proxy: list[Replica], master: str, tmp_path: Path
) -> None:
    """The second worker takes no command, and goes by its cache until that runs out."""
    told, lagging = proxy
    token = written(tmp_path / "token", KEY)
    urls = [replica.url for replica in proxy]
    declare(
        installation,
        f'kind = "litellm"\nreplicas = {urls}\nsecret_file = "{master}"\ntoken_file = "{token}"\n',
    )
    ready(installation)
    lagging.deaf = True
    installation.press(TARGET)
    until(lambda: told.refused(KEY), "the first one refuses it")
    before = len(lagging.asked)
    until(lambda: len(lagging.asked) > before + 5, "it is tried at the second one, again and again")
    assert lagging.refused(KEY) is None
    assert installation.target(TARGET)["confirmed"] is False
    lagging.forget()
    until(lambda: installation.target(TARGET)["confirmed"], "both refuse it, so it is confirmed")


def test_RST_8_a_revoked_token_stays_refused_through_a_reset_and_a_restart(
    installation: Installation, tmp_path: Path
) -> None:
    """Our client signs, in a process that has given its rights away."""
    server, key = AuthorizationServer(), ECKey.generate_key("P-256")
    server.clients["agent"] = Client("agent", public_key=key)
    server.clients["looker"] = Client("looker", "l")
    resource, token = Resource(server), server.grant("agent")
    files = {
        "secret_file": key.as_pem(private=True).decode(),
        "look_secret_file": "l",
        "token_file": token.access_token,
        "refresh_token_file": token.refresh_token,
    }
    text = "".join(f'{key} = "{written(tmp_path / key, what)}"\n' for key, what in files.items())
    declare(
        installation,
        f'kind = "oauth"\nclient_id = "agent"\nlook_client_id = "looker"\n{text}'
        f'method = "private_key_jwt"\naudience = "{ISSUER}"\n'
        f'revocation_url = "{server.url}/revoke"\nintrospection_url = "{server.url}/introspect"\n'
        f'resources = ["{resource.url}/me"]\n',
    )
    ready(installation)
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is True
    assert layer(answer)["effect_ns"] is not None
    assert installation.reset(TARGET)["state"] == "done"
    until(lambda: released(installation), "it is told of the reset, and what to make anew")
    assert not resource.takes(token.access_token)
    installation.kill_everything()
    installation.restart()
    ready(installation, "unproven")
    assert not resource.takes(token.access_token)
    hidden = (token.access_token, token.refresh_token)
    assert not any(secret in str(installation.entries()) for secret in hidden), "SR-4"
    resource.close()
    server.close()


def released(home: Installation) -> bool:
    told = [each for each in home.entries() if each.get("what") == "released"]
    return bool(told) and "by a new grant" in told[-1]["reissue"][0]
