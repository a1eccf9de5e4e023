"""Reading what was kept, by a process that has the rights of watch's user and no more (SR-4).

The store belongs to that user; who took it over could have made a file that breaks its reader.
So it is read apart, and what comes back is decoded within bounds.

    reader's stdin   {"wanted": [[target, series]…] | null, "since_us", "until_us"}
    its stdout       for each block: length u32, {"target", "series"} as JSON, newline, the block
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Collection, Iterator
from typing import IO

import lmdb

from offswitch.control.ids import user_of
from offswitch.control.seccomp import forbid
from offswitch.control.shed import complain, shed
from offswitch.errors import Corrupt, NotFound
from offswitch.watch.readings.block import Block, decode
from offswitch.watch.readings.folder import folder_for
from offswitch.watch.readings.store import Series, blocks_of, whole

__all__ = ["kept", "main"]

_LENGTH = struct.Struct("<I")
_LARGEST = 16 << 20


def kept(
    home: str, wanted: Collection[Series] | None, since_us: int, until_us: int
) -> Iterator[tuple[Series, Block]]:
    """Give the blocks that were kept of `wanted` (None: of all) in that time, by series.

    Raises `NotFound` where nothing was ever kept, `Corrupt` for what is no block.
    """
    asked = {
        "wanted": None if wanted is None else [list(one) for one in wanted],
        "since_us": since_us,
        "until_us": until_us,
    }
    command = [sys.executable, "-I", "-m", "offswitch.watch.readings.reader", home]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018
        child.stdin.write(json.dumps(asked).encode())
        child.stdin.close()
        yield from _blocks(child.stdout)
    if child.returncode:
        raise NotFound("no readings were kept here", "let watch run first: offswitch up")


def _blocks(out: IO[bytes]) -> Iterator[tuple[Series, Block]]:
    while head := out.read(_LENGTH.size):
        (length,) = _LENGTH.unpack(head)
        if length > _LARGEST:
            raise Corrupt("a block of readings is too long", "begin the store anew: remove it")
        name, _, data = out.read(length).partition(b"\n")
        said = json.loads(name)
        yield (str(said["target"]), str(said["series"])), decode(data)


def main() -> int:
    """Serve one question: the home is the argument, the rest comes by stdin."""
    folder = folder_for(sys.argv[1])
    whole()
    complain("reader", shed(user_of("watch"), dies_with_parent=True))
    forbid("none")
    asked = json.load(sys.stdin)
    wanted = None if asked["wanted"] is None else {(one[0], one[1]) for one in asked["wanted"]}
    try:
        for series, data in blocks_of(folder, wanted, asked["since_us"], asked["until_us"]):
            name = json.dumps({"target": series[0], "series": series[1]}).encode()
            sys.stdout.buffer.write(_LENGTH.pack(len(name) + 1 + len(data)) + name + b"\n" + data)
        sys.stdout.buffer.flush()
    except lmdb.Error:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
