"""Where the console is, for whoever starts it: what the station left in its folder.

station/address    how it is reached
station/first      name and password of the operator that the first start made, until used
"""

from __future__ import annotations

import os
from contextlib import suppress

from offswitch.control.place import Place
from offswitch.printable import printable

__all__ = ["address", "forget_address", "last_word", "where"]

_SHORT = 4096
_TAIL = 8192


def _read(place: Place, name: str) -> str:
    """Read a small file of the station's, which may be anybody's if the station is taken over."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(f"{place.home}/station/{name}", flags)
        with open(fd, "rb") as file:
            return file.read(_SHORT).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def address(place: Place) -> str:
    """Give how the console is reached; empty: it is not up yet."""
    return printable(_read(place, "address"), 200)


def forget_address(place: Place) -> None:
    """Let the address of an earlier station not be taken for the next one's."""
    with suppress(OSError):
        os.unlink(f"{place.home}/station/address")


def where(place: Place) -> str:
    """Say where the console is, and how the first person signs in; empty where there is none."""
    url = address(place)
    if not url:
        return ""
    name, _, password = printable(_read(place, "first"), 200).partition(" ")
    return f"Console: {url}" + (f"  (sign in as {name}, password {password})" if password else "")


def last_word(place: Place, name: str) -> str:
    """Give what a process of ours said last before it failed, for a line in brackets."""
    try:
        with open(f"{place.home}/warden.log", "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    begin = f"offswitch {name}: "
    said = [line.removeprefix(begin) for line in lines if line.startswith(begin)]
    return f": {printable(said[-1], 300)}" if said else ""
