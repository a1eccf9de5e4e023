"""`offswitch reset`: deliberate, with its cause; it clears what it names and starts nothing.

    offswitch reset SCOPE --reason TEXT [--safe TEXT] [--changed TEXT] [--secret]
                          [--proof FILE]… [--confirm DIGEST] [--write-off] [--json]

It goes to the one installation in which SCOPE is latched; where several have it latched,
`OFFSWITCH_RUN` must say which. A warden is started if none is there, since the latch
outlives it. The secret is typed on the terminal, never an argument or in the environment,
where a stopped program could have left or read it (SR-2). `--confirm` and `--proof` bring a
second person's word to a reset that waits for it.
"""

from __future__ import annotations

import os
import sys
import time

from offswitch.cli.quick_json import dumps
from offswitch.cli.roads import ask_all
from offswitch.cli.standing import PATIENCE_S, Said, ask
from offswitch.cli.voice import say, say_error, talk
from offswitch.cli.words import covers, read_scope, read_words
from offswitch.control.place import within_reach
from offswitch.errors import (
    Ambiguous,
    OffswitchError,
    Storage,
    Timeout,
    Unreachable,
    Usage,
    from_kind,
)
from offswitch.printable import printable

__all__ = ["main", "read_proof"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

_ANSWER_S = 20.0
_LONGEST_PROOF = 64 << 10
_DIGEST = 64
_FLAGS = ("--json", "--secret", "--write-off")
_OPTIONS = ("--reason", "--safe", "--changed", "--proof", "--confirm")
_HELP = """\
Usage: offswitch reset SCOPE --reason TEXT [--safe TEXT] [--changed TEXT] [--secret]
                             [--proof FILE]… [--confirm DIGEST] [--write-off] [--json]

Clear the live stops of SCOPE and below. A reset starts nothing: that is `offswitch start`.

  --reason TEXT      the cause; asked for on a terminal if it is missing
  --safe TEXT        why it is safe now
  --changed TEXT     what changed since the stop
  --secret           ask for the secret on the terminal
  --proof FILE       a signature or code over the reset's digest, - for stdin; may be given again
  --confirm DIGEST   bring proofs to the reset that waits under that digest
  --write-off        give up, as never confirmed, what nobody can look at any more (two people)
  --json             one object on stdout

Exit codes: 0 done or pending, 2 usage or ambiguous, 3 a wider stop remains,
4 nobody reached or not confirmed, 5 refused.
"""


def main(words: list[str]) -> int:
    """Reset; return the exit code."""
    as_json = "--json" in words
    try:
        return _main(words)
    except OffswitchError as error:
        return say_error(error, as_json=as_json)


def _main(words: list[str]) -> int:
    names, given = read_words("reset", words, _FLAGS, _OPTIONS)
    if "--help" in given:
        say(_HELP)
        return 0
    if len(names) != 1:
        wrong = "a reset names its scope" if not names else "a reset takes one scope at a time"
        raise Usage(wrong, "offswitch reset SCOPE --reason TEXT; see: offswitch status")
    scope = read_scope(names[0])
    message = {
        "op": "reset",
        "scope": scope,
        "reason": _reason(given),
        "nonce": os.urandom(16).hex(),
        "time_us": time.time_ns() // 1000,
        "proofs": [read_proof(path) for path in given.get("--proof", [])],
    }
    if "--confirm" in given:
        message["digest"] = _digest(given["--confirm"][-1])
    for key in ("safe", "changed"):
        if f"--{key}" in given:
            message[key] = given[f"--{key}"][-1]
    if "--write-off" in given:
        message["write_off"] = True
    place = _where(scope)
    if "--secret" in given:
        message["secret"] = _secret()
    answer = _ask(place, message)
    code = answer.pop("exit", 0)
    if "--json" in given:
        say(dumps(answer) + "\n")
    else:
        say(_text(answer, scope))
    return code if isinstance(code, int) else 1


# --- what is brought --------------------------------------------------------------


def _reason(given: dict[str, list[str]]) -> str:
    reason = (given.get("--reason") or [""])[-1].strip()
    if not reason and "--reason" not in given and "--json" not in given and _at_a_terminal():
        talk("What was the cause? (the reset starts nothing) ")
        reason = sys.stdin.readline().strip()
    if not reason:
        raise Usage("a reset needs its cause", "add --reason TEXT: what was the matter?")
    return reason


def _at_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _digest(text: str) -> str:
    digest = text.strip().lower()
    if len(digest) != _DIGEST or not frozenset("0123456789abcdef").issuperset(digest):
        raise Usage(f"{printable(text, 80)!r} is no digest", "64 hex digits, as the reset said")
    return digest


def read_proof(path: str) -> str:
    """Read a proof from a file, or from stdin."""
    try:
        if path == "-":
            text = sys.stdin.read(_LONGEST_PROOF + 1)
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read(_LONGEST_PROOF + 1)
    except (OSError, ValueError) as error:
        raise Usage(f"no proof in {printable(path)}: {error}", "name a readable file") from None
    if len(text) > _LONGEST_PROOF:
        raise Usage(f"{printable(path)} is too long for a proof", "name the signature's file")
    return text


def _secret() -> str:
    """Read the secret from the terminal itself, unseen; a pipe cannot bring it."""
    import termios  # noqa: PLC0415 - only where it is asked for

    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        raise Usage(
            "the secret is typed on a terminal, and there is none", "run it there"
        ) from None
    try:
        before = termios.tcgetattr(fd)
        hidden = list(before)
        hidden[3] &= ~termios.ECHO
        termios.tcsetattr(fd, termios.TCSAFLUSH, hidden)
        try:
            os.write(fd, b"Secret (not shown): ")
            typed = b""
            while not typed.endswith(b"\n") and (more := os.read(fd, 1024)):
                typed += more
        finally:
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)
            os.write(fd, b"\n")
    finally:
        os.close(fd)
    return typed.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


