"""The query API of AWS's IAM and STS, as far as a stop needs it: signed calls, flat answers.

A call is a form with `Action` and `Version`; an answer is XML, of which single elements are taken
out by name: a parser of XML would read far more than is asked for, from somebody else. What AWS
refuses is a `Refusal` with AWS's own word for why (`AccessDenied`, `NoSuchEntity`).

The clock that counts is AWS's: a request that bears a time five minutes off is refused, and a
session's age is told by their clock. Each answer bears their time; `now_s` goes by it.
"""

from __future__ import annotations

import html
import re
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urlsplit

from offswitch.actuators.hands.contract import Trouble
from offswitch.actuators.hands.credentials.aws.sigv4 import Keys, Scope, signed
from offswitch.actuators.hands.http import Answer, Line
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import Clock

__all__ = ["NOT_OF_THE_KEY", "Api", "Refusal", "Reply"]

_FORM = "application/x-www-form-urlencoded; charset=utf-8"
_VERSIONS = {"iam": "2010-05-08", "sts": "2011-06-15"}
_NOTICED_S = 2
"""A difference of clocks below this is the way's."""
_QUOTES_US = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException"})
"""Errors whose text is the request that was sent."""
NOT_OF_THE_KEY = _QUOTES_US | {"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}
"""Refusals of one request, by its time or its signature: of the credential they tell nothing."""


class Refusal(Trouble):
    """AWS said no."""

    def __init__(self, code: str, message: str) -> None:
        """`code` is AWS's word for why."""
        super().__init__(message)
        self.code = code


class Reply:
    """What was answered."""

    def __init__(self, answer: Answer) -> None:
        """Hold the answer."""
        self._text = answer.body.decode("utf-8", "replace")
        self.status = answer.status

    def every(self, name: str) -> list[str]:
        """Give the texts of all elements of that name, in their order."""
        found = re.findall(rf"<{re.escape(name)}>([^<]*)</{re.escape(name)}>", self._text)
        return [html.unescape(one).strip() for one in found]

    def one(self, name: str) -> str:
        """Give the text of the first element of that name; empty: there is none."""
        return next(iter(self.every(name)), "")


class Api:
    """Calls one service by one credential."""

    def __init__(
        self, url: str, scope: Scope, keys: Keys, clock: Clock, ca_file: str | None = None
    ) -> None:
        """Call the service of `scope` at `url`."""
        self._url = url.rstrip("/") + "/"
        self._scope = scope
        self._clock = clock
        self.keys = keys
        self.line = Line(url, timeout_s=0.9, ca_file=ca_file)
        self.ahead_s = 0
        """How far AWS's clock is ahead of this machine's; below zero: behind."""

    def now_s(self) -> int:
        """Tell the time by AWS's clock, in seconds."""
        return self._clock.wall_us() // 1_000_000 + self.ahead_s

    def call(self, action: str, **said: str) -> Reply:
        """Ask AWS to do something; `Refusal` where it does not."""
        before = self.ahead_s
        try:
            return self._call(action, said)
        except Refusal as refusal:
            if refusal.code not in NOT_OF_THE_KEY or self.ahead_s == before:
                raise
        return self._call(action, said)  # the clock was wrong: once more, by theirs

    def get(self, line: Line, url: str, scope: Scope) -> Reply:
        """Fetch a page of another service by this credential, whatever is answered."""
        before = self.ahead_s
        reply = self._get(line, url, scope)
        if reply.one("Code") in NOT_OF_THE_KEY and self.ahead_s != before:
            reply = self._get(line, url, scope)
        return reply

    def _get(self, line: Line, url: str, scope: Scope) -> Reply:
        said = signed(self.keys, scope, "GET", url, b"", self.now_s())
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        answer = line.ask("GET", f"{parts.path or '/'}{query}", headers=said)
        self._set_clock(answer)
        return Reply(answer)

    def close(self) -> None:
        """Hang up."""
        self.line.close()

    def _call(self, action: str, said: dict[str, str]) -> Reply:
        form = {"Action": action, "Version": _VERSIONS[self._scope.service], **said}
        body = urlencode(form).encode()
        headers = {"content-type": _FORM}
        made = signed(self.keys, self._scope, "POST", self._url, body, self.now_s(), headers)
        answer = self.line.ask("POST", "/", body, headers=made)
        self._set_clock(answer)
        reply = Reply(answer)
        if answer.ok:
            return reply
        code = reply.one("Code") or f"status {answer.status}"
        why = "" if code in _QUOTES_US else reply.one("Message")
        known = (self.keys.secret_key, self.keys.session_token)
        text = unsaid(f"{action}: {code}" + (f": {why}" if why else ""), known)
        raise Refusal(code, text)

    def _set_clock(self, answer: Answer) -> None:
        try:
            theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError, OverflowError):
            return
        ahead = int(theirs) - self._clock.wall_us() // 1_000_000
        self.ahead_s = ahead if abs(ahead) > _NOTICED_S else 0
