"""A page, written for people: as text, Markdown, HTML and Slack's blocks. Pure.

Every way has its own marks, and what a target or a person wrote may hold any of them: an escape
sequence that paints over an alarm, `<!channel>`, a link that says one thing and leads elsewhere.
So each writer spells out what its reader would take for a mark. In Slack all of it goes into
`rich_text` elements, which are shown as they are and parsed by nobody.
"""

from __future__ import annotations

import html as markup
import re
from collections.abc import Iterator
from typing import Any

from offswitch.printable import printable
from offswitch.station.notify.notice import Notice, Page

__all__ = ["as_html", "blocks", "fallback", "markdown", "parts", "text"]

_LINE = 1000
_NOBODY_LEFT = "nothing that is known of"
_NOTHING_YET = "nothing yet"
_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~@&:])")
_SLACK_HEADER = 150
_SLACK_TEXT = 2900
_SLACK_VALUE = 1900

Block = dict[str, Any]


def parts(page: Page) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Give key, title and lines of each part, in the order in which a person reads them."""
    yield "happening", "What is happening", (page.happening,)
    yield "stopped", "Already stopped", page.stopped or (_NOTHING_YET,)
    yield "acting", "Still acts", page.acting or (_NOBODY_LEFT,)
    yield "cost", "What a stop costs", (page.cost or "nobody has said",)
    yield "otherwise", "If nobody acts", (page.otherwise,)
    yield "link", "Look", (page.link,)
    yield "command", "Command", (page.command,)


def text(page: Page) -> str:
    """Write it as plain text: no control characters, no turned writing."""
    lines = [printable(page.headline, _LINE), ""]
    for _key, title, said in parts(page):
        lines += [f"{title}: {printable(said[0], _LINE)}"]
        lines += [f"  {printable(line, _LINE)}" for line in said[1:]]
    return "\n".join(lines)


def markdown(page: Page) -> str:
    """Write it in Markdown; what others wrote is escaped, so that it is read as it stands."""
    lines = [f"**{_marked(page.headline)}**", ""]
    for key, title, said in parts(page):
        shown = [_WRITTEN.get(key, _marked)(line) for line in said]
        lines += [f"- **{title}:** {'; '.join(shown)}"]
    return "\n".join(lines)


def as_html(page: Page) -> str:
    """Write it as a fragment of HTML."""
    rows = [f"<p><strong>{_tagged(page.headline)}</strong></p>", "<dl>"]
    for key, title, said in parts(page):
        shown = [f"<code>{_tagged(x)}</code>" if key == "command" else _tagged(x) for x in said]
        rows += [f"<dt>{title}</dt>", *(f"<dd>{line}</dd>" for line in shown)]
    return "\n".join([*rows, "</dl>"])


def fallback(page: Page) -> str:
    """Write the one line that Slack shows in its notifications; it is parsed, so escaped."""
    line = printable(page.headline, _SLACK_HEADER)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks(notice: Notice, seen_by: str = "", *, buttons: bool = True) -> list[Block]:
    """Write it in Slack's blocks."""
    page = notice.page
    head = {"type": "plain_text", "text": printable(page.headline, _SLACK_HEADER), "emoji": False}
    made: list[Block] = [{"type": "header", "text": head}]
    elements: list[Block] = []
    for key, title, said in parts(page):
        lines = "\n".join(printable(line, _LINE) for line in said)[:_SLACK_TEXT]
        style = {"style": {"code": True}} if key == "command" else {}
        linked = key == "link" and lines.startswith("http")
        kind = {"type": "link", "url": lines} if linked else {"type": "text"}
        elements.append(
            {
                "type": "rich_text_section",
                "elements": [
                    {"type": "text", "text": f"{title}: ", "style": {"bold": True}},
                    {**kind, "text": lines or "-", **style},
                    {"type": "text", "text": "\n"},
                ],
            }
        )
    made.append({"type": "rich_text", "elements": elements})
    if seen_by:
        said_by = {"type": "plain_text", "text": printable(f"Acknowledged by {seen_by}", 200)}
        made.append({"type": "context", "elements": [said_by]})
    pressed = _buttons(notice, seen=bool(seen_by)) if buttons else []
    if pressed:
        made.append({"type": "actions", "elements": pressed})
    return made


def _buttons(notice: Notice, *, seen: bool) -> list[Block]:
    made = []
    if notice.level:
        label = printable(f"STOP {'everything' if notice.scope == '/' else notice.scope}", 75)
        made.append(
            {
                "type": "button",
                "action_id": "offswitch-stop",
                "style": "danger",
                "text": {"type": "plain_text", "text": label, "emoji": False},
                "value": f"{notice.level} {notice.scope}"[:_SLACK_VALUE],
            }
        )
    if notice.urgent and not seen:
        made.append(
            {
                "type": "button",
                "action_id": "offswitch-acknowledge",
                "text": {"type": "plain_text", "text": "Acknowledge", "emoji": False},
                "value": notice.thread,
            }
        )
    return made


def _marked(line: str) -> str:
    return _MARKS.sub(r"\\\1", printable(line, _LINE))


def _coded(line: str) -> str:
    return printable(line, _LINE).replace("`", "'")


def _linked(line: str) -> str:
    """Write a link: it is ours, made of an address and an id."""
    return f"<{_coded(line)}>" if line.startswith("http") else _marked(line)


_WRITTEN = {"command": lambda line: f"`{_coded(line)}`", "link": _linked}


def _tagged(line: str) -> str:
    return markup.escape(printable(line, _LINE))
