"""A signed message to whoever can stop what we cannot: a relay's controller, a broker, a vault.

    offswitch.probe     "answer with this nonce, signed by the key that we share"       (arm)
    offswitch.stop      target, layer, level, the safe state that is wanted             (trip)
    offswitch.release   the reset was done; start nothing by it                         (release)

Each is `{"type", "timestamp", "data": {…}}`, signed as Standard Webhooks has it (`model.webhook`).
A receiver checks the signature, refuses what is older than five minutes, drops an id that it had,
obeys a stop as often as it is told, and answers 2xx when it has acted. A probe it answers with
`{"nonce": …}` and, for *ready*, with a `webhook-signature` of its own over `id.timestamp.answer`,
id and timestamp being those of the probe: then it is who has the key, and still has it.

Nothing that it answers is believed. What was stopped is seen at `look_url`, a page of JSON that
says how things are, by values that must stand there:

    look_is = { "/axis/brake" = "on", "/axis/rpm" = 0 }

With a `safe_state` and nothing else said it is `{ "/state" = safe_state }` (ACT-10). Layers whose
effect is a credential or a right to data are never told of a release (RST-8).
"""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.http import Answer, Line
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import SystemClock, new_nonce
from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection, Text
from offswitch.config.url import Url
from offswitch.model.webhook import signed_by, signed_headers
from offswitch.printable import printable

__all__ = ["Webhook", "WebhookSection"]

_MOST = 50
_NEVER_BACK = frozenset({"credentials", "data"})
_TIMEOUT_S = 0.9


def _pointer(value: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
    return {name if name.startswith("/") else f"/{name}": kept for name, kept in value.items()}


Values = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=400)], str | int | float | bool],
    AfterValidator(_pointer),
    Field(min_length=1, max_length=20),
]
"""JSON pointers (RFC 6901), or plain names of the first level, and what must stand there."""


class WebhookSection(ActuatorSection):
    """Somebody who is told by a signed message."""

    kind: Literal["webhook"]
    url: Url
    key_file: Secret
    """What messages are signed with, by HMAC-SHA-256."""
    as_layer: Literal[
        "credentials", "data", "tools", "serving", "container", "scheduler", "gpu", "relay"
    ] = "credentials"
    """Of which layer it is: what is out of effect after a stop. (`power` is no matter of a message:
    no kill may take a machine along, SR-10.)"""
    body: dict[str, Text] = Field(default_factory=dict, max_length=20)
    """Further fields of `data`; in them `{target}`, `{level}`, `{event}`, `{safe_state}` are filled
    in."""
    safe_state: Text | None = None
    """In which state what it commands has to be left."""
    look_url: Url | None = None
    """Where to see how things are; without one a stop by this is never confirmed."""
    look_is: Values | None = None
    """What must stand there."""
    look_key_file: Secret | None = None
    """Shown there as a bearer token."""
    ca_file: str | None = None

    SECRETS = frozenset({"key_file", "look_key_file"})
    FILES = frozenset({"ca_file"})

    @model_validator(mode="after")
    def _can_be_seen(self) -> WebhookSection:
        if self.look_url is None and (self.look_is is not None or self.look_key_file is not None):
            raise ValueError("look_is and look_key_file need look_url")
        if self.look_url is not None and self.wanted() is None:
            raise ValueError("look_url needs look_is, or a safe_state: what must stand there?")
        return self

    def layer(self) -> str:
        """Name the layer that it is of."""
        return self.as_layer

    def given(self, key: str, *, looks: bool) -> bool:
        """Give no look the key that signs."""
        return super().given(key, looks=looks) and not (looks and key == "key_file")

    def wanted(self) -> dict[str, str | int | float | bool] | None:
        """Give what must stand at `look_url` once it is stopped."""
        if self.look_is is None and self.safe_state is not None:
            return {"/state": self.safe_state}
        return self.look_is


