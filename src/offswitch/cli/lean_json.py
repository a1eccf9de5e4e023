"""JSON for the fast path: the C halves of the standard library's, without its Python half.

`import json` costs as much as the interpreter's own start, since it brings regular
expressions along; a stop cannot afford that. What is needed here is small: messages of
strings, integers, booleans, null, lists and objects, written compactly, and whatever the
warden answers, read. Where an interpreter has no such C module, `json` does it, slower.
The tests hold both against `json` itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    make_scanner: Callable[[Any], Callable[[str, int], tuple[Any, int]]] | None
    encode_basestring_ascii: Callable[[str], str]
else:
    try:
        from _json import encode_basestring_ascii, make_scanner
    except ImportError:  # another interpreter than CPython
        make_scanner = None

__all__ = ["dumps", "loads"]


class _Plain:
    """What the scanner wants to know: no hooks, plain numbers."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner clears it itself


def loads(text: str) -> Any:  # noqa: ANN401 - it is where text becomes values
    """Read one JSON value; ValueError if it is none."""
    if make_scanner is None:
        import json  # noqa: PLC0415 - what this module is there to avoid

        return json.loads(text)
    try:
        value, end = make_scanner(_Plain)(text, 0)
    except StopIteration:
        raise ValueError("not JSON") from None
    if text[end:].strip():
        raise ValueError("more than one JSON value")
    return value


def dumps(value: object) -> str:
    """Write a value compactly, in ASCII; TypeError for what JSON does not have."""
    if make_scanner is None:
        import json  # noqa: PLC0415 - what this module is there to avoid

        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join([dumps(item) for item in value])}]"
    if isinstance(value, dict):
        pairs = [f"{encode_basestring_ascii(key)}:{dumps(value[key])}" for key in value]
        return f"{{{','.join(pairs)}}}"
    raise TypeError(f"{type(value).__name__} has no JSON")
