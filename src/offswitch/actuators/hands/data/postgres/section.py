"""The keys of an `[[actuator]]` of the kind `postgres`."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import unquote

from pydantic import AfterValidator, Field, model_validator

from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection

__all__ = ["PostgresSection"]


def _no_password(dsn: str) -> str:
    if re.search(r"password\s*=|://[^/@]*:[^/@]*@", dsn, re.IGNORECASE):
        raise ValueError("no password here: write it into a file, and its path as password_file")
    return dsn


_CERTIFICATES = re.compile(r"ssl(?:rootcert|cert|key|crl)\s*=\s*'?((?:/|%2[Ff])[^\s'&]+)")
_Dsn = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_no_password)]
_Role = Annotated[str, Field(pattern=r"^[^\x00-\x1f'\"\\]{1,63}$")]
_Database = Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,63}$")]


class PostgresSection(ActuatorSection):
    """The keys of a PostgreSQL hand."""

    kind: Literal["postgres"]
    dsn: _Dsn
    """How it connects to act, as libpq spells it, without a password: `host=… dbname=… user=…`."""
    password_file: Secret | None = None
    """The file with that user's password, which only its owner may read."""
    look_dsn: _Dsn | None = None
    """How it connects to look; best as a user of its own, who needs no right at all."""
    look_password_file: Secret | None = None
    """The file with the looking user's password."""
    role: _Role | Annotated[list[_Role], Field(min_length=1, max_length=8)]
    """The role as which the target connects, or several; shared with others, it cuts these, too."""
    databases: Annotated[list[_Database], Field(max_length=16)] | None = None
    """Where rights are taken back; left out: in every database in which the role has some."""
    token_file: Secret | None = None
    """The file with the target's own password: the look tries it, and it has to be refused."""

    LAYER: ClassVar[str] = "data"
    SECRETS: ClassVar[frozenset[str]] = frozenset(
        {"password_file", "look_password_file", "token_file"}
    )

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token_file is not None and len(self.roles) > 1:
            raise ValueError("token_file is the password of one role: give each role a hand")
        return self

    def reads(self) -> tuple[str, ...]:
        """Name the certificates by which it knows the server."""
        dsns = f"{self.dsn} {self.look_dsn or ''}"
        return tuple(dict.fromkeys(unquote(path) for path in _CERTIFICATES.findall(dsns)))

    @property
    def roles(self) -> list[str]:
        """The roles that are cut."""
        return [self.role] if isinstance(self.role, str) else list(self.role)
