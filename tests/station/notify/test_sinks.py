"""What leaves for real servers: signatures, keys, threads, retries, the order; and no secrets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offswitch.clock import SimulatedClock
from offswitch.config.declared import Config
from offswitch.config.load import Kinds, parse
from offswitch.config.notify import Event
from offswitch.model.webhook import signature
from offswitch.station.notify.book import Queues
from offswitch.station.notify.notice import Notice, Page, Phase
from offswitch.station.notify.post import Post
from offswitch.station.notify.prepare import prepare
from offswitch.station.notify.sinks.contract import Outgoing, Result, Sent, Sink
from offswitch.station.notify.sinks.http import Caller
from telling import START_US, Receiver

PAGE = Page(
    "NOT CONFIRMED: kill of shop <!here>", "it \x1b[2J happens", ("a: confirmed",),
    ("b: NOT seen",), "money", "again", "https://off.example.org/incidents/inc-1",
    "offswitch status",
)  # fmt: skip
NOTICE = Notice(
    "inc-1", Event.NOT_CONFIRMED, Phase.OPEN, "commanded", "shop", PAGE, START_US, urgent=True,
    level="kill",
)  # fmt: skip
SECOND = 1_000_000
Write = Callable[[str, str], str]


def outgoing(**other: Any) -> Outgoing:  # noqa: ANN401
    return Outgoing("msg-7", replace(NOTICE, **other), "", "", "ada", "cleo")


def read(text: str) -> Config:
    return parse(text.encode(), "x", Kinds({}, {}))


def sent(sink: Sink, *all_of_them: Outgoing) -> list[Result]:
    """Send through a real client, one after the other."""

    async def main() -> list[Result]:
        results = [await sink.send(one) for one in all_of_them]
        await sink.close()
        return results

    return asyncio.run(main())


def way(kind: str, receiver: Receiver, secret: Write, **keys: str) -> Sink:
    """Make a way as a station does, its secrets in files."""
    lines = [f'[[notify]]\nname = "way"\nkind = "{kind}"']
    lines += [f'{key} = "{value}"' for key, value in keys.items()]
    if kind != "apprise":
        lines.append(f'url = "{receiver.url}/hook"')
    prepared = prepare(read("\n".join(lines)), SimulatedClock(START_US))
    assert prepared.problems == ()
    return prepared.sinks[0]


def test_a_webhook_is_signed_over_id_time_and_body(receiver: Receiver, secret: Write) -> None:
    sink = way("webhook", receiver, secret, secret_file=secret("key", "hush\n"))
    assert sent(sink, outgoing()) == [Sent()]
    path, headers, body = receiver.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    made = hmac.new(b"hush", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(made).decode()}"
    assert (path, headers["webhook-id"]) == ("/hook", "msg-7")
    assert headers["webhook-timestamp"] == str(START_US // SECOND)
    said = json.loads(body)
    assert (said["type"], said["thread"]) == ("offswitch.not-confirmed", "inc-1")
    assert list(said["page"]) == [
        "headline", "happening", "stopped", "acting", "cost", "otherwise", "link", "command",
    ]  # fmt: skip
    assert "\x1b" not in said["text"]
    assert "<!here>" not in said["html"]


def test_a_signature_is_that_of_the_standards_own_example() -> None:
    """The vector of the standard's reference libraries (standardwebhooks, Svix)."""
    made = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        b'{"test": 2432232314}',
    )  # fmt: skip
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_pagerduty_has_one_key_an_incident(receiver: Receiver, secret: Write) -> None:
    sink = way("pagerduty", receiver, secret, routing_key_file=secret("key", "R0UT1NG"))
    phases = (Phase.OPEN, Phase.UPDATE, Phase.SEEN, Phase.CLOSE)
    assert sent(sink, *(outgoing(phase=phase) for phase in phases)) == [Sent()] * 4
    bodies = receiver.bodies
    assert [body["event_action"] for body in bodies] == [
        "trigger", "trigger", "acknowledge", "resolve",
    ]  # fmt: skip
    assert {body["dedup_key"] for body in bodies} == {"inc-1"}
    assert {body["routing_key"] for body in bodies} == {"R0UT1NG"}
    payload = bodies[0]["payload"]
    assert payload["severity"] == "critical"
    assert payload["timestamp"] == "2027-01-15T08:00:00Z"
    assert list(payload["custom_details"])[:3] == [
        "What is happening", "Already stopped", "Still acts",
    ]  # fmt: skip
    assert payload["custom_details"]["Called"] == ["ada"]
    assert "\x1b" not in json.dumps(payload)


