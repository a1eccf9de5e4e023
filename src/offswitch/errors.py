"""Every error that a person or a script can meet, in one tree.

    OffswitchError            kind, message, hint, exit code
    ├── Usage                 2   the call itself is wrong
    ├── BadConfig             2   the configuration names something we refuse
    ├── NotFound              4   no such target, file or scope
    ├── Ambiguous             2   several things answer to that name
    ├── Latched               3   a stop stands in the way
    ├── Refused               5   you may not, or not like this
    ├── Unreachable           4   nobody answered
    ├── Unconfirmed           4   done, but nobody saw it
    ├── Unsupported           1   this machine cannot
    ├── Busy                  1   somebody else has it
    ├── Storage               1   a disk said no
    ├── Corrupt               1   a record is damaged
    ├── Timeout               4   it took too long
    └── Internal              1   a defect of ours

Each says what happened, and in `hint` what to do next. The kinds are the closed
vocabulary that INTERFACES promises to scripts.
"""

from __future__ import annotations

__all__ = [
    "Ambiguous",
    "BadConfig",
    "Busy",
    "Corrupt",
    "Internal",
    "Latched",
    "NotFound",
    "OffswitchError",
    "Refused",
    "Storage",
    "Timeout",
    "Unconfirmed",
    "Unreachable",
    "Unsupported",
    "Usage",
    "from_kind",
]


class OffswitchError(Exception):
    """Base of all our errors; `kind` and `exit_code` are promised to scripts."""

    kind = "internal"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        """Say what happened (`message`) and what to do next (`hint`)."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Show the message and, if there is one, the next step."""
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message

    def as_dict(self) -> dict[str, str]:
        """Give the object that `--json` and the control socket carry."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint}


class Usage(OffswitchError):
    """The call itself is wrong."""

    kind = "usage"
    exit_code = 2


class BadConfig(OffswitchError):
    """The configuration names something that we refuse."""

    kind = "config"
    exit_code = 2


class NotFound(OffswitchError):
    """No such target, file or scope."""

    kind = "not-found"
    exit_code = 4


class Ambiguous(OffswitchError):
    """Several things answer to that name."""

    kind = "ambiguous"
    exit_code = 2


class Latched(OffswitchError):
    """A stop stands in the way."""

    kind = "latched"
    exit_code = 3


class Refused(OffswitchError):
    """The caller may not do this, or not like this."""

    kind = "refused"
    exit_code = 5


class Unreachable(OffswitchError):
    """Nobody answered."""

    kind = "unreachable"
    exit_code = 4


class Unconfirmed(OffswitchError):
    """It was commanded, but nobody saw it happen."""

    kind = "unconfirmed"
    exit_code = 4


class Unsupported(OffswitchError):
    """This machine cannot do it."""

    kind = "unsupported"
    exit_code = 1


class Busy(OffswitchError):
    """Somebody else holds it."""

    kind = "busy"
    exit_code = 1


class Storage(OffswitchError):
    """A disk or file system said no."""

    kind = "storage"
    exit_code = 1


class Corrupt(OffswitchError):
    """A record is damaged."""

    kind = "corrupt"
    exit_code = 1


class Timeout(OffswitchError):
    """It took longer than its budget."""

    kind = "timeout"
    exit_code = 4


class Internal(OffswitchError):
    """A defect of ours."""

    kind = "internal"
    exit_code = 1


def from_kind(kind: str, message: str, hint: str = "") -> OffswitchError:
    """Make the error of a kind again on the other side of a socket; unknown kinds are internal."""
    for cls in OffswitchError.__subclasses__():
        if cls.kind == kind and cls.__module__ == __name__:
            return cls(message, hint)
    return Internal(message, hint)
