"""The keys of an `[[actuator]]` of the kind `sqlite`."""

from __future__ import annotations

import os
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from offswitch.config.section import ActuatorSection

__all__ = ["SqliteSection"]

_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _IMMUTABLE, _LEASE = 0, 1, 2, 3, 9, 28


def _plain(path: str) -> str:
    if os.path.normpath(path) != path or path.endswith("/"):
        raise ValueError("spell the path plainly, without . and ..")
    return path


class SqliteSection(ActuatorSection):
    """The keys of a SQLite hand."""

    kind: Literal["sqlite"]
    path: Annotated[
        str, Field(pattern=r"^/[^\x00-\x1f]+$", max_length=1000), AfterValidator(_plain)
    ]
    """The database's file. What lies beside it (-wal, -shm, -journal) is cut with it."""
    folder: bool = False
    """Whether the rights to its folder are taken, too: it then serves nobody for anything else."""

    LAYER: ClassVar[str] = "data"
    KEEPS: ClassVar[frozenset[int]] = frozenset({_CHOWN, _DAC_OVERRIDE, _FOWNER, _IMMUTABLE})
    LOOK_KEEPS: ClassVar[frozenset[int]] = frozenset({_DAC_READ_SEARCH, _LEASE})

    def reads(self) -> tuple[str, ...]:
        """Name its folder."""
        return (os.path.dirname(self.path),)

    def writes(self) -> tuple[str, ...]:
        """Name its folder."""
        return (os.path.dirname(self.path),)