# --- where it goes ----------------------------------------------------------------


def _where(scope: str) -> Place:
    """Find the one installation in which `scope` is latched; start a warden if none is there."""
    places = within_reach()
    said = ask(places, scope, PATIENCE_S)
    there = [one for one in said if one.answers]
    if not there:
        return _only(said)
    within = [one for one in there if any(_within(scope, stop) for stop in one.latched)]
    if len(within) > 1:
        runs = ", ".join(one.place.run for one in within)
        hint = f"OFFSWITCH_RUN={within[0].place.run} offswitch reset {scope} --reason TEXT"
        raise Ambiguous(f"{scope} is latched in several installations: {runs}", hint)
    if within:
        return within[0].place
    silent = [one.place.run for one in said if not one.answers and not one.absent]
    held = [one for one in there if any(_touches(scope, stop) for stop in one.latched)]
    if silent and not held:
        raise Timeout(
            f"{scope} is latched nowhere that answers, and {', '.join(silent)} does not answer",
            "offswitch doctor; then reset again",
        )
    return (held or there)[0].place


def _only(said: list[Said]) -> Place:
    silent = [one for one in said if not one.absent]
    if silent:
        runs = ", ".join(one.place.run for one in silent)
        raise Timeout(f"the warden of {runs} does not answer: nothing is reset", "offswitch doctor")
    mine = [one.place for one in said if one.why == "absent"]
    if not mine:
        from offswitch.control.way_in import way_in  # noqa: PLC0415 - only for who is refused

        barred = said[0].place
        raise Unreachable(
            f"you may not speak to the warden of {barred.run}", way_in(barred.control)
        )
    from offswitch.cli.begin import ensure_warden  # noqa: PLC0415 - only where none is there

    place = next((one for one in mine if os.path.isdir(one.home)), mine[0])
    ensure_warden(place)
    return place


def _within(scope: str, stop: dict[str, Any]) -> bool:
    """Tell whether a reset of `scope` may clear this stop (SR-18)."""
    text = str(stop.get("scope", ""))
    if scope in {"/", text}:
        return True
    return "=" not in text and text != "/" and "=" not in scope and covers(scope, text, {})


def _touches(scope: str, stop: dict[str, Any]) -> bool:
    """Tell whether this stop is wider than `scope`."""
    text = str(stop.get("scope", ""))
    return text == "/" or ("=" not in scope and "=" not in text and covers(text, scope, {}))


def _ask(place: Place, message: dict[str, Any]) -> dict[str, Any]:
    [road] = ask_all([place.warden_socket], message, _ANSWER_S)
    if not road.answers:
        if road.why in {"absent", "barred"}:
            raise Unreachable(f"no warden answers at {place.run}", "offswitch status")
        if road.ended:
            raise Unreachable("the warden ended without an answer", "offswitch status")
        raise Timeout("the warden did not answer in time", "see what is latched: offswitch status")
    answer = road.answers[0]
    error = answer.get("error")
    if isinstance(error, dict):
        kind, what = str(error.get("kind")), str(error.get("message", ""))
        raise from_kind(kind, what, str(error.get("hint", "")))
    if "state" not in answer:
        raise Storage("the warden gave an answer that is none", "offswitch doctor")
    return answer


# --- text for people --------------------------------------------------------------


def _text(answer: dict[str, Any], scope: str) -> str:
    spoken = "everything" if scope == "/" else printable(scope)
    needs = [printable(need, 500) for need in answer.get("needs", [])]
    notes = [f"  note: {printable(note)}" for note in answer.get("notes", [])]
    return "\n".join([*_lines(answer, spoken, needs), *notes]) + "\n"


def _lines(answer: dict[str, Any], spoken: str, needs: list[str]) -> list[str]:
    if answer["state"] == "pending":
        lines = [f"Reset (starts nothing) of {spoken} is PENDING: everything stays latched."]
        lines += [f"  needs {need}" for need in needs]
        digest = printable(answer.get("reset"))
        return [*lines, "  to be signed:", f"  {digest}"]
    count = len(answer["cleared"])
    stops = "1 stop" if count == 1 else f"{count} stops"
    if answer.get("wider"):
        lines = [f"Reset (starts nothing) of {spoken}: {stops} cleared, but it is STILL LATCHED."]
        return [*lines, *(f"  {need}" for need in needs)]
    return [
        f"Reset (starts nothing) of {spoken}: {stops} cleared, nothing was started.",
        "  start again: offswitch start TARGET",
    ]
