"""No target is heard here: whoever is at the other end of a connection on this machine (SR-6).

The kernel knows whose the socket is that speaks with ours. One of a user who is allotted
to targets is hung up on before a byte of it is read. A target that runs as a person's user is no
other than that person's programs here; what it may do is what its secrets let it do.
"""

from __future__ import annotations

from contextlib import suppress

from offswitch.actuators.sock_diag import Diag
from offswitch.warden.cells.users import is_allotted

__all__ = ["Inmates"]

_HERE = ("127.", "::1", "::ffff:127.")


class Inmates:
    """Asks the kernel."""

    def __init__(self) -> None:
        """Open the conversation; without it nobody can be told, and nobody is refused for it."""
        self._diag: Diag | None = None
        with suppress(OSError):
            self._diag = Diag()

    def is_one(self, there: tuple[str, int], here: tuple[str, int]) -> bool:
        """Tell whether a target's own user is at `there`, speaking with us at `here`."""
        if self._diag is None or not there[0].startswith(_HERE):
            return False
        try:
            sock = self._diag.between(there, here)
        except OSError:
            return False
        return sock is not None and is_allotted(sock.uid)
