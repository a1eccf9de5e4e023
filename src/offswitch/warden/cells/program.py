"""The program of a target: its environment, and its exec as a shell would do it.

The environment is the caller's, less everything of ours (`OFFSWITCH_…`: where an
installation lies is nobody's business in a cell), plus the page and the word that the
guard inside reads. The search along PATH is made with the target's own rights, after all
others are gone. 127 means not found, 126 found and not to be run, as in a shell.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn

from offswitch.errors import OffswitchError

if TYPE_CHECKING:
    from offswitch.warden.cells.birth import Spec

__all__ = ["MARKER", "BirthFailed", "environment", "execute", "keep_page", "search"]

MARKER = "OFFSWITCH_CELL"
"""The variable by which the lower rung knows a cell's processes again."""
_PAGE_FD = 230
"""Where a target finds the sealed page; scripts use lower numbers for themselves."""
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BirthFailed(OffswitchError):
    """A birth that ended before the program began; `exit_code` is what a shell would give."""

    def __init__(self, kind: str, message: str, hint: str, code: int) -> None:
        """Hold one of our kinds, the words, and 125, 126 or 127."""
        super().__init__(message, hint)
        self.kind = kind
        self.exit_code = code


def environment(spec: Spec, marker: str) -> dict[str, str]:
    """Give the environment that the target gets."""
    env = {key: value for key, value in spec.env.items() if not key.startswith("OFFSWITCH_")}
    env.setdefault("PATH", _DEFAULT_PATH)
    env["PWD"] = spec.cwd
    if spec.page:
        env["OFFSWITCH_PAGE"] = spec.page
        env["OFFSWITCH_WORD"] = str(spec.word)
    if marker:
        env[MARKER] = marker
    return env


def keep_page(fd: int) -> str:
    """Let the target inherit the sealed page at `fd`; give the path under which it lies.

    The path names this process and not *self*: a child that was started without our
    descriptors finds the page all the same, as long as the target's first process has it.
    """
    number = _PAGE_FD
    try:
        os.dup2(fd, number)
    except OSError:  # so few descriptors are allowed
        number = fd
        os.set_inheritable(number, True)
    else:
        os.close(fd)
    return f"/proc/{os.readlink('/proc/self')}/fd/{number}"


def search(program: str, env: dict[str, str]) -> list[str]:
    """List the paths under which `program` may lie, in the order in which they are tried."""
    if "/" in program:
        return [program]
    folders = env.get("PATH", _DEFAULT_PATH).split(":")
    return [os.path.join(folder or ".", program) for folder in folders]


def execute(argv: tuple[str, ...], env: dict[str, str]) -> NoReturn:
    """Exec the first of `search` that can be; raises `BirthFailed` like a shell's 126 or 127."""
    worst: OSError | None = None
    for path in search(argv[0], env):
        try:
            os.execve(path, argv, env)  # noqa: S606 - no shell is wanted
        except OSError as error:
            missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
            if worst is None or (not missing and worst.errno in {errno.ENOENT, errno.ENOTDIR}):
                worst = error
        except ValueError as error:
            raise BirthFailed("usage", f"this cannot be run: {error}", "", 125) from None
    if worst is None or worst.errno in {errno.ENOENT, errno.ENOTDIR}:
        raise BirthFailed(
            "not-found",
            f"{argv[0]}: command not found",
            "check the name, and that its folder is in PATH and open to the target's user",
            127,
        )
    raise BirthFailed(
        "refused",
        f"{argv[0]}: {worst.strerror}",
        "see that it is a program and that the target's user may run it",
        126,
    )
