"""How the configuration names a secret: by the place where it lies, never by what it is.

secret_file = "/etc/offswitch/aws"      a file that only its owner may read (`secret_file`)
secret_file = "keyring:aws"             a key of the kernel's (`keyring`), for hands
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from offswitch.config.keyring import PREFIX

__all__ = ["Secret", "SecretFile"]


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("a whole path, from / on")
    return value


def _place(value: str) -> str:
    if not value.startswith(("/", PREFIX)) or value == PREFIX:
        raise ValueError("a whole path, from / on, or keyring:NAME")
    return value


SecretFile = Annotated[str, AfterValidator(_path), Field(max_length=4000)]
"""A file that only its owner may read, with the secret in it and nothing else."""

Secret = Annotated[str, AfterValidator(_place), Field(max_length=4000)]
"""Such a file, or `keyring:NAME`: a key of the kernel's."""
