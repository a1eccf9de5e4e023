"""What is written on a role or a user of AWS at a stop, and what is left there after a reset.

    at a stop        deny everything, always; and to every session issued before now
    after a reset    deny everything to every session issued before the reset

AWS's own "revoke sessions" is the second alone: it stops what was issued before, and a program that
may assume the role takes a new session a second later. So while a stop is latched nothing works
at all. At the reset the time moves to the reset itself: what was issued meanwhile never comes to
life either (RST-8). Long-lived keys bear no time of issue, so that condition leaves them alone: a
user's are made inactive, and stay so.

An inline policy of ours is read back as it was written: whatever is not plainly a denial of
everything denies nothing.
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote

__all__ = ["AFTER", "CANARY", "after_reset", "at_stop", "canary", "denied_before", "denies_all"]

AFTER = "OffswitchRevoke"
"""The name of the policy that stops."""
CANARY = "OffswitchProof"
"""The name of the policy that is written and taken away again, and denies nothing."""
_LONG_AGO = 0


def _denial(before_s: int | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    if before_s is not None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before_s))
        said["Condition"] = {"DateLessThan": {"aws:TokenIssueTime": at}}
    return said


def _document(*statements: dict[str, Any]) -> str:
    said = {"Version": "2012-10-17", "Statement": list(statements)}
    return json.dumps(said, separators=(",", ":"))


def at_stop(now_s: int) -> str:
    """Deny everything."""
    return _document(_denial(), _denial(now_s))


def after_reset(before_s: int) -> str:
    """Deny everything to sessions issued before that."""
    return _document(_denial(before_s))


def canary() -> str:
    """Deny nothing, in as many characters as `at_stop` has: what is too long is refused now."""
    return _document(_denial(_LONG_AGO), _denial(_LONG_AGO))


def denies_all(document: str) -> bool:
    """Tell whether a policy, as AWS gives it, denies everything to everybody who has it."""
    return any(
        one.get("Effect") == "Deny"
        and one.get("Action") in ("*", ["*"])
        and one.get("Resource") in ("*", ["*"])
        and one.keys() <= {"Effect", "Action", "Resource", "Sid"}
        for one in _statements(document)
    )


def denied_before(document: str) -> str:
    """Tell since when sessions must have been issued to be let in; empty: it says nothing of it."""
    for one in _statements(document):
        condition = one.get("Condition")
        before = condition.get("DateLessThan") if isinstance(condition, dict) else None
        if isinstance(before, dict) and one.get("Effect") == "Deny":
            return str(before.get("aws:TokenIssueTime", ""))
    return ""


def _statements(document: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(unquote(document))["Statement"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    listed = found if isinstance(found, list) else [found]
    return [one for one in listed if isinstance(one, dict)]
