"""Hugging Face's Trainer and Lightning: the callback lives in `offswitch.guard.training`.

It was there before the other adapters, and programs name it there; here it is found by who
looks for an adapter.
"""

from __future__ import annotations

from offswitch.guard.training import Watched

__all__ = ["Watched"]
