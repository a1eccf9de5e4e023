"""`POST /hooks/slack`: `/offswitch stop SCOPE`, `/offswitch status`, and the buttons of a message.

    signed by Slack, of now, and for the first time       else refused, and recorded
    by a Slack user who is somebody here                  the configuration's `people`
    who may do that                                       their role, as on the console

A stop from here is a stop: at once, without a question, by `person:NAME` over the channel `chat`.
There is no reset, start or answer from here, whoever asks: a chat account is not a person. What
comes back into the chat is plain text, whatever a target is called.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request

from offswitch.decide.roles import Power, Role, powers
from offswitch.errors import NotFound, OffswitchError, Refused, Usage
from offswitch.model.level import parse_level
from offswitch.model.scope import parse_scope
from offswitch.printable import printable
from offswitch.station.notify.hooks.signed import body_of, of_slack
from offswitch.station.notify.prepare import Incoming
from offswitch.station.parts import Parts, parts_of
from offswitch.station.press.pressing import Pressed
from offswitch.station.wire import ask

__all__ = ["router"]

router = APIRouter(tags=["hooks"])

_ANSWER_S = 1.5
"""Slack waits three seconds."""
_MOST_ROWS = 20
_NEVER = {"reset", "start", "approve", "deny", "bypass", "shelve", "resume", "unlatch"}
_HELP = "/offswitch stop SCOPE [LEVEL] | /offswitch stop all | /offswitch status [SCOPE]"

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What somebody wants."""

    user: str
    """A Slack user's id."""
    words: tuple[str, ...]
    button: bool = False


@router.post("/hooks/slack")
async def slack(request: Request) -> Message:
    """Do what was asked, if it may be."""
    parts = parts_of(request)
    body = await body_of(request)
    try:
        sender = _sender(request, parts, body)
    except OffswitchError as error:
        parts.refused("slack", "a request", "chat", error.message)
        raise
    try:
        asked = _asked(body)
        by, name = _person(parts, sender, asked)
    except OffswitchError as error:
        return _text(f"Refused: {error.message}. {error.hint}")
    try:
        return await _done(parts, sender, asked, by, name)
    except OffswitchError as error:
        parts.refused(by, " ".join(asked.words)[:200] or "nothing", "chat", error.message)
        return _text(f"Refused: {error.message}. {error.hint}")


def _sender(request: Request, parts: Parts, body: bytes) -> Incoming:
    now_us = parts.clock.wall_us()
    time = request.headers.get("x-slack-request-timestamp", "")
    signature = request.headers.get("x-slack-signature", "")
    sender = of_slack(parts.notifier.prepared.slack, body, time, signature, now_us)
    parts.notifier.once(f"slack {signature}", now_us)
    return sender


def _asked(body: bytes) -> _Asked:
    """Read a slash command, or a press of a button."""
    try:
        form = {
            key: values[0] for key, values in parse_qs(body.decode(), max_num_fields=50).items()
        }
        if "payload" not in form:
            return _Asked(form.get("user_id", ""), tuple(form.get("text", "").split()[:10]))
        payload = json.loads(form["payload"])
        user, action = str(payload["user"]["id"]), payload["actions"][0]
        kind, value = str(action["action_id"]), str(action.get("value", ""))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise Usage("that is nothing of ours", _HELP) from None
    if kind == "offswitch-stop":
        level, _, scope = value.partition(" ")
        return _Asked(user, ("stop", scope, level), button=True)
    if kind == "offswitch-acknowledge":
        return _Asked(user, ("acknowledge", value), button=True)
    raise Usage("that button is none of ours", _HELP)


def _person(parts: Parts, sender: Incoming, asked: _Asked) -> tuple[str, str]:
    name = sender.people.get(asked.user)
    account = None if name is None else parts.accounts.get(name)
    if name is None or account is None:
        what = " ".join(asked.words)[:200] or "nothing"
        parts.refused(f"slack:{asked.user[:40]}", what, "chat", "nobody here is that Slack user")
        raise Refused(
            "you are nobody here",
            'the configuration says who is who: people = { SLACK_ID = "name" }',
        )
    return f"person:{account.name}", account.name


