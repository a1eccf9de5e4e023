"""The workspace of an allotted user: its working directory, its interpreter, and closed doors.

A user id that was made a moment ago owns nothing and may enter no closed folder, yet the
person's project lies below a 0700 home, and so may its Python. In a mount namespace of the
cell's own:

    the working directory     at its own path, writable; its owner's files appear as the
                              cell's, and what the cell makes belongs to the owner on the
                              disk (an idmapped mount, mount_setattr(2), Linux 5.12)
    interpreters' prefixes    at their own paths, read-only
    closed folders above      covered by empty ones: what else lies in a 0700 home is gone
    folders of ours           covered; only the page shows through
    /dev/fuse                 closed
    code or state of ours     inside the working directory: the entry that holds it is
                              read-only, since who may rename a parent may replace it (SR-1)

It is made by the child itself, still root and already in its cell, before it becomes the
target. All copies are taken before anything is covered. HOME becomes the working directory,
since the person's own home is closed; /etc/passwd gets a line for the cell's user, without
which ssh, git and others refuse to run.

Where kernel, file system or container forbid it, nothing is run: the error names the path
and the ways on.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import offswitch
from offswitch.errors import NotFound, Refused, Unsupported
from offswitch.warden.cells import mounts, seccomp
from offswitch.warden.cells.toolchain import prefixes

if TYPE_CHECKING:
    from offswitch.warden.cells.birth import Spec

__all__ = ["closed_above", "enter", "remarks"]

_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr/bin")
_NOT_SYSTEM = ("/dev/shm", "/run/user")  # noqa: S108 - a person may well work there
_SYSTEM_ITSELF = frozenset({"/", "/home", "/media", "/mnt", "/opt", "/srv", "/usr", "/var"})
_FOLDERS = (
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
)
_FUSE = "/dev/fuse"
"""Closed: who serves files to himself cannot be killed (seen), and can give them any mode."""
_ALL_IDS = 1 << 31
_WAYS = "use --user NAME, or --user root (it can escape its cell), or run from another folder"


@dataclass(frozen=True, slots=True)
class _Tree:
    """One thing that must show through a cover."""

    path: str
    fd: int


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_system(path: str) -> bool:
    if any(_inside(path, each) for each in _NOT_SYSTEM):
        return False
    return path in _SYSTEM_ITSELF or any(_inside(path, each) for each in _SYSTEM)


def remarks(cwd: str, home: str) -> list[str]:
    """Give what a person should know about lending this working directory, in sentences."""
    real = os.path.realpath(cwd)
    if _is_system(real):
        return [f"{real} is a folder of the system: the target sees it, and may not write there"]
    if real == os.path.realpath(home or "/"):
        return [f"{real} is your home: the target may read and change all of it"]
    return []


def closed_above(path: str) -> str | None:
    """Give the topmost folder on the way to `path`, or itself, that a stranger cannot enter."""
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        folder = "/" + "/".join(parts[:depth])
        try:
            info = os.stat(folder)
        except OSError:
            return None
        if stat.S_ISDIR(info.st_mode) and not info.st_mode & stat.S_IXOTH:
            return folder
    return None


def _needed(spec: Spec, env: dict[str, str], cwd: str) -> list[str]:
    """List the prefixes behind closed doors; of a home only its programs, not all of it."""
    homes = {os.path.realpath(env.get("HOME", "/")), "/root", "/"}
    found: set[str] = set()
    for path in prefixes(spec.argv[0], env.get("PATH", "").split(":")):
        for each in (path, os.path.realpath(path)):
            is_home = each in homes or os.path.dirname(each) == "/home" or _inside(cwd, each)
            shown = f"{each}/bin" if is_home else each
            if os.path.exists(shown) and closed_above(shown) and not _inside(shown, cwd):
                found.add(shown)
    ours = os.path.dirname(os.path.abspath(offswitch.__file__))
    if closed_above(ours) and not _inside(ours, cwd):
        found.add(ours)  # a program that plays along imports the guard, wherever we lie
    return [each for each in found if not any(_inside(each, o) for o in found - {each})]


def _lend(cwd: str, uid: int, gid: int) -> int:
    """Copy the working directory as a tree in which its owner's files are the cell's."""
    info = os.stat(cwd)
    tree = mounts.take(cwd)
    try:
        namespace = mounts.user_namespace(_swap(info.st_uid, uid), _swap(info.st_gid, gid))
        try:
            mounts.lend(tree, namespace)
        finally:
            os.close(namespace)
        mounts.harden(tree, read_only=False)
    except OSError:
        os.close(tree)
        raise
    return tree


def _swap(owner: int, cell: int) -> mounts.Mapping:
    """Show `owner` as `cell` and everybody else as themselves."""
    rest = [(0, owner), (owner + 1, cell), (cell + 1, _ALL_IDS)]
    same = [(first, first, end - first) for first, end in rest if end > first]
    return [(owner, cell, 1), *same]


def _is_open_to_all(cwd: str) -> bool:
    mode = os.stat(cwd).st_mode
    return closed_above(cwd) is None and bool(mode & stat.S_IWOTH)


def enter(spec: Spec, env: dict[str, str]) -> str:
    """Build the workspace around this process, make `env` fit it; return the working directory."""
    cwd = os.path.realpath(spec.cwd)
    if not os.path.isdir(cwd):
        raise NotFound(f"there is no folder {spec.cwd}", "run from a folder that is there")
    _refuse_ours(spec, cwd)
    try:
        lent = not _is_system(cwd) and not _is_open_to_all(cwd)
        mounts.own_namespace()
        _build(spec, env, cwd, lent=lent)
        if lent:
            seccomp.forbid_lasting_marks()
    except OSError as error:
        raise Unsupported(
            f"{cwd} cannot be lent to the cell's own user here: {error.strerror}", _WAYS
        ) from None
    _fit(env, spec.uid, cwd)
    return cwd


def _fit(env: dict[str, str], uid: int, cwd: str) -> None:
    """Let the environment name only what the cell's user can reach."""
    if not _inside(os.path.realpath(env.get("HOME", "/")), cwd):
        env["HOME"] = cwd
    env["PWD"] = cwd
    env["USER"] = env["LOGNAME"] = _account(uid)
    for name in _FOLDERS:
        if name in env and (not os.path.isdir(env[name]) or closed_above(env[name])):
            del env[name]


