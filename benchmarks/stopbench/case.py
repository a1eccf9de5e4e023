"""One case: a scenario as it is put to a system once, and what belongs to that alone."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from pathlib import Path

from stopbench.pen import Pen

__all__ = ["PROGRAMS", "PYTHON", "Case", "Front", "free_port"]

PYTHON = "/usr/bin/python3"
"""The system's: any user, cell and container may run it."""
PROGRAMS = Path(__file__).parent / "programs"


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Front:
    """Where a token is shown, and what stands behind it."""

    first: int
    """Port at which the target itself uses its token."""
    second: int
    """Port at which the copy of it is used."""
    behind: tuple[int, int]
    """Ports of the API's two workers."""
    accepted: str
    """The token that these workers accept."""


@dataclass(slots=True)
class Case:
    """One run of a scenario against a system."""

    key: str
    """Names it to the witness, and its target to the system."""
    scenario: str
    number: int
    """Counted through over all cases of a system."""
    folder: Path
    """Of the stand: anybody may read it; the witness's socket and the agent's program lie there."""
    witness: str
    token: str
    port: int
    """Where the target serves its stream."""
    pen: Pen
    options: list[str] = field(default_factory=list)
    """What the agent is told besides the witness and the key."""
    hung: int = 0
    """So many of five actuators hang."""
    service: bool = False
    """Whether a service of this host keeps the target running, as after a reboot."""
    remove: bool = False
    """Whether the agent does away with the stop's own files."""
    front: Front | None = None

    def agent(self, files: tuple[str, ...] = ()) -> list[str]:
        """Give the agent's command; `files` are the stop's own."""
        argv = [PYTHON, "-I", "-S", str(self.folder / "agent.py"), self.witness, self.key]
        argv += self.options
        if self.remove:
            argv += ["--remove", *files]
        return argv

    def close(self) -> None:
        """End what is left of it."""
        with contextlib.suppress(OSError):
            self.pen.close()
