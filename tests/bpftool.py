"""What `bpftool cgroup detach` does: programs are taken off a cgroup by whoever is root."""

from __future__ import annotations

import os
import struct

from offswitch.actuators import bpf

__all__ = ["taken_off"]

_FD_BY_ID = 13


def taken_off(folder: int, where: bpf.Attach) -> None:
    """Take off all that is attached at a place of the cgroup whose folder is open."""
    for number in bpf.those_at(folder, where):
        program, _attributes = bpf._bpf(_FD_BY_ID, struct.pack("=III", number, 0, 0))
        bpf.detach(folder, program, where)
        os.close(program)
