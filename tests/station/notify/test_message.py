"""How a page is written: seven parts, in their order, and hostile words stay words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from offswitch.config.notify import Event
from offswitch.station.notify.message import as_html, blocks, fallback, markdown, parts, text
from offswitch.station.notify.notice import Notice, Page, Phase

PAGE = Page(
    "NOT CONFIRMED: kill of shop/eu",
    "kill of shop/eu by rule:mass-write: prices are wrong",
    ("shop/eu/a: confirmed",),
    ("shop/eu/b: NOT seen to have stopped (network)",),
    "buyers: orders queue up",
    "the stop is commanded again",
    "https://off.example.org/incidents/inc-3f9a0c12",
    "offswitch stop shop/eu/b --level poweroff",
)
TITLES = [
    "What is happening", "Already stopped", "Still acts", "What a stop costs", "If nobody acts",
    "Look", "Command",
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>", "<!channel> <@U1> <https://evil.example|our console>",
    "\x1b[2J\x1b[1;1Hall is well", "line\nCommand: rm -rf /\r\nx", "\u202egnp.exe", "`$(reboot)`",
    "[click](javascript:alert(1)) ![x](http://evil/p.png)", "*bold* _it_ ~no~ # head",
    "ignore all previous instructions", "&lt;b&gt;", "@everyone :bomb: ||x||", "x" * 5000,
]  # fmt: skip


def notice(page: Page = PAGE, **other: Any) -> Notice:  # noqa: ANN401
    whole = Notice(
        "inc-3f9a0c12", Event.NOT_CONFIRMED, Phase.OPEN, "not confirmed", "shop/eu", page, 1,
        urgent=True, level="kill",
    )  # fmt: skip
    return replace(whole, **other)


def hostile(words: str) -> Page:
    return Page(words, words, (words,), (words, words), words, words, words, words).bounded()


def texts(value: Any) -> list[str]:  # noqa: ANN401
    """Give every text of some blocks."""
    if isinstance(value, dict):
        return [each for item in value.values() for each in texts(item)]
    if isinstance(value, list):
        return [each for item in value for each in texts(item)]
    return [value] if isinstance(value, str) else []


def test_a_page_to_a_person_holds_seven_parts_in_their_order() -> None:
    assert [title for _key, title, _said in parts(PAGE)] == TITLES
    for written in (text(PAGE), markdown(PAGE), as_html(PAGE), "\n".join(texts(blocks(notice())))):
        at = [written.index(title) for title in TITLES]
        assert at == sorted(at)
        for said in ("mass", "confirmed", "NOT seen", "queue up", "again", "inc", "poweroff"):
            assert said in written


def test_what_is_not_known_says_so() -> None:
    empty = text(Page("STOP", "a stop", (), (), "", "nothing", "", "offswitch status"))
    assert "Already stopped: nothing yet" in empty
    assert "Still acts: nothing that is known of" in empty
    assert "What a stop costs: nobody has said" in empty


@pytest.mark.parametrize("words", HOSTILE)
def test_in_a_text_nothing_moves_a_cursor_or_begins_a_line(words: str) -> None:
    lines = text(hostile(words)).split("\n")
    assert len(lines) == 2 + 7 + 1
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith("Command: ") for line in lines) == 1


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == []
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize("words", HOSTILE)
def test_in_html_hostile_words_are_text(words: str) -> None:
    reader = _Tags()
    reader.feed(as_html(hostile(words)))
    assert reader.tags == {"p", "strong", "dl", "dt", "dd", "code"}
    if words.isprintable() and len(words) < 1000:
        assert words in reader.said


@pytest.mark.parametrize("words", HOSTILE)
def test_in_markdown_every_mark_is_escaped(words: str) -> None:
    for line in markdown(hostile(words)).split("\n"):
        body = re.sub(r"^- \*\*[\w ]+:\*\* |^\*\*|\*\*$", "", line)
        bare = re.sub(r"\\[^A-Za-z0-9\s]", "", re.sub(r"`[^`]*`", "", body))
        assert not re.search(r"[*_\[\]<>!|~@&]", bare), line
    assert len(markdown(hostile(words)).split("\n")) == 2 + 7


@pytest.mark.parametrize("words", HOSTILE)
def test_in_slack_nothing_is_parsed_but_what_is_escaped(words: str) -> None:
    made = blocks(notice(hostile(words), scope="shop/eu", thread="inc-1"), words)
    assert not re.search(r'"type": "mrkdwn"', json.dumps(made))
    assert all(len(head["text"]["text"]) <= 150 for head in made if head["type"] == "header")
    for said in texts(made):
        assert all(part.isprintable() for part in said.split("\n"))
    assert not re.search(r"<|>|&(?!amp;|lt;|gt;)", fallback(hostile(words)))
    assert all(
        element["type"] != "link"
        for block in made
        if block["type"] == "rich_text"
        for section in block["elements"]
        for element in section["elements"]
    )


def test_slacks_buttons_are_those_that_can_be_pressed() -> None:
    def buttons(made: list[dict[str, Any]]) -> list[str]:
        rows = [block["elements"] for block in made if block["type"] == "actions"]
        return [button["action_id"] for row in rows for button in row]

    assert buttons(blocks(notice())) == ["offswitch-stop", "offswitch-acknowledge"]
    assert buttons(blocks(notice(), "ada")) == ["offswitch-stop"]
    assert buttons(blocks(notice(level="", urgent=False))) == []
    assert buttons(blocks(notice(), buttons=False)) == []


def test_a_notice_is_the_same_after_the_disk() -> None:
    whole = notice(concerns=("ada",), backup=True)
    assert Notice.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole
    bounded = Page("x", "x", tuple(map(str, range(50))), (), "", "", "", "").bounded()
    assert bounded.stopped[-1] == "and 30 more"
