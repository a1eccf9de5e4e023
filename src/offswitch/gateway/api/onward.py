"""How a request that may go on is sent on, and what its answer passes through on its way back.

    the client wants a stream   calls judged: a `Holder`; else nothing stands in the way
    it wants the whole answer   the route puts together: a stream is asked for, an `Assembler`
                                calls judged, without that: an `Assembler` too, which judges what
                                comes whole

A body is rewritten by putting a word in where that is all, so a large one is not written anew. What
a server only gives whole is not asked for as a stream: an answer in the background, the best of
several, beam search, log-probabilities of the prompt, spoken words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from offswitch.gateway.api import strict
from offswitch.gateway.api.calls.holder import Holder
from offswitch.gateway.api.offers import REMOVE
from offswitch.gateway.api.verdicts import Judges, judges_calls
from offswitch.gateway.api.whole.assembler import Assembler
from offswitch.gateway.exchange import (
    Asked,
    Cause,
    Filter,
    Held,
    Pass,
    Reply,
    Rewritten,
    Shape,
    Steward,
    Verdict,
    Why,
)
from offswitch.gateway.plan.route import EvidenceKind, Route, Step

__all__ = ["PASS", "onward"]

PASS = Pass()
Said = Mapping[str, object]

_IN_WORDS = frozenset((Shape.CHAT, Shape.COMPLETION, Shape.RESPONSES, Shape.MESSAGES))
_CALLING = frozenset((Shape.CHAT, Shape.RESPONSES, Shape.MESSAGES))
_COUNTED = frozenset((Shape.CHAT, Shape.COMPLETION))
_TOOL_STEPS = frozenset((Step.TOOLS, Step.WRITES))
_STREAM = re.compile(rb'"stream"(\s*:\s*)(?:false|null)')


def onward(
    steward: Steward,
    judges: Judges,
    asked: Asked,
    body: bytes,
    changes: Mapping[str, object],
    route: Route,
    held: Held,
) -> Verdict:
    """Send a request on, with the changes that the measures made."""
    verdict = _onward(steward, judges, asked, body, changes, route, held)
    if isinstance(verdict, Reply) or not _tells_progress(asked, route):
        return verdict
    word = b'"return_progress":true,'
    if isinstance(verdict, Rewritten):
        return replace(verdict, body=_put_in(verdict.body, word))
    return Rewritten(_put_in(body, word), verdict.filter, follow=verdict.follow)


def _onward(
    steward: Steward,
    judges: Judges,
    asked: Asked,
    body: bytes,
    changes: Mapping[str, object],
    route: Route,
    held: Held,
) -> Pass | Rewritten | Reply:
    judged = asked.shape in _CALLING and (
        judges_calls(route) or (bool(asked.tools) and not _TOOL_STEPS.isdisjoint(held.steps))
    )
    whole = asked.shape in _IN_WORDS and not asked.stream
    streamed = whole and route.reassemble and _can_stream(cast("Said", asked.body))
    if not judged and not streamed:
        return Rewritten(_written(asked, changes)) if changes else PASS
    judge = judges(route, held) if judged else None

    def refuse(text: str) -> Reply:
        return steward.refusal(asked, Why(Cause.UPSTREAM, route.target, None, text))

    through: Filter
    if whole or judge is None:
        through = Assembler(asked.shape, refuse, judge)
    else:

        def ending(text: str) -> bytes:
            return steward.ending(asked, Why(Cause.UPSTREAM, route.target, None, text))

        through = Holder(asked.shape, judge, refuse, ending)
    if streamed:
        body = _as_stream(asked, body, changes)
    elif changes:
        body = _written(asked, changes)
    return Rewritten(body, through)


def _can_stream(said: Said) -> bool:
    if any(said.get(name) for name in ("background", "use_beam_search", "kv_transfer_params")):
        return False
    modalities, best = said.get("modalities"), said.get("best_of")
    return not (
        said.get("prompt_logprobs") is not None
        or (type(modalities) is list and "audio" in modalities)
        or (type(best) is int and best > 1)
    )


def _written(asked: Asked, changes: Mapping[str, object]) -> bytes:
    said = {**cast("Said", asked.body), **changes}
    return strict.dump({name: value for name, value in said.items() if value is not REMOVE})


def _as_stream(asked: Asked, body: bytes, changes: Mapping[str, object]) -> bytes:
    """Ask for a stream, with its usage where an API leaves that out unless asked."""
    said = cast("Said", asked.body)
    word = b""
    more: dict[str, object] = {"stream": True}
    if asked.shape in _COUNTED:
        options = said.get("stream_options")
        kept = options if type(options) is dict else {}
        more["stream_options"] = {**kept, "include_usage": True}
        word = b'"stream_options":{"include_usage":true},'
    anew = _written(asked, {**changes, **more}) if changes or "stream_options" in said else b""
    if anew or not said:
        return anew or strict.dump(more)
    if "stream" not in said:
        word += b'"stream":true,'
    else:
        # Its only mention is the one to change, unless one lies deeper or is written with escapes.
        mentions = body.count(b'"stream"')
        body, found = _STREAM.subn(rb'"stream"\1true', body)
        if found != 1 or mentions != 1 or b"\\u00" in body:
            return _written(asked, more)
    return _put_in(body, word)


def _put_in(body: bytes, word: bytes) -> bytes:
    """Put a word in at the front of an object that holds something already."""
    at = body.index(b"{") + 1
    return body[:at] + word + body[at:]


def _tells_progress(asked: Asked, route: Route) -> bool:
    """Tell whether a llama.cpp is to say how far it has come in reading a prompt.

    It sees that a connection is closed when it has something to send, else once a second: while a
    long prompt is read it would go on for so long. Official clients pass such an event by.
    """
    if route.evidence.kind is not EvidenceKind.LLAMA_CPP or asked.shape not in _COUNTED:
        return False
    said = cast("Said", asked.body)
    streams = asked.stream or (route.reassemble and _can_stream(said))
    return streams and bool(said) and "return_progress" not in said
