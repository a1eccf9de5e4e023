"""What may not go on without leave: DEC-3 as AISVS means it, without a clock or a process."""

from __future__ import annotations

import pytest

from offswitch.decide.approvals import Leave, Request, deny, grant, request, stands, used
from offswitch.decide.who import Who
from offswitch.errors import NotFound, Refused

S = 1_000_000
AGENT, ADA, BEN = Who(1000), Who(1001, "ada"), Who(None, "ben")


def asked(people: int = 1, nonce: str = "n", by: Who = AGENT) -> Request:
    return request(
        "pay 7 EUR", by, nonce=nonce, mono_us=0, within_us=60 * S, people=people
    )  # fmt: skip


def test_DEC_3_an_approval_that_nobody_gives_expires_to_no() -> None:
    one = asked()
    assert stands(one, 60 * S - 1) is Leave.WAITS
    assert stands(one, 60 * S) is Leave.DENIED
    with pytest.raises(Refused, match="not granted"):
        used(one, S)


def test_DEC_3_a_late_approval_grants_nothing() -> None:
    with pytest.raises(Refused, match="too late"):
        grant(asked(), asked().digest, ADA, 60 * S)
    granted = grant(asked(), asked().digest, ADA, S)
    with pytest.raises(Refused):
        used(granted, 60 * S)


def test_DEC_3_an_approval_of_another_request_or_the_same_one_again_grants_nothing() -> None:
    one = asked()
    granted = grant(one, one.digest, ADA, S)
    done = used(granted, 2 * S)
    for again in (lambda: used(done, 3 * S), lambda: grant(done, done.digest, BEN, 3 * S)):
        with pytest.raises((Refused, NotFound)):
            again()
    other = asked(nonce="m")
    assert other.digest != one.digest
    with pytest.raises(NotFound):
        grant(other, one.digest, ADA, S)
    with pytest.raises(NotFound):
        grant(None, one.digest, ADA, S)


def test_DEC_3_nobody_approves_his_own_request() -> None:
    adas = asked(by=ADA)
    for who in (ADA, Who(1001), Who(7, "ada")):
        with pytest.raises(Refused, match="his own"):
            grant(adas, adas.digest, who, S)
    with pytest.raises(Refused, match="his own"):
        grant(asked(), asked().digest, BEN, S)  # whose user ben is nobody knows: it may be that one
    assert stands(grant(adas, adas.digest, BEN, S), S) is Leave.GRANTED


def test_DEC_3_one_person_twice_is_not_two_and_one_denial_is_enough() -> None:
    two = grant(asked(2), asked(2).digest, ADA, S)
    assert stands(two, S) is Leave.WAITS
    with pytest.raises(Refused, match="already"):
        grant(two, two.digest, ADA, S)
    both = grant(two, two.digest, Who(1002), S)
    assert stands(both, S) is Leave.GRANTED
    assert stands(deny(both, both.digest, S), S) is Leave.DENIED
