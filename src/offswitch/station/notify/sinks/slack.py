"""Slack: one message for each thread, which says *commanded* and turns into *confirmed*.

The first notice is posted; later ones change that message, and are said again below it, so that
whoever looks at the channel sees how it stands, and whoever opens the thread how it came to that.
"""

from __future__ import annotations

import json
from typing import Any

from offswitch.printable import printable
from offswitch.station.notify.message import blocks, fallback
from offswitch.station.notify.notice import Phase
from offswitch.station.notify.sinks.contract import Later, Never, Outgoing, Result, Sent
from offswitch.station.notify.sinks.http import Caller, Reply, outcome

__all__ = ["SlackSink"]

_GONE = {"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"}
_AGAIN = {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable"}
_WAITS = {"request_timeout", "team_added_to_org"}


class SlackSink:
    """One channel."""

    kind = "slack"

    def __init__(
        self, name: str, url: str, token: str, channel: str, caller: Caller, *, answers: bool
    ) -> None:
        """Speak in `channel` with a bot's token; `answers`: buttons there lead somewhere."""
        self.name = name
        self._url = url.rstrip("/")
        self._token = token
        self._channel = channel
        self._caller = caller
        self._answers = answers

    async def send(self, outgoing: Outgoing) -> Result:
        """Post it, or change what was posted and say it below."""
        notice, ref = outgoing.notice, outgoing.ref
        channel, _, ts = ref.partition(" ")
        shown = blocks(
            notice,
            outgoing.seen_by,
            buttons=self._answers and notice.phase is not Phase.CLOSE,
        )
        message = {"text": fallback(notice.page), "blocks": shown}
        if not ts:
            return await self._posted(message)
        said = await self._call("chat.update", {"channel": channel, "ts": ts, **message})
        if isinstance(said, Never) and said.why in _GONE:
            return await self._posted(message)
        if not isinstance(said, dict):
            return said
        words = printable(f"{notice.state}: {notice.page.headline}", 300)
        if notice.phase is Phase.SEEN:
            words = printable(f"acknowledged by {outgoing.seen_by}", 300)
        if outgoing.called:
            words = printable(f"{outgoing.called} is called: {words}", 300)
        below = {"type": "plain_text", "text": words, "emoji": False}
        escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        reply = {"text": escaped, "blocks": [{"type": "section", "text": below}]}
        replied = await self._call(
            "chat.postMessage", {"channel": channel, "thread_ts": ts, **reply}
        )
        return Sent(ref) if isinstance(replied, dict) else replied

    async def _posted(self, message: dict[str, Any]) -> Result:
        said = await self._call("chat.postMessage", {"channel": self._channel, **message})
        if not isinstance(said, dict):
            return said
        return Sent(f"{said.get('channel') or self._channel} {said.get('ts', '')}".strip())

    async def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any] | Later | Never:
        quiet = {"parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}
        whole = {**body, **(quiet if method == "chat.postMessage" else {"parse": "none"})}
        headers = {
            "content-type": "application/json; charset=utf-8",
            "authorization": f"Bearer {self._token}",
            "user-agent": "offswitch",
        }
        reply = await self._caller.post(
            f"{self._url}/{method}", json.dumps(whole).encode(), headers
        )
        result = outcome(reply)
        if not isinstance(result, Sent) or not isinstance(reply, Reply):
            return result if isinstance(result, Later | Never) else Later("no answer")
        try:
            said = json.loads(reply.body)
        except (ValueError, RecursionError):
            return Later("its answer is not JSON")
        if isinstance(said, dict) and said.get("ok") is True:
            return said
        why = printable(said.get("error") if isinstance(said, dict) else "no object", 80)
        return Later(why, reply.after_us) if why in _AGAIN | _WAITS else Never(why)

    async def close(self) -> None:
        """Hang up."""
        await self._caller.close()
