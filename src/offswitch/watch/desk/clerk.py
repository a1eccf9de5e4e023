"""What people ask at watch's desk, and what comes of it.

    sensors, rules, alarms, decisions    what there is, as it stands now
    approve, deny                        answers to what a rule asks, or a held tool call (DEC-3)
    ask-leave, leaves, withdraw          the gateway's, for tool calls that wait (`leaves`)
    ack                                  somebody has seen an alarm; it goes on standing
    bypass, restore, shelve, unshelve    lower a rule or its alarm for a while (SR-12, HMI-6); in a
                                         person's name with proofs, in two steps (`proposals`)
    apply                                another configuration, from now on (SR-3)

Who may what is `visitors`' business. Whatever is changed is recorded with who and why, and so is
what was refused, though no more often than once a second for each user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.clock import Clock
from offswitch.config.duration import format_duration
from offswitch.control.peer import Peer
from offswitch.decide.lowering import LONGEST_US, Lowered, What
from offswitch.decide.questions import Answer, Verdict
from offswitch.decide.rules import Act
from offswitch.decide.who import Who
from offswitch.errors import NotFound, Refused, Usage
from offswitch.model.decision import Decision
from offswitch.model.entry import EntryKind
from offswitch.watch.bench import Bench
from offswitch.watch.coverage import Coverage
from offswitch.watch.desk.door import Later
from offswitch.watch.desk.leaves import Leaves
from offswitch.watch.desk.listing import (
    alarm_row,
    finding_row,
    lowered_row,
    proposal_row,
    question_row,
    rule_row,
    sensor_row,
)
from offswitch.watch.desk.lowered import LoweredBook
from offswitch.watch.desk.proposals import Proposal, Proposals
from offswitch.watch.desk.visitors import Visitors
from offswitch.watch.scribe import Scribe
from offswitch.watch.wiring import Wiring

__all__ = ["Clerk", "Office"]

_LONGEST = 500
_MOST_SHOWN = 1000
_SECOND_US = 1_000_000

Message = dict[str, Any]
Work = Callable[[Peer, Message], Message | Later]


@dataclass(frozen=True, slots=True)
class Office:
    """What the clerk works with."""

    wired: Wiring
    scribe: Scribe
    clock: Clock
    visitors: Visitors
    lowered: LoweredBook
    proposals: Proposals
    covered: Callable[[Bench], Coverage]
    """What lies in a rule's scope."""
    act: Callable[[Decision], None]
    """Carries a decision out and has it recorded."""
    apply: Callable[[Peer, Message], Message]
    """Puts another configuration in force."""


