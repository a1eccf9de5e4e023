"""GitHub: the target's tokens are revoked, by whichever way they were given out.

    app_token      a token of an OAuth or GitHub app: DELETE /applications/CLIENT/token
    app_grant      the same, and every other token that the app has of this person: …/grant
    installation   the token of an app's installation revokes itself: DELETE /installation/token
    bulk           a personal token, by anybody who knows it: POST /credentials/revoke
    org_pat        a fine-grained personal token loses an organisation: POST /orgs/ORG/personal-…

A look shows the token itself, at a page that costs nothing (`/rate_limit`): 401 is what a revoked
one gets. With a personal token of an organisation it is the organisation's list of such tokens,
since the token goes on working elsewhere. That proves something only of a token that was good just
before: where it was refused long since, the target works by another one, and nothing is confirmed
(`turned`). GitHub locks out who shows refused credentials again and again, so a 401 is believed for
a minute: a token that was revoked never comes back (RST-8).

What can be rehearsed differs. An app may ask whether a token is good (*ready*); a bulk revocation
and an organisation's cannot be tried without being done, so these are *degraded*, and say why.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.credentials.turned import Turned
from offswitch.actuators.hands.http import Answer, Line
from offswitch.actuators.hands.together import troubles
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import SystemClock
from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection
from offswitch.config.url import Url

__all__ = ["Github", "GithubSection"]

_BELIEVED_US = 60_000_000
"""How long a 401 is believed, and a bulk revocation that was accepted is not sent again."""
_PAGES = 10
_LIST = "the organisation's list"
_MOST = 100
_OK, _ACCEPTED, _NO_CONTENT = 200, 202, 204
_UNAUTHORISED, _UNKNOWN, _INVALID = 401, 404, 422
_LOCKED_OUT = frozenset({403, 429})
"""What who showed refused credentials again and again is answered, whatever is shown."""
_PERSONAL = ("ghp_", "github_pat_")
_NEEDS = {
    "app_token": {"client_id", "secret_file", "token_file"},
    "app_grant": {"client_id", "secret_file", "token_file"},
    "installation": {"token_file"},
    "bulk": {"token_file"},
    "org_pat": {"org", "pat_id", "secret_file"},
}
_ANEW = {
    "app_token": "whoever it acted for signs in to the app again",
    "app_grant": "whoever it acted for lets the app in again",
    "installation": "the app makes a new token for its installation",
    "bulk": "its owner makes a new personal token",
    "org_pat": "its owner asks the organisation for a new fine-grained token",
}

GithubName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


class GithubSection(ActuatorSection):
    """Tokens of GitHub's."""

    kind: Literal["github"]
    way: Literal["app_token", "app_grant", "installation", "bulk", "org_pat"]
    """By which way they are revoked."""
    token_file: Secret | None = None
    """The target's own tokens, one a line: they are what is revoked, and what is tried."""
    client_id: GithubName | None = None
    """Of the app that gave the tokens out."""
    secret_file: Secret | None = None
    """The app's client secret; for `org_pat` a token of an app that may revoke there."""
    look_secret_file: Secret | None = None
    """For `org_pat`: a token of an app that may only list."""
    org: GithubName | None = None
    pat_id: Annotated[int, Field(gt=0)] | None = None
    """The number that the organisation's list gives the token."""
    api: Url = "https://api.github.com"
    """Of a server of one's own: https://HOST/api/v3."""
    ca_file: str | None = None

    LAYER = "credentials"
    SECRETS = frozenset({"token_file", "secret_file", "look_secret_file"})
    FILES = frozenset({"ca_file"})

    @model_validator(mode="after")
    def _has_what_its_way_needs(self) -> GithubSection:
        keys = ("token_file", "client_id", "secret_file", "org", "pat_id")
        given = {key for key in keys if getattr(self, key) is not None}
        if given != _NEEDS[self.way]:
            needs = ", ".join(sorted(_NEEDS[self.way]))
            raise ValueError(f"{self.way} needs {needs}, and none of the other ways' keys")
        if self.look_secret_file is not None and self.way != "org_pat":
            raise ValueError("look_secret_file is for org_pat: elsewhere the token itself is tried")
        return self

    def given(self, key: str, *, looks: bool) -> bool:
        """Give a look the app's secret only where it lists by it."""
        if looks and key == "secret_file" and self.way != "org_pat":
            return False
        return super().given(key, looks=looks)


