"""What a rule asks, and what counts as an answer: DEC-3 without a clock or a process."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from offswitch.decide.arbiter import FRESH, ChannelState, Known, Standing, decide, reply
from offswitch.decide.budget import parse_budget
from offswitch.decide.questions import Answer, Question, Stage, Verdict, may_let_go_on
from offswitch.decide.rules import Act, Rule
from offswitch.decide.votes import Channel, OnFailed, Vote
from offswitch.decide.who import Who, surely_two, who_is
from offswitch.errors import NotFound, OffswitchError, Refused, Usage
from offswitch.model.decision import Choice, Decision
from offswitch.model.level import Level
from offswitch.model.scope import Scope

S = 1_000_000
RULE = Rule(
    name="asks",
    target="shop/agent",
    scope=Scope("shop/agent"),
    level=Level.KILL,
    act=Act.ADVISE,
    vote=Vote.ONE_OF_TWO,
    on_failed=OnFailed.DEGRADE,
    decider="HUMAN-1",
    harm="wrong prices are charged",
    time_to_harm_us=60 * S,
    false_stop_cost="minutes",
    answer_us=60 * S,
)
RUNS, HELD = Known(running=1, unlatched=1), Known(running=0, unlatched=0, held=True)
DENY, APPROVE = Verdict.DENY, Verdict.APPROVE


class Rulebook:
    """One rule, told what its channels say and when."""

    def __init__(self, rule: Rule = RULE) -> None:
        self.rule, self.standing, self.known = rule, FRESH, RUNS
        self.channels = (Channel.OK, Channel.OK)

    def at(self, us: int, *channels: Channel) -> Decision | None:
        self.channels = channels or self.channels
        states = [
            ChannelState(f"s{number}", one, str(one)) for number, one in enumerate(self.channels)
        ]
        decision, self.standing = decide(
            self.rule, states, self.known, self.standing, mono_us=us, wall_us=us + 7, nonce="n"
        )
        return decision

    def trip(self, us: int = 0) -> str:
        decision = self.at(us, Channel.TRIP, Channel.OK)
        assert decision is not None
        assert decision.choice is Choice.ASK
        return self.digest

    @property
    def question(self) -> Question:
        assert self.standing.question is not None
        return self.standing.question

    @property
    def digest(self) -> str:
        return self.question.digest

    def say(
        self, us: int, verdict: Verdict, digest: str, uid: int | Who = 1, holds_us: int = 60 * S
    ) -> Decision:
        who = uid if isinstance(uid, Who) else Who(uid)
        decision, self.standing = reply(
            self.rule, self.standing, digest, Answer(who, verdict, "because", holds_us),
            self.known, mono_us=us, wall_us=us + 7,
        )  # fmt: skip
        return decision

    def wait(self, us: int) -> Decision | None:
        """Let nobody answer until `us`, and see to each third on the way."""
        for third in (20 * S, 40 * S):
            if third < us:
                self.at(third)
        return self.at(us)


def choice(decision: Decision | None) -> Choice | None:
    return None if decision is None else decision.choice


def test_DEC_3_silence_stops_when_the_time_is_over_and_not_before() -> None:
    book = Rulebook()
    book.trip()
    assert book.wait(60 * S - 1) is None
    decision = book.at(60 * S)
    assert decision is not None
    assert (decision.choice, decision.level, decision.by) == (Choice.STOP, Level.KILL, "rule:asks")
    assert "nobody answered within 1m, and silence stops" in decision.why
    assert book.standing.question is None
    assert book.at(60 * S + 1) is None
    assert choice(book.at(61 * S)) is Choice.STOP, "what still runs unlatched is stopped again"


def test_DEC_3_an_answer_after_the_time_is_refused() -> None:
    book = Rulebook()
    digest = book.trip()
    with pytest.raises(Refused, match="too late"):
        book.say(60 * S, DENY, digest)
    assert choice(book.at(60 * S)) is Choice.STOP
    with pytest.raises(NotFound, match="closed"):
        book.say(60 * S + 1, DENY, digest)


def test_DEC_3_an_answer_to_an_earlier_question_or_the_same_one_twice_is_refused() -> None:
    book = Rulebook()
    first = book.trip()
    book.say(1, DENY, first, holds_us=10 * S)
    with pytest.raises(NotFound):
        book.say(2, DENY, first)
    assert choice(book.at(10 * S + 1)) is Choice.ASK, "when that is over it asks again"
    assert book.digest != first
    with pytest.raises(NotFound):
        book.say(11 * S, DENY, first)
    assert book.standing.question is not None, "it stays open"
    two = Rulebook(replace(RULE, people=2))
    digest = two.trip()
    two.say(1, DENY, digest, uid=1)
    with pytest.raises(Refused, match="answered already"):
        two.say(2, DENY, digest, uid=1)


def test_DEC_3_nobody_lets_himself_go_on() -> None:
    assert "nobody lets himself go on" in may_let_go_on(1000, {1000, 1001}, 0)
    assert may_let_go_on(1002, {1000, 1001}, 0) == ""
    assert may_let_go_on(1000, {1000}, 1000) == "", "all is one user: forgeable, and said so"


def test_DEC_3_two_people_let_it_go_on_where_two_are_asked_and_one_stops_it() -> None:
    book = Rulebook(replace(RULE, people=2))
    digest = book.trip()
    decision = book.say(1, DENY, digest, uid=1)
    assert decision.choice is Choice.NOTHING
    assert "takes 1 more" in decision.why
    assert book.digest == digest
    assert choice(book.at(60 * S)) is Choice.STOP, "one of two is silence"
    book = Rulebook(replace(RULE, people=2))
    digest = book.trip()
    book.say(1, DENY, digest, uid=1)
    book.say(2, DENY, digest, uid=2)
    assert book.standing.question is None
    assert book.at(59 * S) is None, "nor is anything less ordered at two thirds"
    book = Rulebook(replace(RULE, people=2))
    decision = book.say(1, APPROVE, book.trip(), uid=1)
    assert (decision.choice, decision.by, decision.level) == (Choice.STOP, "uid:1", Level.KILL)
    assert choice(book.at(2 * S)) is Choice.STOP, "and again, while something runs unlatched"


def test_DEC_3_a_third_of_the_time_to_harm_calls_the_backup_and_stops_nothing() -> None:
    book = Rulebook()
    digest = book.trip()
    assert book.at(20 * S - 1) is None
    decision = book.at(20 * S)
    assert decision is not None
    assert (decision.choice, decision.level) == (Choice.NOTHING, None)
    assert "it goes to the backup" in decision.why
    assert (decision.known["question"], decision.known["stage"]) == (digest, "backup")
    assert (book.question.stage, book.digest) == (Stage.BACKUP, digest)
    assert [(event.what, event.time_us) for event in book.question.events] == [
        ("asked", 7), ("backup", 20 * S + 7),
    ]  # fmt: skip
    assert book.at(20 * S + 1) is None, "once"


def test_DEC_3_two_thirds_restrict_and_the_end_stops_at_the_full_level() -> None:
    book = Rulebook()
    digest = book.trip()
    assert book.wait(40 * S - 1) is None
    decision = book.at(40 * S)
    assert decision is not None
    assert (decision.choice, decision.level) == (Choice.STOP, Level.RESTRICT)
    assert "two thirds of the time are over: restrict, and it goes on asking" in decision.why
    assert book.digest == digest, "it is the same question"
    assert book.at(59 * S) is None, "once"
    decision = book.at(60 * S)
    assert decision is not None
    assert (decision.choice, decision.level) == (Choice.STOP, Level.KILL)
    slept = Rulebook()
    slept.trip()
    assert getattr(slept.at(45 * S), "level", None) is Level.RESTRICT, "no third is waited for"
    assert choice(slept.at(46 * S)) is None, "and the backup is not called after it"
    hung = Rulebook()
    hung.trip()
    assert getattr(hung.at(61 * S), "level", None) is Level.KILL


def test_DEC_3_an_answer_after_the_restriction_still_counts() -> None:
    book = Rulebook()
    digest = book.trip()
    book.wait(45 * S)
    decision = book.say(50 * S, APPROVE, digest)
    assert (decision.choice, decision.level) == (Choice.STOP, Level.KILL), "it is raised"
    book = Rulebook(replace(RULE, people=2))
    digest = book.trip()
    book.say(S, DENY, digest, uid=1)
    assert getattr(book.wait(40 * S), "level", None) is Level.RESTRICT, "one of two is silence"
    decision = book.say(50 * S, DENY, digest, uid=2)
    assert decision.choice is Choice.NOTHING
    assert "restrict stays until its reset" in decision.why
    assert book.at(61 * S) is None
    assert book.standing.denied is not None
    assert book.standing.denied.acted


def test_DEC_3_a_rule_whose_own_level_is_the_lesser_one_stops_at_two_thirds() -> None:
    book = Rulebook(replace(RULE, level=Level.RESTRICT))
    digest = book.trip()
    decision = book.wait(40 * S)
    assert decision is not None
    assert (decision.choice, decision.level) == (Choice.STOP, Level.RESTRICT)
    assert "nobody answered within 40s, and silence stops" in decision.why
    with pytest.raises(NotFound):
        book.say(41 * S, DENY, digest)
    freezes = Rulebook(replace(RULE, unanswered=Level.FREEZE))
    freezes.trip()
    assert getattr(freezes.wait(40 * S), "level", None) is Level.FREEZE


def test_DEC_3_thirds_that_come_after_the_end_do_not_come() -> None:
    book = Rulebook(replace(RULE, answer_us=15 * S))
    book.trip()
    assert book.at(14 * S) is None
    assert getattr(book.at(15 * S), "level", None) is Level.KILL
    late = Rulebook(replace(RULE, answer_us=120 * S))
    late.trip()
    assert getattr(late.wait(40 * S), "level", None) is Level.RESTRICT, "harm is what counts"
    assert late.at(119 * S) is None
    assert getattr(late.at(120 * S), "level", None) is Level.KILL


def test_SR_15_and_DET_7_two_thirds_stop_nothing_where_silence_would_not() -> None:
    book = Rulebook(replace(RULE, observe=True))
    book.trip()
    assert choice(book.wait(40 * S)) is Choice.WOULD_STOP
    assert book.standing.question is not None
    assert book.at(41 * S) is None
    talked = Rulebook(replace(RULE, dependent=frozenset({"s0"})))
    talked.trip()
    assert talked.wait(59 * S) is None
    assert talked.question.stage is Stage.BACKUP, "but somebody is called"


def test_SR_12_a_lesser_stop_and_the_full_one_after_it_are_one_trip_of_a_budget() -> None:
    book = Rulebook(replace(RULE, budget=parse_budget("3 per 1h")))
    book.trip()
    book.wait(61 * S)
    assert len(book.standing.trips) == 1


def test_DEC_3_two_people_over_the_station_are_two_and_one_person_twice_is_one() -> None:
    users = {"ada": 1000, "ben": None}
    ada, ben, by_hand = who_is(60, "person:ada"), who_is(60, "person:ben"), who_is(1000)
    assert surely_two(ada, ben)
    assert not surely_two(ada, by_hand), "nobody has said whose user that is"
    ada, known = who_is(60, "person:ada", users), who_is(1000, "", users)
    assert (known.text, known == ada) == ("person:ada", True), "the console and her own user"
    assert surely_two(ada, who_is(1001, "", users))
    assert not surely_two(ben, who_is(1001, "", users)), "it may be ben's"
    for first, second, match in [
        (ada, ada, "ada has answered already"),
        (ada, known, "ada has answered already"),
        (ben, Who(1001), "cannot be told"),
        (Who(1001), ben, "cannot be told"),
    ]:
        book = Rulebook(replace(RULE, people=2))
        digest = book.trip()
        book.say(1, DENY, digest, first)
        with pytest.raises(Refused, match=match):
            book.say(2, DENY, digest, second)
        assert book.standing.question is not None, "it stays open"
    decision = book.say(3, DENY, digest, who_is(60, "person:ada", users))
    assert (decision.by, book.standing.question) == ("person:ada", None)


@pytest.mark.parametrize(
    "said", ["ada", "person:", "person:Ada", "token:ci", "person:a b", "x" * 99]
)
def test_nobody_speaks_in_a_name_that_is_none(said: str) -> None:
    with pytest.raises(Usage):
        who_is(60, said)


def test_what_was_let_go_on_covers_what_was_asked_and_no_more() -> None:
    book = Rulebook()
    book.say(1, DENY, book.trip(), holds_us=3600 * S)
    assert book.at(50 * S) is None
    assert choice(book.at(51 * S, Channel.TRIP, Channel.TRIP)) is Choice.ASK, "there is more of it"
    book = Rulebook()
    book.say(1, DENY, book.trip(), holds_us=3600 * S)
    assert choice(book.at(2 * S, Channel.OK, Channel.OK)) is Choice.NOTHING
    assert choice(book.at(3 * S, Channel.TRIP, Channel.OK)) is Choice.ASK, "it has risen anew"


def test_a_question_outlives_its_alarm_and_ends_where_all_is_held() -> None:
    book = Rulebook()
    book.trip()
    fell = book.at(S, Channel.OK, Channel.OK)
    assert fell is not None
    assert "the question stays open" in fell.why
    assert choice(book.at(60 * S)) is Choice.STOP, "to calm down is no answer"
    book = Rulebook()
    book.trip()
    book.known = HELD
    closed = book.at(2 * S)
    assert closed is not None
    assert "the question is closed" in closed.why
    assert book.at(90 * S) is None


def test_SR_15_silence_stops_nothing_where_an_installation_observes() -> None:
    book = Rulebook(replace(RULE, observe=True))
    book.trip()
    assert choice(book.at(60 * S)) is Choice.WOULD_STOP
    assert book.at(90 * S) is None


def test_a_rule_that_acts_by_itself_again_asks_nothing_any_more() -> None:
    book = Rulebook()
    book.trip()
    book.rule = replace(RULE, act=Act.AUTO)
    assert choice(book.at(2 * S)) is Choice.STOP
    assert book.standing.question is None


def test_nothing_that_people_or_channels_do_keeps_a_question_open_for_ever() -> None:
    """Every way through two alarms, in steps of 20 s: a question ends, by one of three ways."""
    ways: list[tuple[Standing, int]] = [(FRESH, 0)]
    for step in range(8):
        found = []
        for standing, asked in ways:
            for channel in (Channel.OK, Channel.TRIP, Channel.STALE):
                book = Rulebook()
                book.standing = standing
                book.at(step * 20 * S, channel, Channel.OK)
                open_one = book.standing.question
                assert open_one is None or open_one.due_us > step * 20 * S
                found.append((book.standing, asked + (open_one is not None)))
        ways = list({repr(way): way for way in found}.values())
    assert any(asked for _standing, asked in ways)


@pytest.mark.parametrize("digest", ["", "0" * 64, "x"])
def test_an_answer_to_no_question_is_refused(digest: str) -> None:
    book = Rulebook()
    with pytest.raises(OffswitchError):
        book.say(1, DENY, digest)
    book.trip()
    with pytest.raises(OffswitchError):
        book.say(1, APPROVE, digest)


def test_DET_7_a_monitor_that_can_be_talked_to_stops_nothing_alone_however_few_are_left() -> None:
    rule = replace(RULE, act=Act.AUTO, vote=Vote.TWO_OF_THREE, dependent=frozenset({"s0"}))
    for others in product((Channel.OK, Channel.STALE, Channel.FAILED, Channel.BYPASSED), repeat=2):
        book = Rulebook(rule)
        assert choice(book.at(1, Channel.TRIP, *others)) in {None, Choice.NOTHING}, others
    book = Rulebook(rule)
    assert choice(book.at(1, Channel.TRIP, Channel.TRIP, Channel.OK)) is Choice.STOP
    book = Rulebook(rule)
    assert choice(book.at(1, Channel.OK, Channel.TRIP, Channel.STALE)) is Choice.STOP
    asks = Rulebook(replace(RULE, dependent=frozenset({"s0"})))
    asks.trip()
    decision = asks.at(60 * S)
    assert decision is not None
    assert decision.choice is Choice.NOTHING
    assert "this monitor alone stops nothing" in decision.why
    assert choice(asks.at(120 * S)) is Choice.ASK, "it goes on asking"