def _refuse_ours(spec: Spec, cwd: str) -> None:
    for path in spec.read_only:
        if os.path.realpath(path) == cwd:
            raise Refused(
                f"{cwd} holds Offswitch's own code: what runs there could replace it",
                "run from another folder, or install Offswitch elsewhere",
            )


def _build(spec: Spec, env: dict[str, str], cwd: str, *, lent: bool) -> None:
    trees: list[_Tree] = []
    if lent:
        trees.append(_Tree(cwd, _lend(cwd, spec.uid, spec.gid)))
    for path in _needed(spec, env, cwd):
        fd = mounts.take(path)
        mounts.harden(fd, read_only=True)
        trees.append(_Tree(path, fd))
    page = _take_page(spec)
    covers = _cover([each.path for each in trees])
    for tree in sorted(trees, key=lambda each: len(each.path)):
        _mountpoint(tree.path, folder=os.path.isdir(f"/proc/self/fd/{tree.fd}"))
        mounts.place(tree.fd, tree.path)
    if lent:
        _protect(spec, cwd)
    if os.path.exists(_FUSE):
        mounts.bind_read_only(os.devnull, _FUSE)
    covers += _hide(spec)
    if page is not None:
        _mountpoint(page.path, folder=False)
        mounts.place(page.fd, page.path)
    _announce(spec, cwd, covers)
    for folder in covers:
        mounts.seal(folder)


def _take_page(spec: Spec) -> _Tree | None:
    if not spec.page:
        return None
    fd = mounts.take(spec.page)
    mounts.harden(fd, read_only=True)
    return _Tree(spec.page, fd)


def _cover(paths: list[str]) -> list[str]:
    """Cover every topmost closed folder on the way to these."""
    closed = {above for above in map(closed_above, paths) if above is not None}
    for folder in sorted(closed, key=len):
        if folder not in paths:
            mounts.cover(folder)
    return sorted(folder for folder in closed if folder not in paths)


def _mountpoint(path: str, *, folder: bool) -> None:
    """Make the place at which something is to show through, where a cover has taken it away."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    if os.path.lexists(path):
        return
    if folder:
        os.mkdir(path, 0o755)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _protect(spec: Spec, cwd: str) -> None:
    """Make the entries of the working directory that hold something of ours read-only."""
    entries = set()
    for path in (*spec.read_only, *spec.closed):
        real = os.path.realpath(path)
        if _inside(real, cwd) and real != cwd:
            entries.add(f"{cwd}/{real[len(cwd) :].strip('/').split('/')[0]}")
    for entry in sorted(entries):
        if os.path.lexists(entry):
            mounts.bind_read_only(entry, entry)


def _hide(spec: Spec) -> list[str]:
    """Cover the folders of ours that can still be seen."""
    hidden = [os.path.realpath(folder) for folder in spec.closed]
    hidden = [folder for folder in hidden if os.path.isdir(folder) and folder != "/"]
    for folder in sorted(hidden, key=len):
        mounts.cover(folder)
    return hidden


def _account(uid: int) -> str:
    return f"cell-{uid}"


def _announce(spec: Spec, cwd: str, covers: list[str]) -> None:
    """Give the cell's user a line in /etc/passwd, as seen from inside."""
    if not covers:
        return
    for file, line in (
        ("passwd", f"{_account(spec.uid)}:x:{spec.uid}:{spec.gid}:cell:{cwd}:/bin/sh\n"),
        ("group", f"{_account(spec.gid)}:x:{spec.gid}:\n"),
    ):
        if ":" in cwd or "\n" in cwd:
            return  # such a path cannot be written there
        draft = f"{covers[-1]}/.{file}"
        try:
            with open(f"/etc/{file}", encoding="utf-8", errors="surrogateescape") as old:
                text = old.read()
            if text and not text.endswith("\n"):
                text += "\n"
            with open(draft, "w", encoding="utf-8", errors="surrogateescape") as new:
                new.write(text + line)
            os.chmod(draft, 0o644)
            mounts.bind_read_only(draft, f"/etc/{file}")
            os.unlink(draft)
        except OSError:
            return  # a convenience: without it some programs miss a name for their user
