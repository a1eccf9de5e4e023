"""The program at a place where only root can write (SR-1): laid out, compiled, and listed.

    /opt/offswitch/bin/offswitch          what people type, by a link in /usr/local/bin
                  /bin/python             a link to an interpreter that is root's alone
                  /lib/python3.N/site-packages/…        ours, and the packages that we use

It is copied from the environment that this command runs in, so nothing is fetched. Each
package's own list of hashes (RECORD) is what pip wrote when it checked the package by its
pinned hash: a file that differs from it is not taken along. All is compiled here, once, and
for each package a new RECORD is written that lists the compiled files, too: what Python
would load is known byte by byte, and `warden.release` compares it at every start (SEC-7).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

import offswitch
from offswitch.errors import Corrupt, NotFound, Refused
from offswitch.warden.trust import writable_by_others

__all__ = [
    "LIBRARY",
    "PREFIX",
    "Piece",
    "fingerprint",
    "interpreter",
    "lay_out",
    "needed",
    "pieces",
]

PREFIX = "/opt/offswitch"
"""Where the program lives, from whatever it was installed."""
_NOT_TAKEN = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
"""Files beside a package that tell how it came here, and may name this machine."""
_MINOR = f"python3.{sys.version_info.minor}"
LIBRARY = f"lib/{_MINOR}/site-packages"
"""Where its packages lie, below that."""
_COMPILE = """
import py_compile, sys
root, prefix = sys.argv[1:]
for name in sys.stdin.read().split("\\n"):
    py_compile.compile(f"{root}/{name}", dfile=f"{prefix}/{name}", doraise=True,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file that belongs to the program."""

    name: str
    """Its path below site-packages."""
    source: str
    """Where it is now."""
    sha256: bytes
    """What its package says that it holds; for a checkout, what it holds now."""
    package: str
    """The folder of the package's metadata, below site-packages."""


def needed() -> list[Distribution]:
    """List Offswitch and every package that it needs to run, by name."""
    found: dict[str, Distribution] = {}
    _add("offswitch", found, must=True)
    return [found[name] for name in sorted(found)]


def _add(name: str, found: dict[str, Distribution], *, must: bool) -> None:
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return
    try:
        found[key] = package = distribution(name)
    except PackageNotFoundError:
        if not must:
            return  # a marker names it for another Python or another system
        hint = "install Offswitch with what it needs, then run it again: scripts/setup"
        raise NotFound(f"the package {name} is missing here", hint) from None
    for line in package.requires or []:
        wanted, _, marker = line.partition(";")
        if "extra ==" not in marker:
            _add(re.split(r"[^\w.-]", wanted.strip())[0], found, must=not marker)


def pieces() -> Iterator[Piece]:
    """List every file of the program; raise `Corrupt` for one that is not what it should be."""
    for package in needed():
        folder = _metadata_folder(package)
        if package.name == "offswitch" and _is_checkout(package):
            yield from _of_checkout(folder)
        for file in package.files or []:
            if not _taken(file.parts, folder):
                continue
            source = str(file.locate())
            held = hashlib.sha256(_read(source)).digest()
            if file.hash is None or held != _unpadded(file.hash.value):
                hint = "something changed it here: make the environment anew: scripts/setup"
                raise Corrupt(f"{source} is not what its package brought", hint)
            yield Piece("/".join(file.parts), source, held, folder)


def _taken(parts: tuple[str, ...], metadata: str) -> bool:
    """Tell whether a file of a package belongs to the program."""
    name = parts[-1]
    if parts[0] == ".." or name.endswith((".pyc", ".pth")):
        return False
    if parts[0] == metadata and (name in _NOT_TAKEN or name.startswith("uv_")):
        return False
    return "tests" not in parts  # most of numpy's files, and nobody imports them


def _is_checkout(package: Distribution) -> bool:
    told = package.read_text("direct_url.json")
    return bool(told and json.loads(told).get("dir_info", {}).get("editable"))


def _of_checkout(metadata: str) -> Iterator[Piece]:
    """List our own files as they lie in a checkout."""
    package = os.path.dirname(os.path.abspath(offswitch.__file__))
    for folder, folders, files in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            source = os.path.join(folder, name)
            inside = os.path.relpath(source, os.path.dirname(package))
            yield Piece(inside, source, hashlib.sha256(_read(source)).digest(), metadata)


def _metadata_folder(package: Distribution) -> str:
    tops = (file.parts[0] for file in package.files or [])
    return next(top for top in tops if top.endswith(".dist-info"))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def interpreter() -> str:
    """Find a Python for which our packages are made, root's alone to write, everybody's to run.

    What is below somebody's home is neither: our users could not run it, and its owner could
    put something else in its place.
    """
    for path in (f"/usr/bin/{_MINOR}", os.path.realpath(sys.executable)):
        library = os.path.join(os.path.dirname(os.path.dirname(path)), "lib", _MINOR)
        here = os.path.isfile(path) and os.path.isdir(library) and _for_all(path)
        if here and not writable_by_others([path, library], 0):
            return path
    hint = f"as root: apt-get install {_MINOR}; then run it again"
    raise Refused(f"no {_MINOR} here that root alone can write and everybody can run", hint)


def _for_all(path: str) -> bool:
    """Tell whether everybody may run what lies at `path`."""
    while os.stat(path).st_mode & 0o001:
        if path == "/":
            return True
        path = os.path.dirname(path)
    return False


def fingerprint(python: str) -> str:
    """Name what would be laid out: the same files for the same interpreter, the same name."""
    parts = [f"{piece.name} {piece.sha256.hex()}" for piece in pieces()]
    return hashlib.sha256("\n".join([python, *sorted(parts)]).encode()).hexdigest()


def lay_out(root: str, python: str) -> None:
    """Write the program below `root`, a folder that is not there yet, to live at `PREFIX`."""
    listed: dict[str, list[str]] = {}
    sources, names = [], []
    for piece in pieces():
        at = f"{root}/{LIBRARY}/{piece.name}"
        os.makedirs(os.path.dirname(at), mode=0o755, exist_ok=True)
        shutil.copyfile(piece.source, at)
        os.chmod(at, 0o644)
        listed.setdefault(piece.package, []).append(piece.name)
        names.append(f"{piece.name} {piece.sha256.hex()}")
        if piece.name.endswith(".py"):
            sources.append(piece.name)
    ours = next(package for package in listed if package.startswith("offswitch-"))
    for name, text, mode in _own_files(python):
        at = f"{root}/{name}"
        os.makedirs(os.path.dirname(at), mode=0o755, exist_ok=True)
        with open(at, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(at, mode)
        listed[ours].append("../../../" + name)
    os.symlink(python, f"{root}/bin/python")
    _compile(root, python, sorted(sources))
    for package, files in listed.items():
        _write_record(f"{root}/{LIBRARY}", package, files)
    parts = "\n".join([python, *sorted(names)])
    with open(f"{root}/fingerprint", "w", encoding="ascii") as file:
        file.write(hashlib.sha256(parts.encode()).hexdigest() + "\n")


def _own_files(python: str) -> list[tuple[str, str, int]]:
    """Give what no package brings: name below the prefix, text, mode."""
    start = f"#!{PREFIX}/bin/python -I\nimport sys\nfrom offswitch.__main__ import main\n"
    home = f"home = {os.path.dirname(python)}\ninclude-system-site-packages = false\n"
    return [
        ("bin/offswitch", start + "sys.exit(main())\n", 0o755),
        ("pyvenv.cfg", home, 0o644),
    ]


def _compile(root: str, python: str, sources: list[str]) -> None:
    """Compile all, in a fresh interpreter and one order: the same bytes every time."""
    argv = [python, "-I", "-S", "-c", _COMPILE, f"{root}/{LIBRARY}", f"{PREFIX}/{LIBRARY}"]
    done = subprocess.run(
        argv, input="\n".join(sources), capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
        raise Corrupt(f"{python} cannot compile the program: {why[0]}", "make it anew")


def _write_record(library: str, package: str, files: list[str]) -> None:
    lines = []
    for name in files:
        lines.append(_line(library, name))
        folder, _, base = name.rpartition("/")
        tag = f"{sys.implementation.cache_tag}.pyc"
        cached = os.path.join(folder, "__pycache__", f"{base.removesuffix('.py')}.{tag}")
        if base.endswith(".py"):
            lines.append(_line(library, cached))
    record = f"{package}/RECORD"
    with open(f"{library}/{record}", "w", encoding="utf-8") as file:
        file.write("".join(sorted(lines)) + f"{record},,\n")


def _line(library: str, name: str) -> str:
    data = _read(f"{library}/{name}")
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"
