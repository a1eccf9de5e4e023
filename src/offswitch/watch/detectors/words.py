"""What a tool call's arguments point at: paths and hosts, as far as text tells.

Words end at white space, quotes and the signs that a shell knows. A word with a slash is a path,
one with `://` or `@`, and one that is an address, names a host. What a shell would only make up
(`$(…)`, `${…}`, back quotes) is named as such: it cannot be told where it leads.

Not seen: what is encoded, assembled from parts, or stands in a file that is then run.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

__all__ = ["hosts", "inside_any", "paths", "unclear", "words"]

_MOST = 400
_ENDS = re.compile(r"""[\s"'=;|<>(),\[\]{}&]+""")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?")
_HOST_NAMES = frozenset({"host", "hostname", "server", "domain", "address", "endpoint"})


def words(text: str) -> Iterator[str]:
    """Take a text apart, so many words at most."""
    return (word for word in islice(_ENDS.split(text), _MOST) if word)


def unclear(args: Mapping[str, str]) -> str:
    """Give the first argument that only a shell could spell out, or nothing."""
    for text in args.values():
        if "$(" in text or "${" in text or "`" in text or "$IFS" in text:
            return text
    return ""


def paths(args: Mapping[str, str]) -> Iterator[str]:
    """Give each path, made plain: `..` taken out, a relative one without its dot."""
    for text in args.values():
        for word in words(text):
            scheme, sign, rest = word.partition("://")
            if sign:
                if scheme.lower() != "file":
                    continue
                word = "/" + rest.lstrip("/")  # noqa: PLW2901 - what it points at
            if "/" in word or word in {"~", ".."}:
                yield posixpath.normpath(word.replace("\\", ""))


def hosts(args: Mapping[str, str]) -> Iterator[str]:
    """Give each host, in small letters, without its port."""
    for name, text in args.items():
        if name.rpartition(".")[2].lower() in _HOST_NAMES:
            yield _bare(text)
        for word in words(text):
            _scheme, sign, rest = word.partition("://")
            if sign:
                yield _bare(rest)
            elif "@" in word.strip("@"):
                yield _bare(word.rpartition("@")[2])
            elif _ADDRESS.fullmatch(word):
                yield _bare(word)


def _bare(text: str) -> str:
    host = re.split(r"[/?#]", text, maxsplit=1)[0].rpartition("@")[2].lower().strip()
    return host.partition(":")[0].rstrip(".") if host.count(":") <= 1 else host


def inside_any(path: str, folders: Iterable[str]) -> bool:
    """Tell whether a path lies at or below one of `folders`; a relative one that climbs does not.

    A relative path that stays below the working directory is inside.
    """
    if not path.startswith(("/", "~")):
        return path != ".." and not path.startswith("../")
    return any(path == one or path.startswith(one.rstrip("/") + "/") for one in folders)
