"""Whether all that runs here is what was released: the packages that we use as well (SEC-7).

`warden.release` looks at our own files at every start, in milliseconds; this is the thorough
look of `offswitch doctor`, which reads everything (half a second). Where pip compiled, no
hash stands beside the compiled files, so they are compared with their sources. Below our
own place nothing may lie that no package lists, since Python reads whatever `.pth` it finds.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import marshal
import os
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from offswitch.host.program import LIBRARY, PREFIX, needed
from offswitch.warden.release import home, look

__all__ = ["differing", "in_place"]

PLACE = f"{PREFIX}/{LIBRARY}"

_HEADER = 16
"""Bytes before the code in a compiled file."""
_UNLISTED = frozenset({"fingerprint", "not-served-yet", "bin/python"})
"""Files of our place that are no code."""


def differing() -> list[str]:
    """Name every file of what runs here that is not what was released; empty: there is none."""
    library = home()
    if library == PLACE:
        return in_place()
    found = look(library)
    for package in needed():
        if package.name != "offswitch":
            found += _changed(package)
    found += _miscompiled(f"{library}/offswitch")
    return list(dict.fromkeys(found))


def in_place() -> list[str]:
    """Name every file of the program at its place that is not what was put there."""
    packages = list(distributions(path=[PLACE]))
    found = look(PLACE)
    for package in packages:
        found += _changed(package)
    return list(dict.fromkeys([*found, *_strangers(packages)]))


def _changed(package: Distribution) -> Iterator[str]:
    for file in package.files or []:
        if file.hash is None or (file.parts[0] == ".." and package.name != "offswitch"):
            continue  # what pip writes beside a package, a script, names this very environment
        path = str(file.locate())
        held = base64.urlsafe_b64decode(file.hash.value + "=" * (-len(file.hash.value) % 4))
        try:
            with open(path, "rb") as opened:
                same = hashlib.file_digest(opened, "sha256").digest() == held
        except FileNotFoundError:
            same = False
        if not same:
            yield f"{path} is not what {package.name} {package.version} brought"


def _miscompiled(folder: str) -> Iterator[str]:
    """Name compiled files that hold something else than their source says."""
    for inside, _folders, files in os.walk(folder):
        for name in sorted(files):
            source = os.path.join(inside, name)
            if not name.endswith(".py"):
                continue
            compiled = importlib.util.cache_from_source(source)
            if os.path.isfile(compiled) and not _says_the_same(compiled, source):
                yield f"{compiled} is not its source compiled"


def _says_the_same(compiled: str, source: str) -> bool:
    with open(compiled, "rb") as file:
        data = file.read()
    flags = int.from_bytes(data[4:8], "little")
    if data[:4] != importlib.util.MAGIC_NUMBER:
        return True  # Python does not load it
    with open(source, "rb") as file:
        text = file.read()
    if not flags and data[8:_HEADER] != _stamp(source):
        return True  # likewise: it is older than its source
    try:
        code = marshal.loads(data[_HEADER:])  # noqa: S302 - Python itself would load it
        return bool(code == compile(text, source, "exec", dont_inherit=True))
    except (ValueError, EOFError, TypeError, SyntaxError):
        return False


def _stamp(source: str) -> bytes:
    info = os.stat(source)
    return b"".join(
        (int(value) & 0xFFFFFFFF).to_bytes(4, "little") for value in (info.st_mtime, info.st_size)
    )


def _strangers(packages: list[Distribution]) -> Iterator[str]:
    """Name what lies in our place and belongs to no package."""
    listed = {
        os.path.normpath(str(file.locate())) for package in packages for file in package.files or []
    }
    for inside, _folders, files in os.walk(PREFIX):
        for name in sorted(files):
            path = os.path.join(inside, name)
            if path not in listed and os.path.relpath(path, PREFIX) not in _UNLISTED:
                yield f"{path} is no part of what was released"
