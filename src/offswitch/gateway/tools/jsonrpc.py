"""JSON-RPC 2.0, read strictly (jsonrpc.org/specification, and MCP's narrowing of it).

What is judged here is passed on as the bytes that came. So nothing is taken that another reader
might read otherwise: a name that stands twice, or in other letters (some readers ignore case), a
number that is none, bytes that are no UTF-8, a text that ends in half a character. An id is a text
or a whole number; `1` and `"1"` are two ids. Pure; the sizes of all that is kept are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from offswitch.gateway.exchange import Malformed

__all__ = ["Answer", "Ident", "Message", "Notice", "Parsed", "Request", "key_of", "loads", "parse"]

Ident = str | int

_MOST = 100
"""Messages of one batch."""
_LONGEST_ID = 256
_LONGEST_METHOD = 256
_LARGEST_ID = 1 << 63
_NAMES = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAMS = frozenset({"name", "arguments", "_meta", "task", "requestid", "uri"})
"""Of what `params` hold, those by which something is judged; in folded letters."""
_EXACT = {"requestid": "requestId"}


@dataclass(frozen=True, slots=True)
class Request:
    """It wants an answer."""

    ident: Ident
    method: str
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Notice:
    """It wants none (a *notification*)."""

    method: str
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """To a request; of the two fields one counts."""

    ident: Ident | None
    """None: to a request that could not be read."""
    result: object = None
    error: Mapping[str, object] | None = None


Message = Request | Notice | Answer


@dataclass(frozen=True, slots=True)
class Parsed:
    """One message, or several that came together."""

    messages: Sequence[Message]
    batch: bool = False


def key_of(ident: Ident) -> str:
    """Give a text that is another one for each id."""
    return f"s:{ident}" if isinstance(ident, str) else f"i:{ident}"


def loads(data: bytes) -> object:
    """Read JSON that every reader reads alike; `Malformed` for anything else."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise Malformed("this is no UTF-8") from None
    except RecursionError:
        raise Malformed("this lies too deep in itself") from None
    except ValueError as error:
        raise Malformed(f"this is no JSON: {error}"[:200]) from None


def parse(data: bytes) -> Parsed:
    """Read one message or a batch of them; `Malformed` says what is wrong."""
    value = loads(data)
    if not isinstance(value, list):
        return Parsed((_message(value),))
    if not 0 < len(value) <= _MOST:
        raise Malformed(f"a batch has 1 to {_MOST} messages, not {len(value)}")
    return Parsed(tuple(_message(one) for one in value), batch=True)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a name stands twice in one object")
    return found


def _no_number(text: str) -> object:
    raise Malformed(f"{text} is no number of JSON")


def _message(value: object) -> Message:
    if not isinstance(value, dict):
        raise Malformed("a message is an object")
    for name in value:
        if name not in _NAMES and name.casefold() in _NAMES:
            raise Malformed(f"a message's {name.casefold()!r} is written in small letters")
    if value.get("jsonrpc") != "2.0":
        raise Malformed('a message says "jsonrpc": "2.0"')
    if "method" not in value:
        return _answer(value)
    method = value["method"]
    if not isinstance(method, str) or not 0 < len(method) <= _LONGEST_METHOD:
        raise Malformed("a method is a text")
    if not method.isprintable():
        raise Malformed("a method is a plain text")
    if "result" in value or "error" in value:
        raise Malformed("a message asks or answers, and not both")
    params = _params(value.get("params"))
    if "id" not in value:
        return Notice(method, params)
    return Request(_ident(value["id"]), method, params)


def _answer(value: Mapping[str, object]) -> Answer:
    if ("result" in value) == ("error" in value) or "params" in value:
        raise Malformed("a message has a method, a result or an error, and one of them only")
    said = value.get("id")
    error = value.get("error")
    if "error" in value and not isinstance(error, dict):
        raise Malformed("an error is an object")
    if said is None and "result" in value:
        raise Malformed("a result says to which id it is the answer")
    ident = None if said is None else _ident(said)
    return Answer(ident, value.get("result"), error if isinstance(error, dict) else None)


def _params(value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed("what goes with a method is an object")
    for name in value:
        folded = name.casefold()
        if folded in _PARAMS and name != _EXACT.get(folded, folded):
            raise Malformed(f"{folded!r} is written in other letters")
    return value


def _ident(value: object) -> Ident:
    if isinstance(value, str):
        if len(value) > _LONGEST_ID or not _encodes(value):
            raise Malformed(f"an id is a text of at most {_LONGEST_ID} characters")
        return value
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LARGEST_ID:
        raise Malformed("an id is a text or a whole number")
    return value


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
