"""Canary tokens: a text that must never appear anywhere, found in whatever form it leaks.

A token is planted where nobody honest ever reads it (a row, a file, a system prompt). If it
turns up in a log, a stream or a data set, somebody read what they should not and passed it
on. Two views of the bytes are searched, each made in one pass of the interpreter's own:

    folded   lower case, without blanks, NULs, quotes, escapes and separators: finds the token
             as it is, in any case, split or spaced out, in UTF-16, concatenated in source,
             percent-encoded, in hex (`%41`, `x41`, `0x41`, `41:42`), reversed, in ROT13,
             and in base32 at each of its five alignments
    coded    case kept, `-` and `_` read as `+` and `/`, without blanks, quotes and NULs: finds
             base64, plain and for URLs, at each of its three alignments

A stream is fed in pieces cut anywhere: the end of each view is carried over. Forms within
forms (base64 of the hex) are not looked for; who encrypts a token is not found by this.

Most text holds nothing, and is told so quickly: no form is shorter than twelve bytes, so five
bytes at every eighth place of a view meet each form that it holds. Only where such five bytes
are among those of the forms is every form looked for, until they have passed by.

Pure: no I/O. Nothing here gives a token back: what is found is told by name.
"""

from __future__ import annotations

import base64
import codecs
import re
import string
from collections.abc import Iterable, Mapping

from offswitch.errors import BadConfig

__all__ = ["LONGEST_TOKEN", "MOST_TOKENS", "SHORTEST_TOKEN", "Canaries", "CanaryStream"]

MOST_TOKENS = 64
SHORTEST_TOKEN = 12
"""Bytes of a token, separators not counted: what is shorter turns up by chance."""
LONGEST_TOKEN = 256
_LEAST_DIFFERENT = 6
_GRAM, _STEP = 5, 8
"""How many bytes are sampled, and at which places; together no longer than the shortest form."""

_SPACE = b"\0" + string.whitespace.encode()
_SEPARATORS = _SPACE + b"\"'`\\%-_.,:;+|&(){}[]<>"
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_CODED = bytes.maketrans(b"-_", b"+/")
_CODED_AWAY = _SPACE + b"\"'`\\,"
_UNRESERVED = (string.ascii_letters + string.digits + "-._~").encode()
_NAMED = re.compile(r"([a-z0-9][a-z0-9_-]{0,62})[ \t]*[:=][ \t]*(.+)")


def _percent_encoded(token: bytes) -> bytes:
    """Encode as RFC 3986, section 2.1 does, what is not unreserved."""
    spelt = (chr(one) if one in _UNRESERVED else f"%{one:02X}" for one in token)
    return "".join(spelt).encode()


def _fold(data: bytes) -> bytes:
    return data.translate(_LOWER, _SEPARATORS)


def _code(data: bytes) -> bytes:
    return data.translate(_CODED, _CODED_AWAY)


