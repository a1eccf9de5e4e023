"""One call out, by HTTP, with a deadline over all of it; what it comes to is one of three answers.

The checks of certificates are prepared while their files can be read. No redirect is followed, no
proxy of the environment is asked, no cookie kept. Of an answer at most 64 KiB are read. What an
exception says is not passed on: it may hold the address, and in that a secret.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx2

from offswitch.station.notify.sinks.contract import Later, Never, Result, Sent

__all__ = ["Caller", "Reply", "outcome"]

DEADLINE_S = 10.0
_MOST_BYTES = 64 << 10
_PATIENT = {408, 409, 425, 429}
_LONGEST_WAIT_US = 3_600_000_000


class Reply:
    """What a server has answered."""

    __slots__ = ("after_us", "body", "status")

    def __init__(self, status: int, body: bytes, after_us: int) -> None:
        """Keep it."""
        self.status = status
        self.body = body
        self.after_us = after_us


class Caller:
    """Calls servers; one for each way, so that none shares connections with another."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        """Check certificates by `tls`."""
        self._tls = tls
        self._client: httpx2.AsyncClient | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply | Later:
        """Send a body; gives the answer, or why there was none."""
        if self._client is None:
            self._client = httpx2.AsyncClient(
                verify=self._tls,
                timeout=httpx2.Timeout(DEADLINE_S, connect=DEADLINE_S / 2),
                trust_env=False,
                follow_redirects=False,
            )
        try:
            return await asyncio.wait_for(self._post(url, body, headers), DEADLINE_S)
        except TimeoutError:
            return Later(f"no answer within {DEADLINE_S:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Later(f"it cannot be reached: {type(error).__name__}")

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        assert self._client is not None  # noqa: S101 - made by the only caller
        async with self._client.stream("POST", url, content=body, headers=headers) as answer:
            read = b""
            async for chunk in answer.aiter_bytes():
                read += chunk
                if len(read) > _MOST_BYTES:
                    break
            return Reply(
                answer.status_code, read[:_MOST_BYTES], _after(answer.headers.get("retry-after"))
            )

    async def close(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def outcome(reply: Reply | Later) -> Result:
    """Say what an answer's status means."""
    if isinstance(reply, Later):
        return reply
    if 200 <= reply.status < 300:  # noqa: PLR2004 - HTTP's
        return Sent()
    why = f"it answers {reply.status}"
    if reply.status in _PATIENT or reply.status >= 500:  # noqa: PLR2004 - HTTP's
        return Later(why, reply.after_us)
    return Never(why)


def _after(text: str | None) -> int:
    """Read how long a server asks to be left alone, in seconds; a date counts as nothing."""
    if text is None or not (text.isascii() and text.isdecimal()):
        return 0
    return min(int(text[:9]) * 1_000_000, _LONGEST_WAIT_US)