def test_slacks_message_turns_and_its_thread_says_how(receiver: Receiver, secret: Write) -> None:
    receiver.answer = lambda _path, _body: {"channel": "C9", "ts": "17.1"}
    sink = way("slack", receiver, secret, token_file=secret("t", "xoxb-1"), channel="C9")
    [first] = sent(sink, outgoing())
    assert first == Sent("C9 17.1")
    confirmed = replace(outgoing(state="confirmed", phase=Phase.UPDATE), ref="C9 17.1")
    assert sent(sink, confirmed) == [Sent("C9 17.1")]
    assert [path.rpartition("/")[2] for path, _headers, _body in receiver.got] == [
        "chat.postMessage", "chat.update", "chat.postMessage",
    ]  # fmt: skip
    posted, changed, reply = receiver.bodies
    assert changed["ts"] == reply["thread_ts"] == "17.1"
    assert reply["blocks"][0]["text"]["text"].startswith("ada is called: confirmed")
    assert posted["parse"] == "none"
    assert posted["text"] == "NOT CONFIRMED: kill of shop &lt;!here&gt;"
    assert {headers["authorization"] for _p, headers, _b in receiver.got} == {"Bearer xoxb-1"}


def test_what_slack_no_longer_has_is_posted_anew(receiver: Receiver, secret: Write) -> None:
    gone = (200, {}, b'{"ok": false, "error": "message_not_found"}')
    receiver.answers = [gone]
    receiver.answer = lambda _path, _body: {"channel": "C9", "ts": "18.1"}
    sink = way("slack", receiver, secret, token_file=secret("t", "x"), channel="C9")
    assert sent(sink, replace(outgoing(), ref="C9 17.1")) == [Sent("C9 18.1")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what apprise imports
def test_apprise_is_given_text(receiver: Receiver, secret: Write) -> None:
    url = f"json://127.0.0.1:{receiver.port}/apprise"
    sink = way("apprise", receiver, secret, url_file=secret("u", f"# ours\n{url}\n"))
    assert sent(sink, outgoing()) == [Sent()]
    [said] = receiver.bodies
    assert said["message"].startswith("Called: ada\nLead: cleo\nNOT CONFIRMED")
    assert "\x1b" not in json.dumps(said)


@pytest.mark.parametrize(
    ("answer", "kind", "after_us"),
    [
        ((500, {}, b"x"), "Later", 0),
        ((429, {"retry-after": "7"}, b"x"), "Later", 7 * SECOND),
        ((404, {}, b"x"), "Never", 0),
        ((302, {"location": "http://127.0.0.1:1/"}, b"x"), "Never", 0),
    ],
)
def test_what_a_server_answers_means_again_or_never(
    receiver: Receiver,
    secret: Write,
    answer: tuple[int, dict[str, str], bytes],
    kind: str,
    after_us: int,
) -> None:
    receiver.answers = [answer]
    [said] = sent(way("webhook", receiver, secret, secret_file=secret("k", "x")), outgoing())
    assert type(said).__name__ == kind
    assert getattr(said, "after_us", 0) == after_us
    assert len(receiver.got) == 1


def test_a_way_whose_secret_cannot_be_read_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    text = "\n".join(
        f'[[notify]]\nname = "{name}"\nkind = "webhook"\nurl = "http://127.0.0.1:9/"\n'
        f'secret_file = "{tmp_path}/{name}"'
        for name in ("open", "absent")
    )
    prepared = prepare(read(text), SimulatedClock(START_US))
    assert prepared.sinks == ()
    assert [problem.split(":")[0] for problem in prepared.problems] == [
        "notify open cannot be used", "notify absent cannot be used",
    ]  # fmt: skip


# --- the post --------------------------------------------------------------------------------


class Outbox:
    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def tell(self, kind: str, what: str, **said: Any) -> None:  # noqa: ANN401
        self.entries.append({"kind": str(kind), "what": what, **said})


class Counter:
    """Queues, a webhook and a post on a simulated clock."""

    def __init__(self, folder: Path, url: str) -> None:
        self.clock = SimulatedClock(START_US)
        self.outbox = Outbox()
        self.queues = Queues(str(folder))
        text = f'[[notify]]\nname = "way"\nkind = "webhook"\nurl = "{url}/"\nsecret_file = "KEY"'
        key = folder / "key"
        key.write_text("hush-secret")
        key.chmod(0o600)
        self.sink = prepare(read(text.replace("KEY", str(key))), self.clock).sinks[0]
        self.post = Post(self.sink, self.queues, self.clock, self.outbox, "")  # type: ignore[arg-type]

    def add(self, *threads: str) -> None:
        for thread in threads:
            body = {"notice": replace(NOTICE, thread=thread).as_dict(), "called": "", "seen_by": ""}
            self.queues.add("way", thread, body, self.clock.wall_us())

    async def pass_time(self, seconds: int) -> int:
        """Let time pass, a quarter of a second at a time; gives how often it was tried."""
        tries = 0
        for _ in range(seconds * 4):
            while await self.post.turn():
                tries += 1
            self.clock.advance(SECOND // 4)
        return tries


def test_a_server_that_is_away_gets_all_of_it_later_in_its_order(
    tmp_path: Path, receiver: Receiver
) -> None:
    counter = Counter(tmp_path, receiver.url)
    counter.add("inc-1", "inc-2", "inc-3")
    receiver.answers = [(503, {}, b"x")] * 4

    async def main() -> int:
        tries = await counter.pass_time(40)
        await counter.sink.close()
        return tries

    assert asyncio.run(main()) == 4 + 3
    assert [body["thread"] for body in receiver.bodies[4:]] == ["inc-1", "inc-2", "inc-3"]
    assert len({headers["webhook-id"] for _p, headers, _b in receiver.got[:5]}) == 1
    states = [(entry["state"], entry["thread"]) for entry in counter.outbox.entries]
    assert states == [
        ("waits, is tried again", "inc-1"), ("delivered", "inc-1"), ("delivered", "inc-2"),
        ("delivered", "inc-3"),
    ]  # fmt: skip
    assert "hush" not in json.dumps(counter.outbox.entries)
    counter.queues.close()


def test_what_is_a_day_old_is_dropped_and_that_is_a_gap(tmp_path: Path) -> None:
    counter = Counter(tmp_path, "http://127.0.0.1:1")
    counter.add("inc-1")

    async def main() -> None:
        await counter.pass_time(1)
        counter.clock.advance(86_400 * SECOND)
        await counter.pass_time(1)
        await counter.sink.close()

    asyncio.run(main())
    assert counter.post.problem == "it cannot be reached: ConnectError"
    assert [entry["kind"] for entry in counter.outbox.entries] == ["page", "gap"]
    assert counter.queues.head("way") is None
    counter.queues.close()


def test_a_sink_that_raises_or_hangs_is_tried_again(tmp_path: Path) -> None:
    counter = Counter(tmp_path, "http://127.0.0.1:1")

    class Broken:
        name, kind = "way", "webhook"

        async def send(self, _outgoing: Outgoing) -> Result:
            raise RuntimeError("token=hush-secret")

        async def close(self) -> None: ...

    counter.post.sink = Broken()
    counter.add("inc-1")
    asyncio.run(counter.pass_time(1))
    assert counter.post.problem == "a defect: RuntimeError"
    assert counter.queues.waiting("way") == 1
    assert "hush" not in json.dumps(counter.outbox.entries)
    counter.queues.close()


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offswitch.station.notify.sinks.http.DEADLINE_S", 0.05)

    async def main(port: int) -> object:
        caller = Caller(ssl.create_default_context())
        said = await caller.post(f"http://127.0.0.1:{port}/", b"x", {})
        await caller.close()
        return said

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert "no answer" in str(asyncio.run(main(deaf.getsockname()[1])))
