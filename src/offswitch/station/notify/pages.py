"""The pages of what the record tells: an incident, a reset, an order from outside."""

from __future__ import annotations

import time

from offswitch.config.notify import Event
from offswitch.model.scope import Scope
from offswitch.reports.said import Said
from offswitch.station.notify.context import Context, command
from offswitch.station.notify.notice import Notice, Page, Phase
from offswitch.station.notify.threads import Incident

__all__ = ["incident_page", "reset_page", "ticket_page"]

_OTHERWISE = {
    "commanded": "within 2 s it is confirmed, or you are told that it is not; either way it stays "
    "stopped until somebody resets it",
    "confirmed": "it stays stopped until somebody resets it; nothing starts by itself",
    "not confirmed": "the stop is commanded again as long as anything moves, and may stay in vain; "
    "to switch the machine off is a person's choice, and is not done by itself",
}
_SINCE = {
    "overdue": "its deadline is over; it stays open, and nothing is stopped by it",
    "reminder": "it becomes overdue, and people are called; nothing is stopped by it",
}


def incident_page(context: Context, incident: Incident) -> Page:
    """Write what people are told of an incident as it stands."""
    state, targets = incident.state, incident.targets
    scopes = list(dict.fromkeys(stop.scope for stop in incident.stops.values()))
    more = f" and {len(scopes) - 1} more" if len(scopes) > 1 else ""
    again = {Event.RE_TRIP: "STOPPED AGAIN ON PROBATION, ", Event.BLIND: "BLIND, "}
    head = f"{again.get(incident.event, '')}{state.upper()}: {incident.level} of {incident.scope}"
    happening = incident.happening
    if more:
        others = ", ".join(scope for scope in scopes[:10] if scope != incident.scope)
        happening = f"first: {happening}; then {len(scopes) - 1} more: {others}"
    if incident.tell:
        happening = f"TELL FIRST: {', '.join(incident.tell)}. {happening}"
    bad = [name for name in targets if incident.seen(name) is False]
    acting = [_unseen(incident, name) for name in bad]
    acting += [
        f"{name}: commanded, nobody has seen it yet"
        for name in targets
        if incident.seen(name) is None
    ]
    if not targets:
        acting = [f"whatever was meant: nothing of {incident.scope} is under the switch"]
    wanted = command("status", incident.scope)
    if bad:
        wanted = command("stop", bad[0], "--level", "poweroff")
    otherwise = _OTHERWISE.get(state, "it stays latched until somebody resets it")
    with_it = incident.others.get(bad[0], ()) if bad else ()
    if with_it:
        otherwise += f"; with the machine would go {', '.join(with_it)}"
    return Page(
        f"{head}{more}",
        happening,
        tuple(f"{name}: confirmed" for name in targets if incident.seen(name)),
        tuple(acting),
        context.cost(incident.scope, incident.rule),
        otherwise,
        context.link("incidents", incident.name),
        wanted,
    )


def _unseen(incident: Incident, target: str) -> str:
    layers = incident.layers.get(target, {})
    missing = incident.missing.get(target) or tuple(k for k, seen in layers.items() if not seen)
    missing = tuple(sorted(missing))
    return f"{target}: NOT seen to have stopped ({', '.join(missing) or 'no layer'})"


def reset_page(
    context: Context, said: Said, thread: str, phase: Phase, *, waits: bool, placed: tuple[str, ...]
) -> Notice:
    """Write that a reset waits for a person, or is done, and for whom that matters (SR-18)."""
    scope, by = said.text("scope"), said.by or "somebody"
    needs = "; ".join(said.texts("needs"))
    for_whom = ", ".join(placed)
    if waits:
        page = Page(
            f"A RESET WAITS: {scope}",
            f"{by} has opened a reset of {scope}: {said.words('reason') or 'no reason given'}",
            (f"{scope} stays stopped until it is confirmed",),
            (),
            "it is stopped already",
            f"it runs out a quarter of an hour after it was opened; it needs {needs or 'a person'}",
            context.link("reset", said.text("digest")),
            command("status", scope),
        )
    else:
        page = Page(
            f"RESET: {scope}",
            f"{by} has reset {scope}: {said.words('reason') or 'no reason given'}"
            + (f"; the stops were placed by {for_whom}" if for_whom else ""),
            (),
            (f"{scope} may be started again; nothing was started by the reset",),
            context.cost(scope) if scope else "",
            "nothing: it runs when somebody starts it",
            context.link("incidents", thread),
            command("stop", scope or "/"),
        )
    names = tuple(one.removeprefix("person:") for one in placed if one.startswith("person:"))
    return Notice(
        thread,
        Event.RESET,
        phase,
        "reset waits" if waits else "reset",
        scope or "/",
        page.bounded(),
        said.time_us,
        concerns=names,
    )


def ticket_page(context: Context, said: Said) -> Notice | None:
    """Write that an order from outside came in, waits, is overdue, or is answered (DEC-8)."""
    ticket, state = said.text("ticket"), said.text("state")
    if not ticket or state == "refused":
        return None
    closed = state in {"accepted", "declined"}
    scopes, sender = said.texts("scopes") or ["/"], said.text("from") or "somebody outside"
    deadline_us, level = said.number("deadline_us"), said.text("level") or "kill"
    until = "" if deadline_us is None else time.strftime(
        "%Y-%m-%d %H:%M UTC", time.gmtime(deadline_us / 1e6)
    )  # fmt: skip
    asks = f"{sender} asks for a {level} of {', '.join(scopes)}"
    done = f"it was accepted: {level} ordered" if state == "accepted" else "it was declined"
    page = Page(
        f"ORDER FROM OUTSIDE, {state.upper()}: {sender}, {said.text('reference')}",
        f"{asks}: {said.words('reason') or 'no reason given'}; until {until}",
        (),
        () if closed else tuple(f"{scope}: nothing was stopped by this" for scope in scopes),
        "; ".join(cost for scope in scopes[:5] if (cost := context.cost(scope))),
        done if closed else _SINCE.get(state, f"reminders, and at {until} it is overdue: people "
        "are called; nothing is stopped by itself"),
        context.link("tickets"),
        command("ticket", "show", ticket),
    )  # fmt: skip
    phase = Phase.CLOSE if closed else Phase.OPEN if state == "open" else Phase.UPDATE
    return Notice(
        ticket,
        Event.TICKET,
        phase,
        state,
        Scope(scopes[0]).text,
        page.bounded(),
        said.time_us,
        urgent=not closed,
        worse=state == "overdue",
        level="",
    )
