"""Whatever apprise knows: mail, SMS, Matrix, Teams and a hundred others (extra `notify`).

Apprise calls out by itself and blocks, so it does that in a thread of its own, which nobody waits
for beyond the deadline. While one hangs, nothing more is given to it. Text is handed over as text:
apprise escapes it where a service wants HTML or Markdown.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from offswitch.errors import BadConfig
from offswitch.printable import printable
from offswitch.station.notify.message import text
from offswitch.station.notify.notice import Notice, Phase
from offswitch.station.notify.sinks.contract import Later, Outgoing, Result, Sent

__all__ = ["AppriseSink", "apprise_of"]

_DEADLINE_S = 20.0
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def apprise_of(urls: str) -> Any:  # noqa: ANN401 - a third party's, and optional
    """Make what sends to these URLs, one a line; while its code can be read."""
    try:
        import apprise  # noqa: PLC0415 - an extra that nobody may have asked for
    except ImportError:
        raise BadConfig("apprise is not here", "pip install 'offswitch[notify]'") from None
    if os.path.exists(_CERTIFICATES):
        # Its own copy may lie where it cannot be read any more once rights are given away.
        os.environ.setdefault("REQUESTS_CA_BUNDLE", _CERTIFICATES)
    made = apprise.Apprise()
    for line in urls.splitlines():
        url = line.strip()
        if url and not url.startswith("#") and not made.add(url):
            raise BadConfig("apprise does not know one of the URLs", "see its list of services")
    if not len(made):
        raise BadConfig("no URL stands in the file", "one a line, as apprise has them")
    return made


class AppriseSink:
    """All services of one file."""

    kind = "apprise"

    def __init__(self, name: str, apprise: Any) -> None:  # noqa: ANN401 - a third party's
        """Send by `apprise`, made by `apprise_of`."""
        self.name = name
        self._apprise = apprise
        self._busy: threading.Thread | None = None

    async def send(self, outgoing: Outgoing) -> Result:
        """Send it from a thread; one that hangs is not waited for."""
        if self._busy is not None and self._busy.is_alive():
            return Later("apprise still hangs in an earlier try")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def settle(result: bool) -> None:  # noqa: FBT001 - what apprise gives
            if not done.done():
                done.set_result(result)

        def work() -> None:
            sent = False
            try:
                sent = bool(self._notify(outgoing))
            except Exception:  # noqa: BLE001 - a third party's plugin: it failed, whatever it was
                sent = False
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, sent)

        self._busy = threading.Thread(target=work, daemon=True, name=f"notify-{self.name}")
        self._busy.start()
        try:
            sent = await asyncio.wait_for(done, _DEADLINE_S)
        except TimeoutError:
            return Later(f"apprise is not done within {_DEADLINE_S:g} s")
        return Sent() if sent else Later("apprise could not deliver it everywhere")

    def _notify(self, outgoing: Outgoing) -> object:
        notice = outgoing.notice
        called = f"Called: {printable(outgoing.called)}\n" if outgoing.called else ""
        lead = f"Lead: {printable(outgoing.lead)}\n" if outgoing.lead else ""
        send: Callable[..., object] = self._apprise.notify
        return send(
            title=printable(notice.page.headline, 200),
            body=f"{called}{lead}{text(notice.page)}",
            notify_type=_type(notice),
            body_format="text",
        )

    async def close(self) -> None:
        """Nothing is held."""


def _type(notice: Notice) -> str:
    if notice.phase in {Phase.CLOSE, Phase.SEEN}:
        return "success"
    return "failure" if notice.urgent else "warning"
