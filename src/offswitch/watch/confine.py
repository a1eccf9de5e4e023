"""An eye gives away what it does not need before it opens what is hostile (SR-4).

As root it becomes a user of its own that owns nothing, keeps the rights that its sensors
need and no other (to read files that are not its own: CAP_DAC_READ_SEARCH; to read the
counters of processes: CAP_SYS_PTRACE, whose calls are denied), can never gain one
(no_new_privs), has a limit of memory, and a filter under which nothing acts and, unless a
sensor asks over the network, nothing connects. Whoever takes an eye over through a broken
database can then write nothing, signal nothing, stop nothing and tell nobody; it can lie
about its own source, which its target could do anyway. Without root all but the change of
user is done. What the kernel refuses is told, not fatal: a seeing eye with too many rights
is worth more than none.
"""

from __future__ import annotations

import resource
from collections.abc import Collection

from offswitch.control.ids import user_of
from offswitch.control.seccomp import forbid
from offswitch.control.shed import PTRACE, READ_SEARCH, shed
from offswitch.watch.sensors.contract import Need

__all__ = ["confine"]

_MEMORY = 2 << 30
_CAPABILITY = {Need.FILES: READ_SEARCH, Need.PROCESSES: PTRACE}


def confine(needs: Collection[Need]) -> list[str]:
    """Give away all but what `needs` takes; lists what the kernel refused."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    kept = [_CAPABILITY[need] for need in set(needs) if need in _CAPABILITY]
    refused = shed(user_of("watch"), keep=kept, dies_with_parent=True)
    unfiltered = forbid("any" if Need.NETWORK in needs else "none")
    return [*refused, unfiltered] if unfiltered else refused
