"""Whether our own files are those that were released (SEC-7).

Beside every package that was installed lies a RECORD: each file with its SHA-256. Here our
files are compared with it, and whatever lies among them that it does not list is named,
since Python would load that, too. So are the packages that hands load, which act for us: each has
a RECORD of its own. In a checkout there is no such list, and nothing is said.
It finds a flipped byte, a half-written upgrade, a stray edit; whoever can write these files
as root can write the RECORD as well, and is found only by what was signed: see
docs/releases.md.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator

import offswitch

__all__ = ["HAND_PACKAGES", "home", "is_checkout", "look", "looking"]

HAND_PACKAGES = (
    "annotated_types",
    "cffi",
    "cryptography",
    "nvidia_ml_py",
    "psycopg",
    "psycopg_binary",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
)
"""Packages of others that hands load; the stop path itself loads none."""
_AT_ONCE = 16
"""Files that are compared in one go: well below what anybody who waits would notice."""


def home() -> str:
    """Give the folder in which our package lies."""
    return os.path.dirname(os.path.dirname(os.path.abspath(offswitch.__file__)))


def is_checkout(library: str) -> bool:
    """Tell whether our code is a project's own tree, in which files are meant to change."""
    return os.path.isfile(os.path.join(os.path.dirname(library), "pyproject.toml"))


def _record_of(library: str, package: str = "offswitch") -> dict[str, bytes | None] | None:
    """Give the list of a package's files with their hashes; None where there is no list."""
    try:
        names = [name for name in os.listdir(library) if name.startswith(f"{package}-")]
        path = next(name for name in sorted(names) if name.endswith(".dist-info"))
        with open(f"{library}/{path}/RECORD", encoding="utf-8", errors="replace") as file:
            return dict(_parsed(line) for line in file.read().splitlines() if line)
    except (OSError, StopIteration):
        return None


def _parsed(line: str) -> tuple[str, bytes | None]:
    """Read `path,sha256=…,size`; what is no such line has no hash, and will not be found."""
    name, _, rest = line.rpartition(",")[0].rpartition(",")
    kind, _, digest = rest.partition("=")
    if kind != "sha256":
        return name, None
    try:
        return name, base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4))
    except ValueError:
        return name, b""


def looking(library: str = "") -> Iterator[list[str]]:
    """Compare our files, some at a time; each turn gives what it found wrong."""
    library = library or home()
    listed = _record_of(library)
    if listed is None:
        if not is_checkout(library):
            yield [f"{library} holds no list of what was released"]
        return
    wrong: list[str] = []
    compiled = any(name.endswith(".pyc") and held for name, held in listed.items())
    for count, name in enumerate(sorted(listed), 1):
        path, held = f"{library}/{name}", listed[name]
        if held is not None and not _same(path, held):
            wrong.append(f"{os.path.normpath(path)} is not what was released")
        if count % _AT_ONCE == 0:
            yield wrong
            wrong = []
    for path in _files(f"{library}/offswitch"):
        name = os.path.relpath(path, library)
        if name not in listed and (compiled or not name.endswith(".pyc")):
            wrong.append(f"{path} is no part of what was released")
    yield wrong
    for package in HAND_PACKAGES:
        yield from _changed(library, package)


def _changed(library: str, package: str) -> Iterator[list[str]]:
    """Compare the files of a package that hands load, some at a time; one that is not here is not.

    A script that pip wrote beside it names this very environment, so it differs everywhere.
    """
    listed = _record_of(library, package) or {}
    files = [name for name, held in sorted(listed.items()) if held and not name.startswith("..")]
    for first in range(0, len(files), _AT_ONCE):
        some = files[first : first + _AT_ONCE]
        differ = [name for name in some if not _same(f"{library}/{name}", listed[name] or b"")]
        yield [
            f"{os.path.normpath(f'{library}/{name}')} is not what {package} brought"
            for name in differ
        ]


def look(library: str = "") -> list[str]:
    """Compare all our files; give what is wrong."""
    return [wrong for some in looking(library) for wrong in some]


def _same(path: str, held: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).digest() == held
    except (OSError, ValueError):  # gone, or a name that no file has
        return False


def _files(folder: str) -> Iterator[str]:
    for inside, _folders, files in os.walk(folder):
        yield from (os.path.join(inside, name) for name in sorted(files))
