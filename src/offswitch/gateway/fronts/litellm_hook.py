"""LiteLLM's proxy asks the page: a hook before each call, and at each chunk of a stream.

    litellm_settings:                    # in LiteLLM's configuration
      callbacks: litellm_hook.hook       # this file lies beside it, or offswitch is installed there
    OFFSWITCH_FRONT=/run/offswitch/litellm.json litellm --config …

One file, standard library only, so that it can be copied into LiteLLM's environment; it never
imports LiteLLM, but takes the base class that LiteLLM asks for from what is loaded already.
`offswitch gateway adapter litellm` writes the file that OFFSWITCH_FRONT names: where the page lies,
and which word belongs to which model.

It is cooperative: LiteLLM runs it, so it is listed and never counted as *confirmed*. A stream that
is silent is cut at its next chunk only. What is wrong, a missing file, a stale page, a word that
nobody has, refuses. To be cut at once, let LiteLLM's `api_base` be our gateway.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

__all__ = ["Front", "Stopped", "make"]

_MAGIC, _SIZE = b"OFFSWPG1", 1 << 20
_FIRST_WORD, _LEASE_SECONDS = 16, 8
_RUN, _RESTRICT, _DRAIN = 1, 2, 3
_AGAIN_S = 1.0


class Stopped(Exception):
    """The target is stopped; LiteLLM answers with this status and these words."""

    status_code = 503

    def __init__(self, target: str, why: str) -> None:
        """Say of which target, and why."""
        self.message = f"{target or 'everything here'} {why} (offswitch status)"
        self.detail = {"error": {"message": self.message, "type": "offswitch", "code": "stopped"}}
        self.type, self.param, self.code = "offswitch", None, "stopped"
        self.headers = {"x-should-retry": "false"}
        super().__init__(self.message)


class Front:
    """What `offswitch gateway adapter litellm` wrote, and the page that it names."""

    def __init__(self, path: str) -> None:
        """Nothing is read before it is asked for."""
        self._path = path
        self._read = 0.0
        self._words: Any = None
        self._seconds: Any = None
        self._slots: dict[str, int] = {}
        self._models: dict[str, str] = {}
        self._usual = ""

    def target(self, model: str) -> str:
        """Give the target that a model belongs to."""
        self._load()
        return self._models.get(model, self._usual)

    def word(self, target: str) -> int:
        """Give a target's word, 0 for whatever is wrong: that is a stop."""
        self._load()
        slot = self._slots.get(target)
        if slot is None or self._words is None or not self._vouched:
            return 0
        return int(self._words[_FIRST_WORD + slot])

    @property
    def _vouched(self) -> bool:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return self._seconds is not None and now < self._seconds[_LEASE_SECONDS]

    def _load(self) -> None:
        """Read it once, and again each second for as long as nobody vouches for the page."""
        now = time.monotonic()
        if self._vouched or now - self._read < _AGAIN_S:
            return
        self._read = now
        try:
            with open(self._path, encoding="utf-8") as file:
                said = json.load(file)
            fd = os.open(said["page"], os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.fstat(fd).st_size < _SIZE or os.pread(fd, 8, 0) != _MAGIC:
                    return
                view = memoryview(mmap.mmap(fd, _SIZE, mmap.MAP_SHARED, mmap.PROT_READ))
            finally:
                os.close(fd)
            slots = {str(name): int(slot) for name, slot in said["slots"].items()}
            if not all(0 <= slot < _SIZE // 8 - _FIRST_WORD for slot in slots.values()):
                return
            models = {str(model): str(target) for model, target in said["models"].items()}
            usual = str(said["usual"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # as it was: stale, or never seen, and both refuse
        self._words, self._seconds = view.cast("Q"), view.cast("d")
        self._slots, self._models, self._usual = slots, models, usual

    def check(self, model: object, *, begun: bool) -> None:
        """Raise `Stopped` where a call may not begin, or one that has begun may not go on."""
        target = self.target(model if isinstance(model, str) else "")
        word = self.word(target)
        if word in {_RUN, _RESTRICT} or (begun and word == _DRAIN):
            return
        raise Stopped(target, "is stopped" if word else "has nobody who vouches for it: stopped")


def make(path: str = "") -> Any:  # noqa: ANN401 - an object of LiteLLM's own kind
    """Make the hook; LiteLLM's base class is taken from what it has loaded itself."""
    loaded = sys.modules.get("litellm.integrations.custom_logger")
    base: Any = getattr(loaded, "CustomLogger", object)
    front = Front(path or os.environ.get("OFFSWITCH_FRONT", ""))

    class Hook(base):  # type: ignore[misc]
        """Asks before each call, and at each chunk."""

        async def async_pre_call_hook(
            self,
            user_api_key_dict: Any,  # noqa: ANN401, ARG002
            cache: Any,  # noqa: ANN401, ARG002
            data: dict[str, Any],
            call_type: str,  # noqa: ARG002
        ) -> dict[str, Any]:
            """Refuse a call whose model's target is stopped."""
            front.check(data.get("model"), begun=False)
            return data

        async def async_post_call_streaming_iterator_hook(
            self,
            user_api_key_dict: Any,  # noqa: ANN401, ARG002
            response: Any,  # noqa: ANN401
            request_data: dict[str, Any],
        ) -> AsyncIterator[Any]:
            """End a stream at its next chunk once its target is stopped."""
            model = request_data.get("model")
            async for chunk in response:
                front.check(model, begun=True)
                yield chunk

    return Hook()


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Make `hook` when LiteLLM asks for it: by then its base class is there."""
    if name != "hook":
        raise AttributeError(name)
    made = globals()["hook"] = make()
    return made
