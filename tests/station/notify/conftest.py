"""What the tests of telling people share."""

from __future__ import annotations

from telling import receiver, record, secret

__all__ = ["receiver", "record", "secret"]