class Github(Hand):
    """Revokes tokens at GitHub."""

    Settings = GithubSection
    settings: GithubSection

    def __init__(self, settings: GithubSection, context: Context) -> None:
        """Make it; nothing is sent yet."""
        super().__init__(settings, context)
        self._clock = SystemClock()
        said = {
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
            "user-agent": "offswitch",
        }
        self._line = Line(settings.api, headers=said, timeout_s=0.9, ca_file=settings.ca_file)
        secrets = context.secrets
        self._tokens = [one.strip() for one in secrets.get("token_file", "").split()][:_MOST]
        self._apart = "look_secret_file" in secrets
        self._secret = secrets.get("look_secret_file" if self._apart else "secret_file", "")
        self._refused_us: dict[str, int] = {}
        """When a credential was last refused by a 401 (CLOCK_MONOTONIC)."""
        self._accepted_us: int | None = None
        self._turn = Turned(self)

    def open(self) -> None:
        """Connect."""
        self._line.open()

    # --- speaking -------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, by: str | None, body: dict[str, Any] | None = None
    ) -> Answer:
        """Ask by a header `authorization`, or by none; a 401 of it is believed for a while."""
        now_us = self._clock.mono_us()
        refused_us = self._refused_us.get(by or "")
        if refused_us is not None and now_us - refused_us < _BELIEVED_US:
            return Answer(_UNAUTHORISED, b"", {})
        answer = self._line.ask(method, path, body, headers={"authorization": by} if by else None)
        if by is not None:
            if answer.status == _UNAUTHORISED:
                self._refused_us[by] = now_us
            elif answer.ok:
                self._refused_us.pop(by, None)
        return answer

    def _no(self, what: str, answer: Answer, hint: str = "") -> Trouble:
        said = unsaid(answer.text, [*self.context.secrets.values(), self._app.split()[1]])
        return Trouble(f"{self._line.place}: {what}: {answer.status} {said}".rstrip(), hint)

    @property
    def _app(self) -> str:
        """Show the app's name and secret, as GitHub wants them."""
        pair = f"{self.settings.client_id}:{self._secret}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _of_app(self, what: str) -> str:
        return f"/applications/{quote(self.settings.client_id or '', safe='')}/{what}"

    def _of_org(self, more: str = "") -> str:
        return f"/orgs/{quote(self.settings.org or '', safe='')}/personal-access-tokens{more}"

    # --- beforehand -----------------------------------------------------------------

    def arm(self) -> Readiness:
        """Ask what can be asked without revoking anything."""
        if self.settings.way == "org_pat":
            return self._arm_org()
        if not self._tokens:
            raise Trouble("there is no token in token_file")
        if self.context.role is Role.LOOK:
            return self._arm_look()
        match self.settings.way:
            case "installation":
                self._each_opens("/installation/repositories?per_page=1")
                return Readiness(
                    Ready.READY, "the installation's token is good, and revokes itself"
                )
            case "bulk":
                return self._arm_bulk()
        for token in self._tokens:
            asked = {"access_token": token}
            answer = self._ask("POST", self._of_app("token"), self._app, asked)
            if answer.status != _OK:
                hint = "the token was renewed, or the app's secret: see token_file and secret_file"
                raise self._no("it knows no such token of this app", answer, hint)
        return Readiness(Ready.READY, f"the app was told that {self._count} good")

    @property
    def _count(self) -> str:
        number = len(self._tokens)
        return "the token is" if number == 1 else f"{number} tokens are"

    def _each_opens(self, path: str) -> None:
        for token in self._tokens:
            answer = self._ask("GET", path, f"Bearer {token}")
            if answer.status != _OK:
                hint = "put what the target works by now into token_file"
                raise self._no("the target's token is refused already", answer, hint)
            self._turn.good(token, self._clock.mono_us())

    def _arm_bulk(self) -> Readiness:
        self._each_opens("/rate_limit")
        answer = self._ask("GET", "/rate_limit", None)
        left = _left(answer)
        if left is not None and left < 1:
            raise Trouble("no request without a credential is left this hour: 60 of this address")
        odd = [one for one in self._tokens if not one.startswith(_PERSONAL)]
        said = f"; {len(odd)} of them no personal token: GitHub may not take it" if odd else ""
        shown = f"{self._count} good; to revoke in bulk cannot be rehearsed{said}"
        return Readiness(Ready.DEGRADED, shown)

    def _arm_org(self) -> Readiness:
        if not self._listed():
            hint = "see pat_id in the organisation's list of fine-grained tokens"
            raise Trouble(f"{self.settings.org} lists no token {self.settings.pat_id}", hint)
        if self.context.role is Role.LOOK:
            if self._apart:
                return Readiness(Ready.READY, f"{self.settings.org} lists the token")
            return Readiness(Ready.DEGRADED, "looks by the credential that acts")
        shown = f"{self.settings.org} lists the token; whether we may revoke it cannot be rehearsed"
        return Readiness(Ready.DEGRADED, shown)

    def _arm_look(self) -> Readiness:
        self._each_opens("/rate_limit")
        return Readiness(Ready.READY, f"{self._count} good, and that is seen")

    # --- at the stop ----------------------------------------------------------------

    def trip(self, level: str) -> Acted:
        """Revoke, by one request a token; what is unknown already is as good."""
        del level
        match self.settings.way:
            case "bulk":
                return self._revoke_in_bulk()
            case "org_pat":
                path = self._of_org(f"/{self.settings.pat_id}")
                bearer = f"Bearer {self._secret}"
                said = [self._revoke("POST", path, bearer, {"action": "revoke"})]
            case "installation":
                bearers = [f"Bearer {token}" for token in self._tokens]
                said = self._each(
                    [partial(self._revoke, "DELETE", "/installation/token", one) for one in bearers]
                )
            case "app_token" | "app_grant":
                path = self._of_app(self.settings.way.removeprefix("app_"))
                asked = [{"access_token": token} for token in self._tokens]
                said = self._each(
                    [partial(self._revoke, "DELETE", path, self._app, one) for one in asked]
                )
        return Acted(f"GitHub: {', '.join(said)}")

    def _each(self, calls: Sequence[Callable[[], str]]) -> list[str]:
        """Make every call, one after the other; `Trouble` at the end where one was refused."""
        said: list[str] = []
        wrong: list[Trouble] = []
        for call in calls:
            try:
                said.append(call())
            except Trouble as trouble:
                wrong.append(trouble)
        if wrong:
            raise Trouble(troubles(wrong), f"{len(said)} of {len(calls)} are revoked")
        return said

    def _revoke(self, method: str, path: str, by: str, body: dict[str, Any] | None = None) -> str:
        self._refused_us.pop(by, None)
        answer = self._ask(method, path, by, body)
        itself = self.settings.way == "installation"
        if answer.status == _NO_CONTENT:
            return "revoked"
        if answer.status in {_UNKNOWN, _INVALID} or (itself and answer.status == _UNAUTHORISED):
            return f"known no more ({answer.status})"
        raise self._no("not revoked", answer)

    def _revoke_in_bulk(self) -> Acted:
        now_us = self._clock.mono_us()
        if self._accepted_us is not None and now_us - self._accepted_us < _BELIEVED_US:
            ago_s = (now_us - self._accepted_us) // 1_000_000
            return Acted(f"GitHub accepted it {ago_s} s ago and has its own time")
        answer = self._ask("POST", "/credentials/revoke", None, {"credentials": self._tokens})
        if answer.status != _ACCEPTED:
            raise self._no("not revoked", answer)
        self._accepted_us = now_us
        return Acted(f"GitHub accepted to revoke: {self._count} handed in")

    # --- afterwards -----------------------------------------------------------------

    def look(self) -> Sight:
        """Show each token; or read the organisation's list."""
        now_us = self._clock.mono_us()
        if self.settings.way == "org_pat":
            if self._listed():
                return Sight(False, f"{self.settings.org} still lists the token")
            doubt = self._turn.bad(_LIST, now_us)
            return Sight(None if doubt else True, f"{self.settings.org} lists it no more{doubt}")
        if not self._tokens:
            return Sight(None, "there is no token to try")
        locked_out = ""
        for token in self._tokens:
            answer = self._ask("GET", "/rate_limit", f"Bearer {token}")
            if answer.ok:
                self._turn.good(token, now_us)
                return Sight(False, f"a token still opens {self._line.place}")
            if answer.status in _LOCKED_OUT and self._turn.has(token):
                locked_out = f"; locked out meanwhile ({answer.status})"
            elif answer.status != _UNAUTHORISED:
                raise self._no("it cannot be told", answer)
            doubt = self._turn.bad(token, now_us)
            if doubt:
                return Sight(None, f"refused at {self._line.place} ({answer.status}){doubt}")
        refused = f"refused at {self._line.place} (401): {len(self._tokens)} of them"
        return Sight(True, refused + locked_out)

    def _listed(self) -> bool:
        """Tell whether the organisation lists the token; a list without an end is `Trouble`."""
        for page in range(1, _PAGES + 1):
            path = self._of_org(f"?per_page=100&page={page}")
            answer = self._ask("GET", path, f"Bearer {self._secret}")
            if answer.status != _OK:
                raise self._no("its tokens cannot be listed", answer)
            found = answer.json()
            if not isinstance(found, list):
                raise self._no("no list of tokens", answer)
            numbers = [one.get("id") for one in found if isinstance(one, dict)]
            if self.settings.pat_id in numbers:
                self._turn.good(_LIST, self._clock.mono_us())
                return True
            if 'rel="next"' not in answer.headers.get("link", ""):
                return False
        raise Trouble(f"{self.settings.org} has more than {_PAGES * 100} tokens")

    def release(self) -> Acted:
        """Give nothing back: a revoked token is never valid again."""
        anew = f"{self.settings.target}: {_ANEW[self.settings.way]}"
        if self.settings.token_file is not None:
            anew += "; put it into token_file"
        return Acted("nothing is given back", reissue=(anew,))

    def holds(self) -> tuple[str, ...]:
        """List the tokens by their sort."""
        if self.settings.way == "org_pat":
            return (f"GitHub fine-grained token {self.settings.pat_id} of {self.settings.org}",)
        return tuple(f"GitHub token {one.partition('_')[0][:10]}_…" for one in self._tokens)

    def route(self) -> Route:
        """Say what it rests on."""
        own = self.settings.secret_file or self.settings.token_file or ""
        if self.context.role is Role.LOOK:
            own = self.settings.look_secret_file or self.settings.token_file or own
        needs = () if self.settings.ca_file is None else (self.settings.ca_file,)
        return Route(self._line.transport, self._line.place, own, "GitHub", needs)

    def close(self) -> None:
        """Hang up."""
        self._line.close()


def _left(answer: Answer) -> int | None:
    """Tell how many requests are left this hour, where the answer says so."""
    try:
        found = answer.json()["resources"]["core"]["remaining"]
    except (Trouble, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None
