"""What `bpftool cgroup detach` does: programs are taken off a cgroup by whoever is root."""

from __future__ import annotations

import os

from offswitch.actuators import bpf

__all__ = ["taken_off"]


def taken_off(folder: int, where: bpf.Attach) -> None:
    """Take off all that is attached at a place of the cgroup whose folder is open."""
    for number in bpf.those_at(folder, where):
        program = bpf.opened(number)
        bpf.detach(folder, program, where)
        os.close(program)
