"""`offswitch reset SCOPE --reason TEXT`: clear the stops at a scope or below. Starts nothing.

It is deliberate: the scope is typed, the cause is entered, and who may do it is for the
warden to say (SR-2, SR-5). It addresses the one installation in which that scope is latched;
where there are several, `OFFSWITCH_RUN` must say which. A secret is asked for on the
terminal and never taken from an argument or the environment, where others could read it.

In two people's mode the first call opens the reset and prints what is to be signed; each
further one brings a proof: `--digest DIGEST --proof FILE`.
"""

from __future__ import annotations

import os
import sys
import time

from offswitch.cli.fast import Words, ask_each, guarded, say
from offswitch.cli.lean_json import dumps
from offswitch.cli.printable import printable
from offswitch.control.place import chosen, within_reach
from offswitch.errors import (
    Ambiguous,
    Timeout,
    Unreachable,
    Usage,
    from_kind,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

__all__ = ["main"]

USAGE = "offswitch reset SCOPE --reason TEXT [--secret] [--digest DIGEST] [--proof FILE]… [--json]"
_HELP = f"""\
{USAGE}

Clear the live stops whose scope is SCOPE or below. It starts nothing: what was stopped is
started by a command of its own, offswitch start TARGET.

  --reason TEXT    why it is safe now; kept in the ledger
  --secret         ask for the installation's secret on the terminal
  --digest DIGEST  confirm the reset that was opened under this digest
  --proof FILE     a person's proof over that digest: an SSH signature, or: code NAME 123456
  --json           one object on stdout

Exit: 0 done, or pending until another person confirms; 3 a wider stop remains; 4 standstill
is not confirmed, or nothing answers; 5 refused; 2 usage.
"""
_PATIENCE_S = 20.0
_LOOK_S = 2.0
_LONGEST_PROOF = 65536


def main(argv: list[str]) -> int:
    """Run `offswitch reset ARGV`; return its exit code."""
    return guarded(_reset, argv)


def _reset(argv: list[str]) -> int:
    words = Words(
        argv,
        flags=("--secret", "--json", "--help", "-h"),
        values=("--reason", "--digest", "--proof"),
        usage=USAGE,
    )
    if words.has("--help") or words.has("-h"):
        sys.stdout.write(_HELP)
        return 0
    if len(words.rest) != 1:
        raise Usage("a reset names exactly one scope", USAGE)
    scope = words.rest[0]
    message = {
        "op": "reset",
        "scope": scope,
        "reason": _reason(words),
        "nonce": os.urandom(16).hex(),
        "time_us": time.time_ns() // 1000,
        "proofs": [_proof(path) for path in words.given.get("--proof", [])],
    }
    if words.value("--digest"):
        message["digest"] = words.value("--digest")
    place = _where(scope)
    if words.has("--secret"):
        message["secret"] = _secret(place)
    answer = _ask(place, message)
    if words.has("--json"):
        kept = {key: answer[key] for key in ("reset", "state", "cleared", "needs")}
        say(dumps(kept))
    else:
        for line in _shown(answer, scope):
            say(line)
    return int(answer.get("exit", 0))


def _reason(words: Words) -> str:
    """Take the cause; on a terminal ask for it."""
    reason = (words.value("--reason") or "").strip()
    if not reason and not words.has("--json") and sys.stdin.isatty():
        sys.stderr.write("Why is it safe now? ")
        sys.stderr.flush()
        reason = sys.stdin.readline().strip()
    if not reason:
        raise Usage("a reset needs its cause", "add --reason TEXT: why is it safe now?")
    return reason


def _proof(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_LONGEST_PROOF)
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"the proof {path!r} cannot be read: {error}", USAGE) from None


def _secret(place: Place) -> str:
    """Ask for the secret where only a person can type: on the terminal itself, unseen."""
    import termios  # noqa: PLC0415 - only who has set a secret needs it

    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        raise Usage(
            "a secret is typed on a terminal, and there is none here", "call it from a terminal"
        ) from None
    try:
        usual = termios.tcgetattr(fd)
        unseen = [*usual]
        unseen[3] &= ~termios.ECHO
        termios.tcsetattr(fd, termios.TCSAFLUSH, unseen)
        try:
            os.write(fd, f"The secret of {printable(place.run)}: ".encode())
            typed = b""
            while not typed.endswith(b"\n"):
                part = os.read(fd, 4096)
                if not part:
                    break
                typed += part
        finally:
            termios.tcsetattr(fd, termios.TCSAFLUSH, usual)
            os.write(fd, b"\n")
    finally:
        os.close(fd)
    return typed.decode("utf-8", "replace").rstrip("\r\n")


def _where(scope: str) -> Place:
    """Find the one installation in which `scope` is latched; start its warden if need be."""
    if os.environ.get("OFFSWITCH_RUN"):
        place = chosen()
    else:
        places = within_reach()
        answers = ask_each(places, {"op": "status", "scope": scope}, _LOOK_S)
        holding = [place for place in places if (answers[place.run] or {}).get("latched")]
        if len(holding) > 1:
            runs = ", ".join(place.run for place in holding)
            raise Ambiguous(f"{scope} is latched in several: {runs}", "name one by OFFSWITCH_RUN")
        answering = [place for place in places if "targets" in (answers[place.run] or {})]
        place = (holding or answering or [chosen()])[0]
    if not _serves(place):
        from offswitch.cli.begin import ensure_warden  # noqa: PLC0415 - only where there is none

        ensure_warden(place)
    return place


def _serves(place: Place) -> bool:
    answer = ask_each([place], {"op": "ping"}, _LOOK_S)[place.run]
    return answer is None or "trouble" not in answer


def _ask(place: Place, message: dict[str, Any]) -> dict[str, Any]:
    answer = ask_each([place], message, _PATIENCE_S)[place.run]
    if answer is None:
        raise Timeout(
            f"the warden of {place.run} did not answer; whether it was reset is unknown",
            "offswitch status",
        )
    if "trouble" in answer:
        why = answer["trouble"]
        raise Unreachable(f"no warden answers at {place.run}: {why}", "offswitch doctor")
    error = answer.get("error")
    if isinstance(error, dict):
        raised = from_kind(
            str(error.get("kind")), str(error.get("message")), str(error.get("hint", ""))
        )
        raised.exit_code = int(answer.get("exit", raised.exit_code))
        raise raised
    return answer


def _shown(answer: dict[str, Any], scope: str) -> list[str]:
    name = printable(scope)
    if answer["state"] == "pending":
        lines = [f"reset (starts nothing) of {name}: PENDING, nothing is cleared yet."]
        lines += [f"  needs {printable(need, 2000)}" for need in answer["needs"]]
        digest = printable(answer["reset"])
        lines.append(f"  then: offswitch reset {name} --reason TEXT --digest {digest} --proof FILE")
        return lines
    count = len(answer["cleared"])
    lines = [f"reset (starts nothing): {count} stop{'' if count == 1 else 's'} at {name} cleared."]
    lines += [f"  {printable(need, 2000)}" for need in answer["needs"]]
    if not answer["needs"]:
        lines.append("  nothing was started; for that: offswitch start TARGET")
    return lines
