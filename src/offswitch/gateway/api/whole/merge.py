"""How the pieces of a streamed value add up.

    texts join · lists go on · objects merge, name by name · everything else: the last counts
    null adds nothing · a list whose items have an `index` merges by it

Names that no API has told us of add up in the same way, and are kept. Texts are kept as their
pieces until the end, since joining each at once would cost the square of their length.
"""

from __future__ import annotations

__all__ = ["Pieces", "add", "settled"]

_WHOLE = frozenset(("id", "type", "role", "index", "object", "finish_reason", "stop_reason"))
"""Texts that are given whole, and may be given again."""


class Pieces(list[str]):
    """A text, as its pieces."""


def _begun(name: str, value: object) -> object:
    if type(value) is str:
        return value if name in _WHOLE else Pieces((value,))
    if type(value) is dict:
        return {inner: _begun(inner, each) for inner, each in value.items()}
    if type(value) is list:
        fresh: list[object] = []
        _extend(fresh, value)
        return fresh
    return value


def _extend(old: list[object], new: list[object]) -> None:
    for item in new:
        if type(item) is not dict or type(item.get("index")) is not int:
            old.append(item)
            continue
        same = next(
            (each for each in old if type(each) is dict and each.get("index") == item["index"]),
            None,
        )
        if same is None:
            old.append(_begun("", item))
        else:
            add(same, item)


def add(into: dict[str, object], new: dict[str, object]) -> None:
    """Add a piece to what there is."""
    for name, value in new.items():
        old = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif type(old) is Pieces and type(value) is str:
            # A tool's name comes once, in pieces, or whole with each piece of its arguments.
            if name != "name" or "".join(old) != value:
                old.append(value)
        elif type(old) is dict and type(value) is dict:
            add(old, value)
        elif type(old) is list and type(value) is list:
            _extend(old, value)
        elif old is None or value != "":
            into[name] = _begun(name, value)


def settled(value: object) -> object:
    """Give a value with its texts joined."""
    if type(value) is Pieces:
        return "".join(value)
    if type(value) is dict:
        return {name: settled(each) for name, each in value.items()}
    if type(value) is list:
        return [settled(each) for each in value]
    return value
