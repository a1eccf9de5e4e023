"""Keys and signatures made by the real ssh-keygen."""

from __future__ import annotations

from ssh_keys import sign, ssh_key

__all__ = ["sign", "ssh_key"]