def _cores(token: bytes, encode: bytes, group: int) -> Iterable[bytes]:
    """Give what every encoding of a text that holds the token must contain, by alignment.

    `encode` names the alphabet; `group` is how many bytes it takes at a time (3 or 5). What
    depends on the bytes before or after the token is cut away.
    """
    bits, make = (6, base64.b64encode) if encode == b"64" else (5, base64.b32encode)
    for before in range(group):
        coded = make(b"\0" * before + token)
        first = -(-before * 8 // bits)
        last = (before + len(token)) * 8 // bits
        yield coded[first:last]


def _forms(token: bytes) -> tuple[set[bytes], set[bytes]]:
    """Give the forms to look for in the folded view, and in the coded one."""
    folded = {
        token,
        token[::-1],
        codecs.encode(token.decode("latin-1"), "rot13").encode("latin-1"),
        _percent_encoded(token),
    }
    coded: set[bytes] = set()
    for cased in {token, token.lower(), token.upper()}:
        for before in ("", "x", "0x", "u00"):
            folded.add("".join(f"{before}{byte:02x}" for byte in cased).encode())
        folded.update(_cores(cased, b"32", 5))
        coded.update(_code(core) for core in _cores(cased, b"64", 3))
    return {_fold(form) for form in folded}, coded


def _grams(forms: Iterable[bytes]) -> frozenset[bytes]:
    """Give what of the forms is met by samples, wherever these begin."""
    return frozenset(form[at : at + _GRAM] for form in forms for at in range(_STEP))


class Canaries:
    """Tokens by name, ready to be looked for."""

    __slots__ = ("_coded", "_folded", "_grams", "_longest", "names", "plain")

    def __init__(self, tokens: Mapping[str, bytes]) -> None:
        """Take tokens by the names that findings bear; one that would turn up by chance is refused.

        No message of ours repeats a token.
        """
        if len(tokens) > MOST_TOKENS:
            raise BadConfig(
                f"{len(tokens)} canaries are too many; at most {MOST_TOKENS}",
                "keep those that matter most",
            )
        folded: dict[bytes, str] = {}
        coded: dict[bytes, str] = {}
        for name, token in tokens.items():
            core = _fold(token)
            if (
                not SHORTEST_TOKEN <= len(core) <= LONGEST_TOKEN
                or len(set(core)) < _LEAST_DIFFERENT
            ):
                raise BadConfig(
                    f"canary {name} would turn up by chance, or is too long",
                    f"take {SHORTEST_TOKEN} to {LONGEST_TOKEN} random letters and digits",
                )
            in_folded, in_coded = _forms(token)
            folded.update(dict.fromkeys(in_folded, name))
            coded.update(dict.fromkeys(in_coded, name))
        self._folded = tuple(folded.items())
        self._coded = tuple(coded.items())
        self._longest = max((len(form) for form in (*folded, *coded)), default=1)
        self._grams = (_grams(folded), _grams(coded))
        self.names = tuple(tokens)
        self.plain = tuple(enumerate(tokens.values()))
        """Each token as it is, with its place in `names`; never to be shown or kept."""

    @classmethod
    def read(cls, text: str) -> Canaries:
        """Read a file of tokens: one a line, `NAME: TOKEN` or the token alone, `#` for remarks."""
        tokens: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            bare = line.strip()
            if not bare or bare.startswith("#"):
                continue
            named = _NAMED.fullmatch(bare)
            name, token = (named[1], named[2]) if named else (f"line-{number}", bare)
            if name in tokens:
                raise BadConfig(f"two canaries are called {name}", "give each its own name")
            tokens[name] = token.encode()
        return cls(tokens)

    def within(self, data: bytes) -> list[str]:
        """Name the tokens that `data` holds in any form, each once."""
        return self.stream().feed(data)

    def stream(self) -> CanaryStream:
        """Begin to follow bytes that come in pieces."""
        return CanaryStream(self)

    def search(self, folded: bytes, coded: bytes, fresh: tuple[int, int]) -> list[str]:
        """Name what the two views hold and what ends in their fresh part, of so many bytes."""
        found: dict[str, None] = {}
        for forms, view, new in (
            (self._folded, folded, fresh[0]),
            (self._coded, coded, fresh[1]),
        ):
            old = len(view) - new
            for form, name in forms:
                # What lies wholly in the old part was told before.
                if name not in found and view.find(form, max(old - len(form) + 1, 0)) >= 0:
                    found[name] = None
        return list(found)

    def suspects(self, view: bytes, at: int, which: int) -> bool:
        """Tell whether the samples of a view from `at` on may belong to a form."""
        samples = [view[one : one + _GRAM] for one in range(at, len(view) - _GRAM + 1, _STEP)]
        return not self._grams[which].isdisjoint(samples)

    @property
    def carried(self) -> int:
        """How much of each view must be kept for what is cut across two pieces."""
        return self._longest - 1


class CanaryStream:
    """One stream of bytes that is searched piece by piece."""

    __slots__ = ("_canaries", "_hot", "_next", "_views")

    def __init__(self, canaries: Canaries) -> None:
        """Search for these; nothing was seen yet."""
        self._canaries = canaries
        self._views = [b"", b""]
        """What is carried over of the folded and the coded view."""
        self._next = [0, 0]
        """Where in each the next sample is to be taken."""
        self._hot = [0, 0]
        """How much more of each must come before what was suspected has passed by."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is searched for."""
        return self._canaries.names

    def feed(self, data: bytes) -> list[str]:
        """Take in the next piece; names each token that ends in it, once."""
        canaries, keep = self._canaries, self._canaries.carried
        both, new, hot = [], [], False
        for which, fresh in enumerate((_fold(data), _code(data))):
            view = self._views[which] + fresh
            at = self._next[which]
            if canaries.suspects(view, at, which):
                self._hot[which] = len(fresh) + keep
            hot = hot or self._hot[which] > 0
            self._hot[which] -= len(fresh)
            at += max(-(-(len(view) - _GRAM + 1 - at) // _STEP), 0) * _STEP
            self._views[which] = view[-keep:] if keep else b""
            self._next[which] = at - len(view) + len(self._views[which])
            both.append(view)
            new.append(len(fresh))
        return canaries.search(both[0], both[1], (new[0], new[1])) if hot else []