class Webhook(Hand):
    """Tells somebody to stop, and looks whether they did."""

    Settings = WebhookSection
    settings: WebhookSection

    def __init__(self, settings: WebhookSection, context: Context) -> None:
        """Make it; nothing is sent yet."""
        super().__init__(settings, context)
        self._clock = SystemClock()
        self._key = context.secrets.get("key_file", "")
        self._line, self._path = _line(settings.url, settings.ca_file)
        self._look: tuple[Line, str] | None = None
        if settings.look_url is not None:
            self._look = _line(settings.look_url, settings.ca_file)

    def open(self) -> None:
        """Connect to whom this instance speaks with."""
        if self.context.role is Role.ACT:
            self._line.open()
        elif self._look is not None:
            self._look[0].open()

    def arm(self) -> Readiness:
        """Have a probe answered; in the role *look*, see that it is not stopped."""
        if self.context.role is Role.LOOK:
            return self._arm_look()
        nonce = new_nonce()
        message_id, time_s, answer = self._send("probe", {"nonce": nonce})
        found = _answered(answer)
        if found.get("nonce") != nonce:
            hint = 'answer offswitch.probe with {"nonce": …}, the one that it bears'
            raise Trouble(f"{self._line.place} took a probe and did not answer it", hint)
        shown = answer.headers.get("webhook-signature", "")
        if not shown:
            said = "it answers probes unsigned: whoever is on the way could"
            return Readiness(Ready.DEGRADED, said)
        if not signed_by(self._key, message_id, time_s, answer.body, shown):
            hint = "see which key the receiver has, and that it signs id.timestamp.answer"
            raise Trouble(f"{self._line.place} answers a probe by another key", hint)
        return Readiness(Ready.READY, f"{self._line.place} answered a probe, signed by our key")

    def _arm_look(self) -> Readiness:
        if self._look is None:
            return Readiness(Ready.ABSENT, "no look_url: a stop by this is never confirmed")
        sight = self.look()
        if sight.stands:
            said = f"it is as after a stop already, so no look would tell: {sight.detail}"
            return Readiness(Ready.DEGRADED, said)
        return Readiness(Ready.READY, sight.detail)

    def trip(self, level: str) -> Acted:
        """Tell it to stop."""
        _, _, answer = self._send("stop", {}, level)
        found = _answered(answer)
        happened = _lines(found.get("happened"))
        detail = found.get("detail")
        said = f"; it says: {self._unsaid(detail)}" if isinstance(detail, str) else ""
        told = f"{self._line.place} was told ({answer.status})"
        return Acted(told + said, tuple(self._unsaid(one) for one in happened))

    def look(self) -> Sight:
        """Read what stands at `look_url`."""
        wanted = self.settings.wanted()
        if self._look is None or wanted is None:
            return Sight(None, "no look_url: nobody looks")
        line, path = self._look
        token = self.context.secrets.get("look_key_file")
        said = {"accept": "application/json", "cache-control": "no-store"}
        if token is not None:
            said["authorization"] = f"Bearer {token}"
        answer = line.ask("GET", path, headers=said)
        if not answer.ok:
            raise Trouble(f"{line.place}: {answer.status} {self._unsaid(answer.text)}")
        page = answer.json()
        for pointer, value in wanted.items():
            found = _at(page, pointer)
            if not _same(found, value):
                shown = self._unsaid(json.dumps(found), 80)
                return Sight(False, f"{printable(pointer, 80)} is {shown}, not {json.dumps(value)}")
        stands = ", ".join(f"{name} is {json.dumps(value)}" for name, value in wanted.items())
        return Sight(True, printable(stands, 300))

    def release(self) -> Acted:
        """Tell it of the reset, unless it holds what is never given back."""
        of, where = self.settings.as_layer, self._line.place
        if of in _NEVER_BACK:
            what = f"{of} of {self.settings.target} behind {where}: they have to be issued anew"
            return Acted("nothing is given back", reissue=(what,))
        _, _, answer = self._send("release", {})
        anew = tuple(self._unsaid(one) for one in _lines(_answered(answer).get("reissue")))
        return Acted(f"{where} was told of the reset ({answer.status})", reissue=anew)

    def route(self) -> Route:
        """Say what it rests on."""
        needs = () if self.settings.ca_file is None else (self.settings.ca_file,)
        if self.context.role is Role.LOOK and self._look is not None:
            line = self._look[0]
            by = self.settings.look_key_file or "none"
            return Route(line.transport, line.place, by, "its own account", needs)
        line, by = self._line, self.settings.key_file
        return Route(line.transport, line.place, by, "whoever answers there", needs)

    def close(self) -> None:
        """Hang up."""
        self._line.close()
        if self._look is not None:
            self._look[0].close()

    # --- speaking -------------------------------------------------------------------

    def _send(self, event: str, more: dict[str, Any], level: str = "") -> tuple[str, int, Answer]:
        """Send one event; give its id and time, and the answer, which is a 2xx."""
        settings = self.settings
        filled = {
            "target": settings.target,
            "level": level,
            "event": event,
            "safe_state": settings.safe_state or "",
        }
        data: dict[str, Any] = {name: _filled(text, filled) for name, text in settings.body.items()}
        data |= {"actuator": settings.name, "target": settings.target, "layer": settings.as_layer}
        data |= {name: filled[name] for name in ("level", "safe_state") if filled[name]} | more
        time_s = self._clock.wall_us() // 1_000_000
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
        said = {"type": f"offswitch.{event}", "timestamp": at, "data": data}
        body = json.dumps(said, separators=(",", ":")).encode()
        message_id = f"msg-{event}-{new_nonce()}"
        headers = {
            "content-type": "application/json",
            "user-agent": "offswitch",
            **signed_headers(self._key, message_id, time_s, body),
        }
        answer = self._line.ask("POST", self._path, body, headers=headers)
        if not answer.ok:
            place = self._line.place
            raise Trouble(f"{place} refused {event}: {answer.status} {self._unsaid(answer.text)}")
        return message_id, time_s, answer

    def _unsaid(self, text: object, limit: int = 200) -> str:
        return unsaid(text, self.context.secrets.values(), limit)


def _line(url: str, ca_file: str | None) -> tuple[Line, str]:
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    line = Line(f"{parts.scheme}://{parts.netloc}", timeout_s=_TIMEOUT_S, ca_file=ca_file)
    return line, (parts.path or "/") + query


def _filled(text: str, filled: dict[str, str]) -> str:
    for name, value in filled.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _answered(answer: Answer) -> dict[str, Any]:
    """Give what was answered, if it is an object; else an empty one."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(found: object) -> list[str]:
    return [str(one) for one in found[:_MOST]] if isinstance(found, list) else []


def _same(found: object, value: str | float | bool) -> bool:  # noqa: FBT001 - a JSON value
    """Compare as JSON does: 0 and 0.0 are one number, and neither is false."""
    return isinstance(found, bool) is isinstance(value, bool) and found == value


def _at(page: Any, pointer: str) -> Any:  # noqa: ANN401 - JSON
    """Give what stands at a JSON pointer; `Trouble` where there is no such place."""
    here = page
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            here = here[int(name)] if isinstance(here, list) else here[name]
        except (KeyError, IndexError, ValueError, TypeError):
            hint = "see look_is, and what look_url answers"
            raise Trouble(f"there is no {printable(pointer, 80)} at look_url", hint) from None
    return here