class Clerk:
    """Answers."""

    def __init__(self, office: Office) -> None:
        """Work with what `office` has."""
        self._office = office
        self._acked: dict[str, tuple[str, int]] = {}
        """Rule → who has seen its alarm, and when (UTC, microseconds)."""
        self._refused_us: dict[int, int] = {}
        self._leaves = Leaves(office.clock, office.visitors, office.scribe)
        self._ops: Mapping[str, Work] = {
            "sensors": self._sensors,
            "rules": self._rules,
            "alarms": self._alarms,
            "decisions": self._decisions,
            "approve": self._answer,
            "deny": self._answer,
            "ack": self._ack,
            "bypass": self._lower,
            "shelve": self._lower,
            "restore": self._restore,
            "unshelve": self._restore,
            "apply": office.apply,
            "ask-leave": self._leaves.ask,
            "leaves": self._leaves.told,
            "withdraw": self._leaves.withdraw,
        }

    def serve(self, peer: Peer, message: Message) -> Message | Later:
        """Answer one message, at once or later, or raise why not."""
        op = str(message.get("op"))[:_LONGEST]
        work = self._ops.get(op)
        if work is None:
            raise Usage(f"watch is not asked {op!r}", f"it knows: {', '.join(self._ops)}")
        try:
            self._office.visitors.check(peer, op, _text(message, "by"))
            return work(peer, message)
        except Refused as error:
            self._tell_refused(peer, message, error)
            raise

    def _who(self, peer: Peer, message: Message) -> Who:
        return self._office.visitors.who(peer, _text(message, "by"))

    def _tell_refused(self, peer: Peer, message: Message, error: Refused) -> None:
        op, said = str(message.get("op"))[:_LONGEST], str(message.get("by") or "")[:_LONGEST]
        by = f"uid:{peer.uid}" + (f", as {said}" if said else "")
        now_us = self._office.clock.mono_us()
        if now_us - self._refused_us.get(peer.uid, -_SECOND_US) < _SECOND_US:
            return
        if len(self._refused_us) > _MOST_SHOWN:
            self._refused_us.clear()
        self._refused_us[peer.uid] = now_us
        self._office.scribe.tell(
            EntryKind.REFUSED,
            f"{op} at watch's desk",
            why=error.message,
            prior="as it was",
            state="as it was",
            by=by,
            channel="desk",
        )

    # --- what there is ------------------------------------------------------------

    def _sensors(self, _peer: Peer, _message: Message) -> Message:
        now_us = self._office.clock.mono_us()
        sources = list(self._office.wired.sources.values())
        return {
            "sensors": [sensor_row(source, now_us) for source in sources[:_MOST_SHOWN]],
            "left_out": max(len(sources) - _MOST_SHOWN, 0),
        }

    def _rules(self, _peer: Peer, _message: Message) -> Message:
        office = self._office
        now_us = office.clock.mono_us()
        return {
            "rules": [rule_row(bench, now_us) for bench in office.wired.benches][:_MOST_SHOWN],
            "lowered": [lowered_row(one) for one in office.lowered.now()],
            "waiting": [lowered_row(one) for one in office.lowered.waiting],
            "proposals": [proposal_row(one, now_us) for one in office.proposals.now()],
            "problem": office.lowered.problem,
        }

    def _alarms(self, _peer: Peer, message: Message) -> Message:
        office = self._office
        benches = office.wired.benches
        self._forget_fallen()
        lag = office.wired.lag_us
        rows = [
            alarm_row(bench, self._acked.get(bench.rule.name), lag, shelved=self.shelved(bench))
            for bench in benches
            if bench.tripped or bench.question is not None
        ]
        near = [
            {"rule": bench.rule.name, "series": judge.section.series, "near": judge.nears}
            for bench in benches
            for judge in bench.judges
            if judge.nears
        ]
        answer: Message = {"alarms": rows[:_MOST_SHOWN], "near": near[:_MOST_SHOWN]}
        after = message.get("after")
        if type(after) is int:
            recent = office.scribe.recent
            found = recent.after(after)
            answer["findings"] = [finding_row(one, lag, index) for index, one in found]
            answer["next"] = recent.next
            answer["missed"] = recent.missed(after)
        return answer

    def _decisions(self, _peer: Peer, _message: Message) -> Message:
        office = self._office
        now_us = office.clock.mono_us()
        rows = [
            question_row(bench, question, now_us)
            for bench in office.wired.benches
            if (question := bench.question) is not None
        ]
        decisions = sorted(rows, key=lambda row: row["left_ms"])[:_MOST_SHOWN]
        return {"decisions": decisions, "leaves": self._leaves.rows()}

    def shelved(self, bench: Bench) -> bool:
        """Tell whether the alarm of a rule is shelved; one that asks somebody never is."""
        shelved = any(
            one.what is What.SHELVE and one.rule == bench.rule.name
            for one in self._office.lowered.now()
        )
        return shelved and bench.question is None

    def acked(self, bench: Bench) -> bool:
        """Tell whether somebody has seen its alarm."""
        return bench.rule.name in self._acked

    def _forget_fallen(self) -> None:
        standing = {bench.rule.name for bench in self._office.wired.benches if bench.since_us}
        self._acked = {rule: seen for rule, seen in self._acked.items() if rule in standing}

    # --- answers ------------------------------------------------------------------

    def _answer(self, peer: Peer, message: Message) -> Message:
        office = self._office
        leave = self._leaves.meant(_name(message))
        if leave:
            return self._leaves.answer(peer, message, leave, self._who(peer, message))
        bench, digest = self._asked(_name(message))
        verdict = Verdict(str(message["op"]))
        reason = _text(message, "reason")
        if verdict is Verdict.DENY and not reason:
            raise Usage("to let it go on takes a reason", "--reason TEXT")
        holds_us = message.get("for_us") or bench.rule.answer_us
        if not isinstance(holds_us, int) or not 0 < holds_us <= LONGEST_US:
            raise Usage("it may go on for at most 8 hours", 'say how long: --for "1h"')
        covered = office.covered(bench)
        mono_us, wall_us = office.clock.mono_us(), office.clock.wall_us()
        known = covered.known(bench.in_force_now(mono_us).level)
        answer = Answer(self._who(peer, message), verdict, reason, holds_us)
        decision = bench.answer(digest, answer, known, mono_us, wall_us)
        office.act(decision)
        return {
            "decision": digest,
            "rule": bench.rule.name,
            "scope": bench.rule.scope.text,
            "verdict": verdict.value,
            "choice": decision.choice.value,
            "by": decision.by,
            "open": bench.question is not None,
            "why": decision.why,
        }

    def _asked(self, wanted: str) -> tuple[Bench, str]:
        """Find the question that is meant: by its digest, or enough of it to be the only one."""
        found = [
            (bench, question.digest)
            for bench in self._office.wired.benches
            if (question := bench.question) is not None and question.digest.startswith(wanted)
        ]
        if len(found) != 1:
            raise NotFound(
                "no such question is open: it was answered, it ran out, or never was",
                "see what is open: offswitch decision list",
            )
        return found[0]

    def _ack(self, peer: Peer, message: Message) -> Message:
        bench = self._bench(_text(message, "rule"))
        if not bench.tripped and bench.question is None:
            raise NotFound(f"no alarm of {bench.rule.name} stands", "offswitch alarm list")
        by = self._who(peer, message).text
        self._acked[bench.rule.name] = (by, self._office.clock.wall_us())
        self._office.scribe.tell(
            EntryKind.NOTE,
            f"the alarm of {bench.rule.name} was seen",
            why=_text(message, "reason") or "acknowledged",
            prior="standing",
            state="standing, and seen",
            by=by,
            channel="desk",
            scope=bench.rule.scope.text,
        )
        return {"rule": bench.rule.name, "acked_by": by}

    def _bench(self, name: str) -> Bench:
        benches = self._office.wired.benches
        for bench in benches:
            if bench.rule.name == name:
                return bench
        known = ", ".join(bench.rule.name for bench in benches[:20]) or "none"
        raise NotFound(f"no rule {name!r} is in force", f"there are: {known}")

    # --- lowering -----------------------------------------------------------------

    def _lower(self, peer: Peer, message: Message) -> Message | Later:
        """Lower something: at once where its owner asks, in a person's name with proofs."""
        office, digest = self._office, _text(message, "digest")
        if digest:
            return office.proposals.prove(
                digest,
                message.get("proofs"),
                self._tell_proven,
                lambda error: self._tell_refused(peer, message, error),
            )
        who = self._who(peer, message)
        wanted = self._wanted(message, who)
        if _text(message, "by"):
            proposal = office.proposals.open(wanted)
            self._tell_lowered(wanted, "as declared", f"waits for {proposal.people} proofs")
            return proposal_row(proposal, office.clock.mono_us())
        two = office.visitors.mode == "people"
        owner = office.visitors.owns(peer)
        lowered, waits = office.lowered.lower(wanted, who, owner=owner, two=two)
        self.lower_all()
        self._tell_lowered(lowered, "as declared", "waits for a second person" if waits else "")
        return {"pending": waits, **lowered_row(lowered)}

    def _wanted(self, message: Message, who: Who) -> Lowered:
        bench = self._bench(_text(message, "rule"))
        what, series = What(str(message["op"])), _text(message, "series")
        if series and series not in {judge.section.series for judge in bench.judges}:
            raise NotFound(f"{bench.rule.name} has no channel {series}", "offswitch rule list")
        if what is What.BYPASS and not series and bench.rule.act is not Act.AUTO:
            raise Usage(
                f"{bench.rule.name} does not act by itself: there is nothing to lower",
                "answer what it asks: offswitch decision list",
            )
        lasts_us = message.get("for_us")
        wall_us = self._office.clock.wall_us()
        return Lowered(
            what=what,
            rule=bench.rule.name,
            series=series if what is What.BYPASS else "",
            owner=_text(message, "owner"),
            reason=_text(message, "reason"),
            measure=_text(message, "measure"),
            by=who.text,
            since_us=wall_us,
            until_us=wall_us + (lasts_us if type(lasts_us) is int else 0),
        )

    def _tell_proven(self, proposal: Proposal, lowered: Lowered | None) -> Message:
        """Answer, and record, what has come of proofs."""
        row = proposal_row(proposal, self._office.clock.mono_us())
        if lowered is None:
            proven = ", ".join(proposal.proven)
            self._tell_lowered(
                proposal.wanted, "as declared", f"proved by {proven}, waits for more"
            )
            return row
        self.lower_all()
        self._tell_lowered(lowered, "as declared", "")
        return {**row, **lowered_row(lowered), "pending": False}

    def _restore(self, peer: Peer, message: Message) -> Message:
        office = self._office
        what = What.BYPASS if message["op"] == "restore" else What.SHELVE
        done = office.lowered.restore(what, _text(message, "rule"), _text(message, "series"))
        self.lower_all()
        by = self._who(peer, message).text
        self._tell_lowered(done, f"{what.value} until {done.until_us}", "restored", by)
        return {"restored": True, **lowered_row(done)}

    def lower_all(self) -> None:
        """Let the rules in force be lowered as the book says, and no others."""
        bypassed = [one for one in self._office.lowered.now() if one.what is What.BYPASS]
        for bench in self._office.wired.benches:
            mine = [one for one in bypassed if one.rule == bench.rule.name]
            bench.asks_instead = any(not one.series for one in mine)
            bench.left_out = frozenset(one.series for one in mine if one.series)

    def turn(self) -> None:
        """Let return what has come to its end."""
        self._leaves.turn()
        for one in self._office.lowered.returned():
            self._tell_lowered(one, f"{one.what.value}", "returned by itself")
            self.lower_all()

    def _tell_lowered(self, lowered: Lowered, prior: str, state: str, by: str = "") -> None:
        lasts = format_duration(max(lowered.until_us - lowered.since_us, 1))
        of = f"channel {lowered.series} of {lowered.rule}" if lowered.series else lowered.rule
        public = {
            "channel": "desk",
            "what": f"{lowered.what.value}: {of}",
            "prior": prior,
            "state": state or f"{lowered.what.value} for {lasts}",
            "rule": lowered.rule,
            "series": lowered.series,
            "measure": lowered.measure,
            "until_us": lowered.until_us,
            "second": lowered.second,
        }
        who = f"{by or lowered.by}, for {lowered.owner}"
        self._office.scribe.add(EntryKind.BYPASS, public, {"by": who, "reason": lowered.reason})


def _name(message: Message) -> str:
    wanted = _text(message, "decision")
    if len(wanted) < 8:  # noqa: PLR2004 - fewer could be anybody's
        raise Usage("say which question", "its name stands in: offswitch decision list")
    return wanted


def _text(message: Message, key: str) -> str:
    value = message.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise Usage(f"{key}: a text of at most {_LONGEST} characters is wanted")
    return value.encode("utf-8", "replace").decode()
