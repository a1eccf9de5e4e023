"""Where a program keeps what it needs: its interpreter's prefix, and those along PATH.

A program is found along PATH, may be a chain of links, may be a script whose first line
names another program; each of these lies in some folder, and what it needs lies beside
it: `PREFIX/bin/python3` needs PREFIX, and so does a shim of `PREFIX/shims`. A folder that
is none of an installation's (`/root/run.sh`) stands for nothing but the file itself.

Nothing here decides what a target may see; it says what there is.
"""

from __future__ import annotations

import os

__all__ = ["hops", "prefix_of", "prefixes"]

_PROGRAM_FOLDERS = frozenset({"bin", "sbin", "shims", "libexec", "Scripts"})
_MAX_HOPS = 40


def _shebang(path: str) -> list[str]:
    """Give the words of a script's first line; none for other programs."""
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        return []
    if not first.startswith(b"#!"):
        return []
    return [os.fsdecode(word) for word in first[2:].split(None, 1)]


def hops(program: str, folders: list[str]) -> list[str]:
    """List every path on the way to what will really run: links, then interpreters, in order."""
    path = _found(program, folders)
    passed: list[str] = []
    while path is not None and path not in passed and len(passed) < _MAX_HOPS:
        passed.append(path)
        if os.path.islink(path):
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
            continue
        words = _shebang(path)
        if not words:
            break
        path = words[0]
        if os.path.basename(path) == "env" and len(words) > 1:
            named = next((word for word in words[1].split() if not word.startswith("-")), "")
            path = _found(named, folders) if named and "=" not in named else None
    return passed


def _found(program: str, folders: list[str]) -> str | None:
    paths = [program] if "/" in program else [os.path.join(each, program) for each in folders]
    return next((os.path.abspath(path) for path in paths if os.access(path, os.X_OK)), None)


def prefix_of(path: str) -> str:
    """Give the folder that holds what a program needs; the program itself if it stands alone."""
    folder, _, name = os.path.dirname(path).rpartition("/")
    return folder if name in _PROGRAM_FOLDERS and folder else path


def prefixes(program: str, search: list[str]) -> list[str]:
    """List what a run of `program` needs to see: its own hops' prefixes first, then PATH's folders.

    A folder of PATH stands for its prefix if an interpreter lies in it, else for itself: a
    shell that was started in a cell finds what its person would find.
    """
    needed = [prefix_of(path) for path in hops(program, search)]
    for folder in search:
        if os.path.isabs(folder) and os.path.isdir(folder):
            has_interpreter = any(_is_interpreter(name) for name in _names(folder))
            needed.append(prefix_of(f"{folder}/x") if has_interpreter else folder)
    seen: list[str] = []
    for path in (os.path.normpath(each) for each in needed):
        if path not in seen:
            seen.append(path)
    return seen


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_interpreter(name: str) -> bool:
    known = ("python", "node", "ruby", "perl", "java", "julia", "Rscript", "pyenv", "rbenv")
    return name.startswith(known)
