"""A front: where the gateway listens, what it takes, and which routes lead on from there."""

from __future__ import annotations

from dataclasses import dataclass

from offswitch.gateway.plan.route import Route

__all__ = ["Front", "Limits", "Listen"]


@dataclass(frozen=True, slots=True)
class Listen:
    """One address that is listened on."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take up."""

    head: int = 64 << 10
    """Bytes of a request's head."""
    body: int = 32 << 20
    """Bytes of a request's body that must be read whole."""
    header_s: float = 10.0
    """For a head to be complete, from its first byte."""
    body_s: float = 60.0
    """For the next bytes of a body to come."""
    idle_s: float = 300.0
    """For an answer's next bytes, and for the next request on a connection."""
    connect_s: float = 5.0
    """For a connection to the upstream."""
    connections: int = 4096
    """Of clients, for each worker."""


@dataclass(frozen=True, slots=True)
class Front:
    """One `[[gateway]]` of the configuration."""

    name: str
    listen: tuple[Listen, ...]
    routes: tuple[Route, ...]
    limits: Limits = Limits()
    workers: int = 1
    certificate: str = ""
    """Towards clients: a file with the chain; empty: no TLS."""
    private_key: str = ""
    """Its key's file."""
    ca_file: str = ""
    """Whose certificates upstreams may show; empty: the system's."""

    @property
    def targets(self) -> tuple[str, ...]:
        """All targets of its routes, steps included, in order."""
        return tuple(dict.fromkeys(name for route in self.routes for name in route.targets))
