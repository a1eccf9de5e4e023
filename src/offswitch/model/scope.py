"""A scope: what an order is about. A path that covers all below it, or a label selector.

`shop/eu` covers `shop/eu` and `shop/eu/checkout`, and not `shop/europe`; `/` covers
everything; `tenant=acme` covers every target that bears that label. A scope also covers
what is born later. Its spelling is canonical, so equal scopes are equal texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest

from offswitch.model.target import Target, check_label, check_name

__all__ = ["EVERYTHING", "Scope", "nearest", "parse_scope", "scopes_above", "scopes_over"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope in its canonical spelling; made by `parse_scope` only."""

    text: str
    """`/`, a target path without slashes at its ends, or `label=value`."""

    @property
    def is_label(self) -> bool:
        """Whether it selects by label."""
        return "=" in self.text

    def covers(self, target: Target) -> bool:
        """Tell whether an order of this scope is about `target`."""
        if self.is_label:
            key, _, value = self.text.partition("=")
            return target.labels.get(key) == value
        return self.covers_path(target.name)

    def covers_path(self, name: str) -> bool:
        """Tell whether a path scope covers the path `name`; label scopes cover no path."""
        if self.is_label:
            return False
        return self.text in {"/", name} or name.startswith(self.text + "/")

    def contains(self, other: Scope) -> bool:
        """Tell whether `other` is this scope or lies below it (what a reset of this may clear)."""
        if self == other or self.text == "/":
            return True
        return not other.is_label and other.text != "/" and self.covers_path(other.text)


EVERYTHING = Scope("/")
_MEASURED = 48
"""Names whose distance is measured, at some 0.3 ms each."""


def parse_scope(text: str) -> Scope:
    """Read a scope as people type it (`all` and `/` are everything); raises `Usage`."""
    if text in {"/", "all"}:
        return EVERYTHING
    if "=" in text:
        key, _, value = text.partition("=")
        check_label(key, value)
        return Scope(f"{key}={value}")
    return Scope(check_name(text.strip("/")))


def scopes_over(target: Target) -> Iterator[str]:
    """Spell every scope that covers `target`: to look one up among many costs no search."""
    yield from scopes_above(Scope(target.name))
    for key, value in target.labels.items():
        yield f"{key}={value}"


def scopes_above(scope: Scope) -> Iterator[str]:
    """Spell every scope that contains `scope`, itself the last."""
    yield EVERYTHING.text
    if scope.is_label:
        yield scope.text
    elif scope != EVERYTHING:
        parts = scope.text.split("/")
        for end in range(1, len(parts) + 1):
            yield "/".join(parts[:end])


def nearest(scope: Scope, targets: Iterable[Target], limit: int = 3) -> list[str]:
    """Name the targets that somebody who typed `scope` probably meant, best first."""

    def distance(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, left in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, right in enumerate(b, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
        return row[-1]

    known = list(targets)
    names = {target.name for target in known}
    for target in known:
        names.update(f"{key}={value}" for key, value in target.labels.items())
    wanted = scope.text
    letters = set(wanted)
    # Whoever asks is the warden, which has stops to obey: only the likeliest are measured.
    likely = nsmallest(_MEASURED, names, key=lambda name: (len(letters ^ set(name)), name))
    ranked = sorted(likely, key=lambda name: (distance(wanted[:64], name[:64]), name))
    return ranked[:limit]
