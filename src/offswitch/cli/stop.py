"""`offswitch stop`: anyone allowed, alone, at once, no question asked (DEC-2).

    offswitch stop SCOPE… | --all [--level L] [--reason TEXT] [--wait] [--json]

It presses in every installation within reach (SR-7) and over every road (SR-11), waits for
the proof, and says which of three words is true of each target: *confirmed*, *commanded*,
or neither. Without a scope it changes nothing and prints commands that are ready to use.
What is only needed to speak is imported when the order is on its way.
"""

from __future__ import annotations

import os
import time

from offswitch.cli.pressing import follow, press
from offswitch.cli.words import nearest_word, read_scope, read_words
from offswitch.control.place import within_reach
from offswitch.errors import OffswitchError, Usage
from offswitch.printable import printable

__all__ = ["main"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = ("--all", "--wait", "--json")
_OPTIONS = ("--level", "--reason", "--warrant")
_LEVELS = ["restrict", "drain", "freeze", "kill", "poweroff"]
_MOST_SCOPES = 256
_LONGEST_REASON = 2000
_LONGEST_WARRANT = 8192
_HELP = """\
Usage: offswitch stop SCOPE… | --all [--level L] [--reason TEXT] [--warrant FILE] [--wait]
                      [--json]

Stop what SCOPE covers, now, and say what was confirmed. It stays stopped until a reset.

  SCOPE           a target (shop/eu/checkout), all below a path (shop/eu), or label=value
  --all           everything, in every installation within reach
  --level L       restrict, drain, freeze, kill (unless given), poweroff
  --reason TEXT   for the record; never needed
  --warrant FILE  what a stop signed beforehand names; a new order at each time
  --wait          with drain: return when the kill that ends it is confirmed
  --json          one object on stdout

Exit codes: 0 confirmed, 2 usage, 4 not confirmed or nobody reached, 5 refused.
Without a client: touch $OFFSWITCH_RUN/stop/NAME (all for everything, %2F for a slash).
"""


def main(words: list[str]) -> int:
    """Stop; return the exit code."""
    as_json = "--json" in words
    try:
        return _main(words)
    except OffswitchError as error:
        from offswitch.cli.voice import say_error  # noqa: PLC0415 - not before the order is sent

        return say_error(error, as_json=as_json)


def _main(words: list[str]) -> int:
    names, given = read_words("stop", words, _FLAGS, _OPTIONS)
    if "--help" in given:
        from offswitch.cli.voice import say  # noqa: PLC0415 - not before an order is sent

        say(_HELP)
        return 0
    warrant = _warrant(given)
    scopes = _scopes([*names, *warrant.get("scopes", [])], given)
    level = (given.get("--level") or [warrant.get("level", "kill")])[-1]
    if level not in _LEVELS:
        near = nearest_word(level, _LEVELS)
        hint = f"did you mean {near}?" if near else "use one of: " + ", ".join(_LEVELS)
        raise Usage(f"there is no level {printable(level, 40)!r}", hint)
    if not scopes:
        from offswitch.cli.stop_told import tell_ready  # noqa: PLC0415 - nothing is to be stopped

        return tell_ready(within_reach(), as_json="--json" in given)
    message = {
        "op": "stop",
        "scopes": scopes,
        "level": level,
        "reason": (given.get("--reason") or [warrant.get("reason", "")])[-1][:_LONGEST_REASON],
        "nonce": os.urandom(16).hex(),
        "time_us": time.time_ns() // 1000,
        "channel": "warrant" if warrant else "cli",
        "wait": "--wait" in given,
    }
    if warrant:
        message["warrant"] = warrant["text"]
    places = within_reach()
    if level == "poweroff":
        from offswitch.cli.stop_told import name_the_others  # noqa: PLC0415 - named beforehand

        name_the_others(places, scopes)
    pressed = press(places, message)
    from offswitch.cli.stop_told import tell  # noqa: PLC0415 - loaded while the order is obeyed

    follow(pressed, level, scopes, patient="--wait" in given and level == "drain")
    return tell(pressed, scopes, level, as_json="--json" in given)


def _warrant(given: dict[str, list[str]]) -> dict[str, Any]:
    """Read what a warrant stops; whether it holds is for the record, and not for us (SR-19)."""
    if "--warrant" not in given:
        return {}
    import json  # noqa: PLC0415 - only where a file is named

    path = given["--warrant"][-1]
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST_WARRANT)
        if os.path.exists(f"{path}.sig"):
            with open(f"{path}.sig", encoding="utf-8") as file:
                text += file.read(_LONGEST_WARRANT)
        body = json.loads(text.partition("-----BEGIN")[0])
        return {
            "text": text,
            "scopes": [str(scope) for scope in body["scopes"]],
            "level": str(body.get("level", "kill")),
            "reason": str(body.get("reason", "")),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{printable(path, 80)} is no warrant: {type(error).__name__}"
        raise Usage(why, "name the scopes yourself: offswitch stop SCOPE") from None


def _scopes(names: list[str], given: dict[str, list[str]]) -> list[str]:
    if "--all" in given and names:
        raise Usage("--all already covers every scope", "offswitch stop --all")
    scopes = ["/"] if "--all" in given else [read_scope(name) for name in names]
    if len(scopes) > _MOST_SCOPES:
        raise Usage(f"a stop names at most {_MOST_SCOPES} scopes", "offswitch stop --all")
    return list(dict.fromkeys(scopes))
