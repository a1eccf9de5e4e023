"""Webhooks: the alerts of whatever a team has, by a preset or by a mapping of its own.

    firing, firing{alert="…"}, notified, notified{alert="…",user="…"}, value{alert="…"}, …

Presets are those of `alerts.presets`; a mapping says by JSON pointers where things stand
(`alerts.mapping`). Whoever sends brings the token, as bearer or as the password of basic
authentication, or signs (`alerts.signature`). Nothing that is sent is followed or fetched.

    [[sensor]]
    name = "abuse"
    target = "shop/agent"
    kind = "webhook"
    listen = "127.0.0.1:9095"          # http://127.0.0.1:9095/hook/abuse
    token_file = "/etc/offswitch/abuse.token"
    map = { name = "/rule", state = "/status", value = "/score", labels = { user = "/user" } }
    alerts = ["prompt-injection"]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from offswitch.config.section import Text
from offswitch.watch.alerts.board import AlertsSection, Board, Notification, Refused
from offswitch.watch.alerts.mapping import MapSection
from offswitch.watch.alerts.presets import PRESETS, PresetName, read_mapped
from offswitch.watch.alerts.signature import HEADERS, signed
from offswitch.watch.http.exchange import Answer, Door, Request
from offswitch.watch.sensors.contract import Glance, Need, SensorContext, Signal

__all__ = ["Webhook", "WebhookSection"]


class WebhookSection(AlertsSection):
    """The keys of a webhook sensor."""

    kind: Literal["webhook"]
    preset: PresetName | None = None
    """A sender that is known."""
    map: MapSection | None = None
    """Where things stand, for a sender that is not."""
    token_file: Text | None = None
    """A file with the token that the sender must bring, mode 0600."""
    secret_file: Text | None = None
    """A file with the secret that the sender signs with, mode 0600."""
    signature: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,60}$")
    """The header of the signature; the preset's own unless given."""
    signed_time: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,60}$")
    """The header of the time that is signed, too; then a copy is refused after five minutes."""
    signal: Literal["metrics", "logs", "tools", "model", "data"] = "metrics"
    """As which kind of signal `status` shows how fresh it is."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"token_file", "secret_file"})

    @property
    def signature_header(self) -> str:
        """The header of the signature, in lower case; empty: none is known."""
        return (self.signature or HEADERS.get(self.preset or "", "")).lower()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.preset is None) == (self.map is None):
            raise ValueError(f"give a preset ({', '.join(PRESETS)}) or a map, and not both")
        if self.token_file is None and self.secret_file is None:
            raise ValueError("a sender must prove who it is: give token_file or secret_file")
        if self.secret_file is not None and not self.signature_header:
            raise ValueError("name the header of the signature: signature = …")
        return self


class Webhook:
    """Takes in what one sender says."""

    Settings: ClassVar[type[WebhookSection]] = WebhookSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.NETWORK})
    IMPLICIT: ClassVar[str] = ""
    IMPORTS: ClassVar[tuple[str, ...]] = ("h11",)

    def __init__(self, settings: WebhookSection, context: SensorContext) -> None:
        """Open a door at `/hook/NAME` on the listener of `settings.listen`."""
        self._settings = settings
        self._clock = context.clock
        self._secret = context.secrets.get("secret_file", "")
        door = Door(
            frozenset({f"/hook/{settings.name}"}),
            context.secrets.get("token_file", ""),
            lambda _request: Answer(503),
            signed_by=settings.signature_header if self._secret else "",
        )
        self._door = door
        self._board = Board(settings, context, door, self._read)

    def wake(self) -> Sequence[int]:
        """Whoever speaks wakes it."""
        return self._board.wake()

    def look(self) -> Glance:
        """Serve whoever speaks, and give what came."""
        return self._board.look()

    def close(self) -> None:
        """Close the door; may be called twice."""
        self._board.close()

    def _read(self, request: Request) -> Notification:
        # A token was looked at before the body was read; without one the signature must be right.
        if self._secret:
            header, time = self._door.signed_by, (self._settings.signed_time or "").lower()
            if not signed(request, self._secret, header, time, self._clock.wall_us()):
                raise Refused("the signature is not right")
        document = json.loads(request.body)
        if self._settings.map is not None:
            return read_mapped(self._settings.map, document)
        return PRESETS[self._settings.preset or ""](document, request.head)
