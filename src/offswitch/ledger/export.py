"""A ledger as plain files that anybody's tools can check (c2sp.org/tlog-tiles).

    DIR/checkpoint                       the latest signed checkpoint
    DIR/tile/L/N[.p/W]                   256 (or W) hashes of level L
    DIR/tile/entries/N[.p/W]             256 (or W) entries, each after its length (u16)

N is spelt in groups of three digits, `x001/x234/067`. Sealed values are not exported: they
are no part of the tree. An export into the same folder goes on with it: full tiles never
change, so only what is new is written, and the checkpoint last of all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from offswitch.errors import Corrupt, Refused, Storage
from offswitch.ledger.checkpoint import parse_checkpoint
from offswitch.ledger.reader import Reader
from offswitch.ledger.seal import LONGEST_BODY
from offswitch.ledger.tree import TILE_HEIGHT, TILE_WIDTH, Frontier

__all__ = ["export", "tile_path"]


def export(reader: Reader, folder: str) -> int:
    """Write the ledger to `folder`; return how many files were written.

    `Refused` if something else lies in `folder`, or an export that this ledger does not go
    on from; `Corrupt` if the stored tree is not the signed one.
    """
    reader.check_head()
    _check_folder(reader, folder)
    written = 0
    try:
        for path, level, start, count in _tiles(reader.head.size):
            place = os.path.join(folder, path)
            if count == TILE_WIDTH and os.path.exists(place):
                continue
            if level < 0:
                data = b"".join(map(_with_length, reader.bodies(start, start + count)))
            else:
                data = b"".join(reader.nodes.hashes(level, start, count))
            _write(place, data)
            written += 1
        _write(os.path.join(folder, "checkpoint"), reader.note)
    except OSError as error:
        raise Storage(f"{folder}: {error.strerror}", "name a folder with room") from None
    return written + 1


def tile_path(kind: str, index: int, width: int) -> str:
    """Spell the path of a tile; `kind` is its level, or `entries`."""
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return f"tile/{kind}/{name}{partial}"


def _tiles(size: int) -> Iterator[tuple[str, int, int, int]]:
    """List all tiles of a tree as (path, level, start, count); level -1 are the entries."""
    for start in range(0, size, TILE_WIDTH):
        count = min(TILE_WIDTH, size - start)
        yield tile_path("entries", start // TILE_WIDTH, count), -1, start, count
    level, width = 0, size
    while width:
        for start in range(0, width, TILE_WIDTH):
            count = min(TILE_WIDTH, width - start)
            yield tile_path(str(level), start // TILE_WIDTH, count), level, start, count
        level, width = level + 1, width >> TILE_HEIGHT


def _with_length(body: bytes) -> bytes:
    if len(body) > LONGEST_BODY:
        raise Corrupt("an entry is longer than a bundle can carry")
    return len(body).to_bytes(2, "big") + body


def _check_folder(reader: Reader, folder: str) -> None:
    """Refuse to mix two ledgers, or a ledger with anything else."""
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.listdir(folder):
            return
        with open(os.path.join(folder, "checkpoint"), "rb") as file:
            before = parse_checkpoint(file.read())[0]
    except (FileNotFoundError, ValueError):
        raise Refused(f"{folder} is not empty and holds no export", "name another folder") from None
    except OSError as error:
        raise Storage(f"{folder}: {error.strerror}", "name a folder that can be written") from None
    same = before.origin == reader.head.origin and before.size <= reader.head.size
    if not same or Frontier.of(reader.nodes, before.size).root() != before.root:
        raise Refused(f"{folder} holds the export of another ledger", "name another folder")


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    draft = f"{path}.new"
    with open(draft, "wb") as file:
        file.write(data)
    os.replace(draft, path)
