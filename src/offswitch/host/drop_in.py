"""The drop-in that keeps an adopted unit from starting before us, or while it is stopped (SR-16).

    /etc/systemd/system/UNIT.d/50-offswitch.conf
        Wants= and After= offswitch.service    the warden comes first at boot
        ConditionPathExists=                    a file of the warden's, there while it may start

Which way it fails: where Offswitch is broken, removed or does not come up, there is no file
and the unit does *not* start. It is `Wants=`, not `Requires=`: a restart or an upgrade of
Offswitch ends no unit. The drop-in is written and removed by the command line, as root, and
read by systemd alone.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

from offswitch.control.place import Place
from offswitch.warden.may_start import path_of

__all__ = ["drop_in_of", "remove_drop_in", "write_drop_in"]

_FOLDER = "/etc/systemd/system"
_FILE = "50-offswitch.conf"
_RELOAD_S = 30.0


def drop_in_of(unit: str) -> str | None:
    """Give the path of a unit's drop-in; None for what can have none, as a scope or a user's."""
    if "/" in unit or not unit.endswith(".service") or not os.path.isdir(_FOLDER):
        return None
    return f"{_FOLDER}/{unit}.d/{_FILE}"


def write_drop_in(place: Place, target: str, unit: str) -> str:
    """Write it, if it is not there as it should be; say what it does. OSError if it cannot be."""
    path = drop_in_of(unit)
    if path is None:
        return ""
    text = _text(place, target)
    if _content(path) != text:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _reload()
    return f"{unit} starts only where Offswitch says that it may: {path}"


def remove_drop_in(unit: str) -> None:
    """Take it away; harmless if it is not there."""
    path = drop_in_of(unit)
    if path is None or not os.path.lexists(path):
        return
    os.unlink(path)
    with suppress(OSError):
        os.rmdir(os.path.dirname(path))
    _reload()


def _text(place: Place, target: str) -> str:
    path = path_of(place, target).replace("%", "%%")
    return f"""\
# Written by `offswitch target adopt`, taken away by `offswitch target release {target}`.
# Where Offswitch does not say that it may, this unit does not start.
[Unit]
Wants=offswitch.service
After=offswitch.service
ConditionPathExists={path}
"""


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def _reload() -> None:
    """Have systemd read it; where none runs, it reads it at the next boot."""
    if os.path.isdir("/run/systemd/system"):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["systemctl", "daemon-reload"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_RELOAD_S,
            )
