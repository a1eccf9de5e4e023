"""All that followers are shown, piece by piece, each with the version at which it changed last.

A piece is a target's row, a live stop, or one of a handful of lists (alarms, notes). It is spelled
once, whoever reads it; what is spelled the same as before has not changed. So to bring a follower
up to date costs what has changed since its last version, and nothing else: it keeps one number.

What is gone leaves a mark, for those who have yet to hear of it. Marks are swept up now and then;
who is further behind than that begins anew.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import Any

__all__ = ["Shown", "beat"]

_A_FRAME = 100
"""Pieces in one frame: what is said in one go is made between two stops."""
_FRAME_CHARS = 200_000
_SLACK = 2048

Key = tuple[str, str]
"""What kind of piece, and its name; a list of which there is one has no name."""

_LISTS = {"target": ("targets", "gone"), "stop": ("stops", "cleared")}


class Shown:
    """Pieces and their versions. One owner, the loop."""

    __slots__ = ("_floor", "_log", "_pieces", "version")

    def __init__(self) -> None:
        """Begin with nothing to show."""
        self.version = 0
        self._pieces: dict[Key, tuple[int, str | None]] = {}
        self._log: list[tuple[int, Key]] = []
        """Every change, in order; of a piece that has changed since, only the last one counts."""
        self._floor = 0
        """Up to this version it is no longer known what has gone."""

    def put(self, kind: str, name: str, value: object) -> bool:
        """Show a piece as it is now; false: it is shown like that already."""
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return self._note((kind, name), text)

    def drop(self, kind: str, name: str) -> None:
        """Show a piece no more."""
        if self._pieces.get((kind, name), (0, None))[1] is not None:
            self._note((kind, name), None)

    def names(self, kind: str) -> list[str]:
        """Name the pieces of a kind that are shown."""
        return [key[1] for key, (_v, text) in self._pieces.items() if key[0] == kind and text]

    def _note(self, key: Key, text: str | None) -> bool:
        if self._pieces.get(key, (0, ""))[1] == text:
            return False
        self.version += 1
        self._pieces[key] = (self.version, text)
        self._log.append((self.version, key))
        if len(self._log) > 2 * len(self._pieces) + _SLACK:
            self._sweep_up()
        return True

    def _sweep_up(self) -> None:
        gone = [key for key, (_version, text) in self._pieces.items() if text is None]
        for key in gone:
            self._floor = max(self._floor, self._pieces.pop(key)[0])
        self._log = sorted((version, key) for key, (version, _text) in self._pieces.items())

    def frame(self, cursor: int, *, full: bool) -> tuple[bytes, int, bool]:
        """Spell the next frame for who has everything up to `cursor`, and give its new cursor.

        The last is whether it begins anew: it has nothing yet, or is too far behind. `full`: all
        that there is has been put; else another frame follows in any case.
        """
        anew = cursor < self._floor or cursor == 0
        cursor = 0 if anew else cursor
        parts: dict[str, list[str]] = {}
        taken = room = 0
        for at in range(bisect_right(self._log, (cursor, ("~", ""))), len(self._log)):
            version, key = self._log[at]
            if taken >= _A_FRAME or room > _FRAME_CHARS:
                break
            cursor = version
            known, text = self._pieces.get(key, (0, None))
            if known == version and not (anew and text is None):
                taken += 1
                room += len(text or key[1])
                _add(parts, key, text)
        more = cursor < self.version or not full
        said = {"event": "picture" if anew else "changes", "version": cursor, "more": more}
        body = json.dumps(said, separators=(",", ":"))[:-1]
        for name, texts in parts.items():
            several = name in _PLURAL
            body += f',"{name}":' + ("[" + ",".join(texts) + "]" if several else texts[0])
        whole = (body + "}").encode(errors="replace")
        return len(whole).to_bytes(4, "big") + whole, cursor, anew


_PLURAL = frozenset(name for pair in _LISTS.values() for name in pair)


def _add(parts: dict[str, list[str]], key: Key, text: str | None) -> None:
    kind, name = key
    if kind in _LISTS:
        there, gone = _LISTS[kind]
        listed, said = (there, text) if text is not None else (gone, json.dumps(name))
        parts.setdefault(listed, []).append(said)
    elif text is not None:
        parts[kind] = [text]


def beat(**said: Any) -> bytes:  # noqa: ANN401 - what JSON takes
    """Spell the frame that says that nothing has changed."""
    body = json.dumps({"event": "beat", **said}, separators=(",", ":")).encode()
    return len(body).to_bytes(4, "big") + body
