"""What the desk's rows are, as signs; and how the command line shows the root first (HMI-7)."""

from __future__ import annotations

from typing import Any

import pytest

from offswitch.cli import alarm
from offswitch.station.alarms.rows import signs_of

S = 1_000_000


def row(rule: str, target: str, found_s: float, lag_s: float = 0.25, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    finding = {"target": target, "series": f"s.{rule}", "what": "w\x1b[2J", "detector": "rate()",
               "found_us": int(found_s * S), "lag_us": int(lag_s * S), "wait_us": 0}  # fmt: skip
    return {
        "rule": rule, "target": target, "scope": target, "level": "kill", "act": "auto",
        "state": "ordered", "harm": "h", "since_us": int(found_s * S) + S, "acked_by": None,
        "shelved": False, "decision": None, "spent": False, "findings": [finding], **more,
    }  # fmt: skip


def test_HMI_7_an_alarm_begins_with_its_first_finding_and_its_evidence_is_no_sign_of_its_own() -> (
    None
):
    one = row("r", "shop/a", 7)
    other = {**one["findings"][0], "series": "s.other"}
    near = {**other, "series": "s.near", "detector": "announce"}
    signs = signs_of([one], [*one["findings"], other, near])
    assert [sign.key for sign in signs] == ["rule:r", "s.other"]
    assert (signs[0].found_us, signs[0].early_us, signs[0].grave) == (7 * S, 6_750_000, True)


@pytest.mark.parametrize(
    "odd",
    [
        {"findings": None, "since_us": None},
        {"findings": [7], "since_us": "x"},
        {"target": None, "scope": None},
        {"findings": [{"found_us": "now"}]},
    ],
)
def test_a_row_that_is_none_is_left_out(odd: dict[str, Any]) -> None:
    assert signs_of([{**row("r", "shop/a", 7), **odd}]) == []
    assert signs_of([], [{"target": 1}, {}]) == []


def test_HMI_7_the_list_shows_the_root_first_and_how_many_follow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(f"late-{number}", f"shop/{number}", 12 + number / 10) for number in range(12)]
    rows += [row("root", "shop/db", 10), row("else", "bank/x", 11)]
    answer = {"alarms": rows, "near": []}
    monkeypatch.setattr(alarm, "ask_watch", lambda _message: answer)
    monkeypatch.setenv("COLUMNS", "160")
    alarm.show_all()
    out = capsys.readouterr().out
    lines = [line.split()[0] for line in out.splitlines()[1:]]
    assert lines == ["root", *(f"late-{number}" for number in range(10)), "else"]
    assert "(first; + 12 consequences)" in out.splitlines()[1]
    assert "\x1b" not in out
