"""The table `[station]`: where the console listens, and how people reach it.

Beyond loopback only with TLS, its own or a proxy's: a password that crosses a network in
the clear is nobody's.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from offswitch.config.section import Duration, Section, Text

__all__ = ["Sso", "Station"]

_MOST_PORT = 65535


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError('an address and a port, such as "127.0.0.1:7474"') from None
    if not colon or not port.isdigit() or not 0 <= int(port) <= _MOST_PORT:
        raise ValueError('an address and a port, such as "127.0.0.1:7474"')
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError('such as "https://offswitch.example.org", without a path')
    return value.rstrip("/")


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    local = parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if (parts.scheme != "https" and not local) or not parts.hostname or parts.query:
        raise ValueError(
            'such as "https://login.example.org/realms/ops"; http on this machine only'
        )
    return value


class Sso(Section):
    """The table `[station.sso]`: somebody else signs people in, by OpenID Connect."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    """The provider, exactly as it names itself."""
    client_id: Text
    """What it calls this station."""
    secret_file: Text
    """File that holds the client's secret, for its owner's eyes only."""
    name: Text = "preferred_username"
    """The claim that is a person's name here."""
    groups: Text = "groups"
    """The claim that lists a person's groups."""
    roles: dict[str, Literal["operator", "auditor", "admin"]] = Field(min_length=1)
    """Which group has which role; nobody is safety by it, who confirms resets the warden knows."""


class Station(Section):
    """The console and the API."""

    listen: Annotated[str, AfterValidator(_address)] = "127.0.0.1:7474"
    """Address and port; port 0 takes a free one."""
    url: Annotated[str, AfterValidator(_url)] | None = None
    """How people reach it; what it listens on unless given. Passkeys are bound to its host."""
    tls_cert: Text | None = None
    """File of the certificate's chain, PEM."""
    tls_key: Text | None = None
    """File of its key, PEM, for its owner's eyes only."""
    behind_proxy: bool = False
    """Whether a proxy in front of it speaks TLS with people."""
    session: Duration = 12 * 3_600_000_000
    """How long a sign-in lasts, at the most."""
    sso: Sso | None = None
    """Who else signs people in; passwords, passkeys and phones work without."""
    idle: Duration = 3_600_000_000
    """How long it lasts when nothing is done; looking at a live page counts as doing."""

    @property
    def host(self) -> str:
        """The address without its port."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.listen.rpartition(":")[2])

    @property
    def secure(self) -> bool:
        """Whether people reach it by TLS."""
        return self.tls_cert is not None or self.behind_proxy

    @model_validator(mode="after")
    def _reached_safely(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key come together")
        if not ipaddress.ip_address(self.host).is_loopback and not self.secure:
            raise ValueError(
                "beyond this machine only with TLS: tls_cert and tls_key, or behind_proxy = true"
            )
        return self
