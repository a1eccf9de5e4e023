"""Where requests go on to, and by which credential: it lives in the gateway alone (SR-26)."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Upstream"]


@dataclass(frozen=True, slots=True)
class Upstream:
    """One server behind the gateway."""

    host: str
    """A name or an address."""
    port: int
    tls: bool = False
    prefix: bytes = b""
    """What is set before each path; no slash at its end."""
    key: bytes = field(default=b"", repr=False)
    """The credential that is sent, instead of whatever the client sent; empty: the client's."""

    @property
    def authority(self) -> bytes:
        """What the header `host` says."""
        usual = 443 if self.tls else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == usual else f"{host}:{self.port}").encode()
