"""The words of a fast verb: its options and its scopes. No framework, no `re`.

Scopes are read here as `model.scope` reads them (a test compares the two), since the same
text becomes the name of a file in the spool and picks the cells that we may kill ourselves.
"""

from __future__ import annotations

from offswitch.errors import Usage
from offswitch.printable import printable

__all__ = ["covers", "nearest_word", "read_scope", "read_words"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NAME = frozenset(_LETTERS + _LETTERS.upper() + "0123456789._:@-")
_KEY = frozenset(_LETTERS + "0123456789_.-")
_VALUE = _NAME | frozenset("/+")
_LONGEST = 200
_LONGEST_KEY = 63
_ALIKE = 3


def read_words(
    verb: str, words: list[str], flags: tuple[str, ...], options: tuple[str, ...]
) -> tuple[list[str], dict[str, list[str]]]:
    """Part `words` into names and options (each with its values; a flag with none).

    Raises `Usage`, naming the nearest option, for one that is not among `flags` and `options`.
    """
    names: list[str] = []
    given: dict[str, list[str]] = {}
    known = {*flags, *options, "--", "--help"}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            names += rest
            break
        if not word.startswith("-") or word == "-":
            names.append(word)
            continue
        option, equals, value = word.partition("=")
        if option in {"-h", "--help"}:
            given["--help"] = []
        elif option in flags and not equals:
            given[option] = []
        elif option in options:
            if not equals:
                if not rest or rest[0].partition("=")[0] in known:
                    raise Usage(f"{option} needs a value", f"offswitch {verb} --help")
                value = rest.pop(0)
            given.setdefault(option, []).append(value)
        else:
            near = nearest_word(option, [*flags, *options, "--help"])
            hint = f"did you mean {near}?" if near else f"offswitch {verb} --help"
            raise Usage(f"offswitch {verb} has no option {printable(word, 80)}", hint)
    return names, given


def nearest_word(word: str, known: list[str]) -> str:
    """Give the word that was probably meant, or nothing."""

    def distance(other: str) -> int:
        row = list(range(len(other) + 1))
        for i, left in enumerate(word[:40], 1):
            before, row[0] = row[0], i
            for j, right in enumerate(other, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
        return row[-1]

    for other in known:
        if len(word) > _ALIKE and other.startswith(word):
            return other
    best = min(known, key=distance)
    return best if distance(best) <= _ALIKE else ""


def read_scope(text: str) -> str:
    """Give the canonical spelling of a scope; raises `Usage` where it is none."""
    if text in {"/", "all"}:
        return "/"
    if "=" in text:
        key, _, value = text.partition("=")
        lawful = key[:1] in _LETTERS and len(key) <= _LONGEST_KEY and _KEY.issuperset(key)
        if not key or not lawful or not value or not _VALUE.issuperset(value):
            raise Usage(
                f"{printable(text, 80)} is not a label",
                "a key is lower-case letters, digits, _ . -; a value has no blanks",
            )
        if len(value) > _LONGEST:
            raise Usage("a label's value has at most 200 characters", "offswitch status")
        return text
    name = text.strip("/")
    parts = name.split("/")
    lawful = all(part not in {"", ".", ".."} and _NAME.issuperset(part) for part in parts)
    if not lawful or name.startswith("-"):
        raise Usage(
            f"{name[:80]!a} is not a target's name",
            "use segments of letters, digits and . _ - : @ joined by /, such as shop/eu/checkout",
        )
    if parts[0] == "all":
        raise Usage(f"{name[:80]!r} begins with 'all', which means everything", "rename it")
    if len(name.replace("/", "%2F")) > _LONGEST:
        raise Usage(f"{name[:80]!r}… is too long for a name", f"at most {_LONGEST} characters")
    return name


def covers(scope: str, name: str, labels: dict[str, str]) -> bool:
    """Tell whether an order of `scope` is about the target of that name and those labels."""
    if "=" in scope:
        key, _, value = scope.partition("=")
        return labels.get(key) == value
    return scope in {"/", name} or name.startswith(scope + "/")
