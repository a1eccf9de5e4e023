"""The configuration that puts finds under the switch, as text to be read before it is used.

Whatever comes from a process is a comment or a quoted text, with everything spelt out that could
end either; what cannot be adopted stands there as a comment with the command that would start it
under the switch.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
from collections.abc import Sequence

from offswitch.errors import Refused
from offswitch.host.discover.found import Find
from offswitch.printable import printable

__all__ = ["command_of", "configuration", "user_name", "write"]

_SHOWN = 160
_HEAD = """\
# Found by `offswitch discover`. Read it, rename and delete what you like, put it into
# offswitch.toml, then: offswitch config check, offswitch up.
"""
_ODD = re.compile(r"[^a-z0-9_-]+")


def command_of(one: Find) -> str:
    """Give its command line for people."""
    words = [word for word in one.lead.argv if word] or [one.lead.comm]
    return printable(" ".join(shlex.quote(word) for word in words), _SHOWN)


def user_name(uid: int) -> str:
    """Give a user's name, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)


def configuration(found: Sequence[Find]) -> str:
    """Write the tables of all finds."""
    parts = [_HEAD]
    taken: set[str] = set()
    for one in found:
        pids = ", ".join(str(member.pid) for member in one.members[:10])
        user = printable(user_name(one.lead.uid))
        head = [
            f"# {one.sign.name}, {one.sign.kind}, of {user}, pid {pids}",
            f"#   {command_of(one)}",
        ]
        if one.named is None:
            again = f"offswitch run --target {one.name} -- {command_of(one)}"
            head += [f"# It cannot be controlled as it runs: {printable(one.why)}.", f"#   {again}"]
            parts.append("\n".join(head) + "\n")
            continue
        rows = [
            "[[target]]",
            f"name = {_text(one.name)}",
            f"kind = {_text(one.sign.kind)}",
            f"{one.named.kind} = {_text(one.named.value)}",
        ]
        for answer in one.answers:
            if answer.metrics:
                rows += [
                    "",
                    "[[sensor]]",
                    f"name = {_text(_sensor_name(one, taken))}",
                    f"target = {_text(one.name)}",
                    'kind = "prometheus"',
                    f"url = {_text(answer.url + '/metrics')}",
                ]
        parts.append("\n".join([*head, *rows]) + "\n")
    return "\n".join(parts)


def _sensor_name(one: Find, taken: set[str]) -> str:
    base = _ODD.sub("-", one.name.rpartition("/")[2])[:40].strip("-") + "-metrics"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def _text(value: str) -> str:
    return json.dumps(printable(value), ensure_ascii=False)


def write(path: str, text: str) -> None:
    """Write a new file; what is there already is never overwritten."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        hint = "name a file that does not exist, and merge by hand"
        raise Refused(f"{path} is there already, and is not overwritten", hint) from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name another file") from None
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
