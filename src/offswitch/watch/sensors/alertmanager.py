"""Alertmanager: the alerts that a team already has, by its webhook (`watch.alerts`).

    firing, firing{alert="…"}, notified, notified{alert="…"}, truncated, …   (`alerts.board`)

Alertmanager says nothing while nothing is wrong. With `watchdog`, an alert that always fires and
is sent again at least every `expect_every`, its absence is a failure of the source; without it the
source is *listening*, and `status` says since when nothing has come.

    [[sensor]]
    name = "team"
    target = "shop/agent"
    kind = "alertmanager"
    listen = "127.0.0.1:9095"          # url: http://127.0.0.1:9095/hook/team
    token_file = "/etc/offswitch/team.token"
    alerts = ["HighErrorRate"]
    watchdog = "Watchdog"
    expect_every = "5m"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from offswitch.config.section import Text
from offswitch.watch.alerts.alertmanager import read_alertmanager
from offswitch.watch.alerts.board import AlertsSection, Board
from offswitch.watch.http.exchange import Answer, Door
from offswitch.watch.sensors.contract import Glance, Need, SensorContext, Signal

__all__ = ["Alertmanager", "AlertmanagerSection"]


class AlertmanagerSection(AlertsSection):
    """The keys of an Alertmanager sensor."""

    kind: Literal["alertmanager"]
    token_file: Text
    """A file with the token that Alertmanager must bring, mode 0600."""
    watchdog: Text | None = None
    """The alert that always fires; it wants `expect_every`, and is counted nowhere else."""

    @model_validator(mode="after")
    def _watchdog_is_due(self) -> Self:
        if self.watchdog is not None and self.expect_every is None:
            raise ValueError("a watchdog wants expect_every: how often it must come at the least")
        return self


class Alertmanager:
    """Takes in the notifications of an Alertmanager."""

    Settings: ClassVar[type[AlertmanagerSection]] = AlertmanagerSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.NETWORK})
    IMPLICIT: ClassVar[str] = ""
    IMPORTS: ClassVar[tuple[str, ...]] = ("h11",)

    def __init__(self, settings: AlertmanagerSection, context: SensorContext) -> None:
        """Open a door at `/hook/NAME` on the listener of `settings.listen`."""
        token = context.secrets.get("token_file", "")
        door = Door(frozenset({f"/hook/{settings.name}"}), token, lambda _request: Answer(503))
        watchdog = settings.watchdog or ""
        self._board = Board(settings, context, door, read_alertmanager, watchdog)

    def wake(self) -> Sequence[int]:
        """Whoever speaks wakes it."""
        return self._board.wake()

    def look(self) -> Glance:
        """Serve whoever speaks, and give what came."""
        return self._board.look()

    def close(self) -> None:
        """Close the door; may be called twice."""
        self._board.close()
