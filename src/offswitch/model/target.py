"""A target: what can be stopped. Its name is a path, and it bears labels.

Names look like `shop/eu/checkout`: segments of letters, digits, `.`, `_`, `-`, `:` and
`@`, no empty ones, no slash or dash at the beginning, at most 200 characters. They are
shown on terminals, typed into commands and become file names (where a slash is written
`%2F`, so it counts as three), so nothing else is let in. The first segment is never `all`,
which as a scope means everything. Labels come from the configuration, the warden or the
gateway, never from the target itself (SR-6).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from offswitch.errors import Usage

__all__ = ["MAX_NAME", "Target", "check_label", "check_name"]

MAX_NAME = 200
"""Characters of a name, a slash counting as three."""
_SEGMENT = re.compile(r"[A-Za-z0-9._:@-]+")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9._:@/+-]{1,200}")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be stopped."""

    name: str
    """Its path, such as `shop/eu/checkout`; unique in an installation."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Such as `model`, `weights`, `tenant`, `tool`; from the configuration or the warden."""
    kind: str = "process"
    """What it is to people: `agent`, `model-server`, `training`, `process`."""


def check_name(name: str) -> str:
    """Return `name` if it is a lawful target path, else raise `Usage` saying what is."""
    segments = name.split("/")
    lawful = all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in segments)
    if not lawful or name.startswith("-"):
        raise Usage(
            f"{name[:80]!r} is not a target's name",
            "use segments of letters, digits and . _ - : @ joined by /, such as shop/eu/checkout",
        )
    if segments[0] == "all":
        raise Usage(f"{name[:80]!r} begins with 'all', which means everything", "rename it")
    if len(name.replace("/", "%2F")) > MAX_NAME:
        raise Usage(f"{name[:80]!r}… is too long for a name", f"use at most {MAX_NAME} characters")
    return name


def check_label(key: str, value: str) -> tuple[str, str]:
    """Return the pair if it is a lawful label, else raise `Usage`."""
    if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
        raise Usage(
            f"{key[:80]!r}={value[:80]!r} is not a label",
            "a key is lower-case letters, digits, _ . -; a value has no blanks",
        )
    return key, value
