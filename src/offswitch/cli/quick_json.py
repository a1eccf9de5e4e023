"""JSON for the fast path, by the standard library's own C code but without its package.

Importing `json` brings `re` and `enum`, and with them as many milliseconds as the whole
interpreter takes to start. `_json` is what `json` itself calls for the work; where an
interpreter does not have it, `json` does it all, and the stop is some milliseconds slower.
"""

from __future__ import annotations

__all__ = ["dumps", "loads"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Rules:
    """How JSON's values become Python's; what `json.JSONDecoder` sets as well."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - asked for by name, never written


def loads(data: bytes | bytearray) -> Any:  # noqa: ANN401 - bytes become values here
    """Read one JSON value; anything else raises ValueError."""
    try:
        from _json import make_scanner  # noqa: PLC0415
    except ImportError:
        from json import loads as slow  # noqa: PLC0415

        return slow(data)
    text = data.decode()
    try:
        value, end = make_scanner(_Rules)(text, 0)  # type: ignore[arg-type]
    except (StopIteration, RecursionError, SystemError):
        # SystemError: it wants to raise an error of `json.decoder`, which nobody has imported.
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def dumps(value: object) -> str:
    """Write a value of strings, numbers, truth values, None, lists and dicts, in ASCII."""
    try:
        from _json import encode_basestring_ascii as text  # noqa: PLC0415
    except ImportError:
        from json import dumps as slow  # noqa: PLC0415

        return slow(value, separators=(",", ":"))
    return _written(value, text)


def _written(value: object, text: Any) -> str:  # noqa: ANN401 - one return a type
    if isinstance(value, str):
        return str(text(value))
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int | float):
        return repr(value) if value - value == 0 else "null"  # JSON knows no infinity
    if isinstance(value, dict):
        return "{" + ",".join(f"{text(str(k))}:{_written(v, text)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_written(item, text) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON")
