"""The check inside the agent's own program: one before each model call, tool call or step.

    from offswitch.guard import Guard, Stopped

    guard = Guard.from_env()
    while work:
        guard.check()                       # raises Stopped; a fraction of a microsecond
        with guard.step("tool", "send_mail"):
            ...

The guard is cooperative. It makes a stop gentle and early where the program plays along,
and is never counted when a stop is confirmed: the cell, the network and the sweep do not
need it. Standard library only.
"""

from __future__ import annotations

from offswitch.guard.guard import Guard
from offswitch.guard.step import Kind, Step
from offswitch.guard.stopped import Stopped

__all__ = ["Guard", "Kind", "Step", "Stopped"]