async def _done(parts: Parts, sender: Incoming, asked: _Asked, by: str, name: str) -> Message:
    verb, *words = asked.words or ("help",)
    account = parts.accounts.get(name)
    safety = {Role.SAFETY} if parts.confirmers.is_safety(name) else set()
    may = powers(safety if account is None else account.roles | safety)
    match verb.lower():
        case "stop":
            if Power.STOP not in may:
                raise Refused(f"{name} may not stop", "ask an operator")
            return await _stop(parts, by, words)
        case "status":
            if Power.READ not in may:
                raise Refused(f"{name} may not look", "ask an admin")
            return await _status(parts, words)
        case "acknowledge" | "ack":
            if Power.ACK not in may:
                raise Refused(f"{name} may not acknowledge", "ask an operator")
            return _acknowledge(parts, sender, by, words)
        case other if other in _NEVER:
            raise Refused(
                f"chat can never {other}", "the console does, or the command line, with your proof"
            )
        case _:
            return _text(_HELP)


async def _stop(parts: Parts, by: str, words: list[str]) -> Message:
    if not words:
        raise Usage("say what to stop", "/offswitch stop SCOPE, or /offswitch stop all")
    named = [word for word in words[1:] if word != "--level"]
    scope = parse_scope(words[0]).text
    level = parse_level(named[0] if named else "kill")
    pressed = parts.presser.press((scope,), level, by, "chat", "asked for in Slack")
    await pressed.told(_ANSWER_S, whole=True)
    return _text(_told(pressed), all_see=True)


def _told(pressed: Pressed) -> str:
    name = by if (by := pressed.by.removeprefix("person:")) else pressed.by
    what = (
        f"{pressed.state.upper()}: {pressed.level.label} of {', '.join(pressed.scopes)} by {name}"
    )
    if pressed.state == "not confirmed":
        return f"{what}. Something may still act: look at the console."
    return what if pressed.answer else f"{what}. You are told when it is confirmed."


async def _status(parts: Parts, words: list[str]) -> Message:
    scope = parse_scope(words[0]).text if words else None
    said = await ask(parts.place.warden_socket, {"op": "status", "scope": scope}, _ANSWER_S)
    rows = [row for row in said.get("targets", []) if isinstance(row, dict)]
    latched = [row for row in rows if row.get("latched")]
    shown = sorted(rows, key=lambda row: not row.get("latched"))[:_MOST_ROWS]
    lines = [f"{len(rows)} targets, {len(latched)} latched"]
    lines += [
        f"{row.get('target')}: {row.get('state')}"
        + (" (latched, confirmed)" if row.get("confirmed") else " (latched, NOT confirmed)")
        * bool(row.get("latched"))
        for row in shown
    ]
    if len(rows) > _MOST_ROWS:
        lines.append(f"and {len(rows) - _MOST_ROWS} more")
    return _text("\n".join(lines))


def _acknowledge(parts: Parts, sender: Incoming, by: str, words: list[str]) -> Message:
    thread = words[0] if words else ""
    if not re.fullmatch(r"[a-z]+-[A-Za-z0-9._-]{1,120}", thread):
        raise NotFound("say which page", "press the button under it")
    # The message itself is changed by the thread's next notice, which Slack gets as well.
    del sender
    parts.notifier.acknowledge(thread, by, "chat")
    return _text(f"Acknowledged: {thread}")


def _text(said: str, *, all_see: bool = False) -> Message:
    """Answer in blocks of plain text: nothing in them is a mark to Slack."""
    lines = "\n".join(printable(line, 300) for line in said.split("\n"))[:2900]
    escaped = lines.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        "response_type": "in_channel" if all_see else "ephemeral",
        "text": escaped,
        "blocks": [
            {"type": "section", "text": {"type": "plain_text", "text": lines, "emoji": False}}
        ],
    }
