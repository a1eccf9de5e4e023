"""Before one decides: causes, against, reach, costs on one screen; STOP without them (DEC-7)."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest

from chronicle import Chronicle
from house import House
from installation import PYTHON, until
from offswitch.clock import SystemClock
from offswitch.config.declared import Config
from offswitch.errors import Timeout
from offswitch.station import support
from offswitch.station.console.faces import Faces
from offswitch.station.incidents.book import Book
from offswitch.station.picture.hub import Hub
from offswitch.station.support import Analyst, View
from watched import SLEEPS, speaking, watched

if TYPE_CHECKING:
    from offswitch.station.archive.link import Archive

pytestmark = pytest.mark.usefixtures("as_root")

BOXES = (
    "Cause candidates and evidence",
    "Counter-evidence",
    "Blast radius",
    "Cost of a false stop",
)


@pytest.fixture
def told() -> Chronicle:
    return Chronicle()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with watched(tmp_path_factory.mktemp("support")) as one:
        one.installation.run(PYTHON, "-c", SLEEPS, target="lab/train")
        yield one


@pytest.fixture(scope="module")
def asked(place: House) -> dict[str, Any]:
    return speaking(place, "buy 7 items")


@pytest.fixture(scope="module")
def ada(place: House) -> httpx2.Client:
    return place.client()


def look(place: House, ada: httpx2.Client, browser: Any, path: str, **size: int) -> Any:  # noqa: ANN401
    """Open a page in a window of that size."""
    context = browser.new_context(viewport=size)
    cookies = [{"name": one.name, "value": one.value, "url": place.url} for one in ada.cookies.jar]
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(place.url + path)
    page.wait_for_selector("html.script")
    return page


def boxes(page: Any) -> list[dict[str, float]]:  # noqa: ANN401
    return [page.get_by_role("region", name=name).bounding_box() for name in BOXES]


def on_one_screen(page: Any) -> None:  # noqa: ANN401
    bar = page.locator(".stop-bar").bounding_box()
    for box in boxes(page):
        assert box["y"] + box["height"] <= bar["y"], "above STOP, without scrolling"
        assert box["width"] > 100


def test_DEC_7_a_question_shows_all_five_on_one_screen(
    place: House,
    asked: dict[str, Any],
    ada: httpx2.Client,
    browser: Any,  # noqa: ANN401
) -> None:
    path = f"/decisions/{asked['decision']}"
    page = look(place, ada, browser, path, width=1280, height=800)
    on_one_screen(page)
    causes, against, radius, costs = (
        page.get_by_role("region", name=name).inner_text() for name in BOXES
    )
    assert 'guard.step{kind="tool"}' in causes
    assert "arg.to buy 7 items" in causes
    assert "each of the calls gave something new" in against
    assert 'out.matches{name="errors"}: did not trip' in against
    assert "Hits 1: shop/agent (running)" in radius
    assert "Leaves 1 running: lab/train" in radius
    assert "rule again: checkout down for minutes" in costs
    assert "who: buyers; harm: orders queue up" in costs
    page.context.close()
    small = look(place, ada, browser, path, width=390, height=844)
    tops = [box["y"] for box in boxes(small)]
    assert tops == sorted(tops), "in their order"
    assert small.evaluate("document.documentElement.scrollWidth") <= 390
    small.context.close()


def test_DEC_7_an_incident_shows_the_same(
    place: House,
    asked: dict[str, Any],
    ada: httpx2.Client,
    browser: Any,  # noqa: ANN401
) -> None:
    ada.post("/decisions/approve", data={"decision": asked["decision"]})
    name = until(lambda: opened(ada, "shop/agent"), "it is an incident")
    said = ada.get(f"/api/v1/incidents/{name}/support").json()
    assert (said["about"], said["scope"], said["live"]) == (name, "shop/agent", True)
    page = look(place, ada, browser, f"/incidents/{name}", width=1280, height=800)
    on_one_screen(page)
    assert "buy 7 items" in page.get_by_role("region", name=BOXES[0]).inner_text()
    assert "Latched already 1: shop/agent" in page.get_by_role("region", name=BOXES[2]).inner_text()
    page.context.close()


def opened(ada: httpx2.Client, scope: str) -> str:
    known = ada.get("/api/v1/incidents").json()["incidents"]
    return next((str(one["incident"]) for one in known if one["scope"] == scope), "")


def test_DEC_7_with_the_record_unreadable_pages_are_there_and_STOP_is_accepted_as_before(
    place: House, ada: httpx2.Client
) -> None:
    """All that reads the record for people hangs, then is dead; the tail's own is left alone."""
    place.installation.run(PYTHON, "-c", SLEEPS, target="free/first")
    ada.post("/api/v1/stops", json={"scopes": ["free/first"], "wait_s": 10})
    name = until(lambda: opened(ada, "free/first"), "an incident")
    assert place.station is not None
    readers = clerks(place.station.pid)[1:]
    for way in (signal.SIGSTOP, signal.SIGKILL):
        for pid in readers:
            os.kill(pid, way)
        assert ada.get(f"/incidents/{name}").status_code == 200
        assert ada.get(f"/api/v1/incidents/{name}/support").status_code == 200
        target = f"free/{way.name.lower()}"
        place.installation.run(PYTHON, "-c", SLEEPS, target=target)
        said = ada.post("/api/v1/stops", json={"scopes": [target], "wait_s": 10}).json()
        assert said["confirmed"], said
        assert said["accepted_by"] == "warden"


def clerks(station: int) -> list[int]:
    """Give those who read the record: the tail's, people's, and the one for what takes a while."""
    children = Path(f"/proc/{station}/task/{station}/children").read_text().split()
    assert len(children) == 3, children
    return [int(pid) for pid in children]


def finished(work: Coroutine[Any, Any, list[View]]) -> list[View]:
    """Run it in a thread: a browser that is open takes this one for its loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Hung:
    """An archive that does not answer in time."""

    async def ask(self, _message: dict[str, Any], _patience_s: float) -> dict[str, Any]:
        raise Timeout("the record is not read in time")


def analyst(archive: Hung, book: Book) -> Analyst:
    return Analyst(SystemClock(), Hub(), book, cast("Archive", archive), Config())


def test_DEC_7_what_cannot_be_read_is_said(told: Chronicle) -> None:
    told.finding()
    told.decision("stop")
    told.stop()
    book = Book()
    one = analyst(Hung(), book)
    for entry in told.entries:
        book.take(entry)

    async def look() -> list[View]:
        return [await one.of_incident(book.all()[0])]

    [without] = finished(look())
    assert without.support is not None
    assert without.trouble == "older entries are not shown: the record is not read in time"
    for entry in told.entries:
        one.take(entry)
    known = finished(look())[0]
    assert known.trouble == ""
    assert known.support is not None
    assert len(known.support.causes) == 1


def test_a_moment_that_no_calendar_has_is_shown_as_it_is(told: Chronicle) -> None:
    told.finding(found_us=1 << 80)
    told.stop()
    book = Book()
    one = analyst(Hung(), book)
    for entry in told.entries:
        book.take(entry)
        one.take(entry)

    async def look() -> list[View]:
        return [await one.of_incident(book.all()[0])]

    frame: Any = Faces.read().templates.get_template("support.html").module
    assert f"{1 << 80} µs" in frame.screen(finished(look())[0])


def test_DEC_7_an_analysis_that_hangs_or_fails_leaves_the_page_without_it(
    told: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()
    monkeypatch.setattr(support, "_WITHIN_S", 0.01)
    row = {"decision": "7" * 64, "scope": "shop", "asked_us": told.now}

    def views(work: Any, count: int) -> list[View]:  # noqa: ANN401
        monkeypatch.setattr(support, "support_of_question", work)
        one = analyst(Hung(), Book())

        async def look() -> list[View]:
            made = [await one.of_question(row) for _ in range(count)]
            going.set()
            return made

        return finished(look())

    hung = views(lambda *_args, **_more: going.wait(10), 9)
    assert {view.support for view in hung} == {None}
    assert "not come in time" in hung[0].trouble
    assert "too many" in hung[8].trouble
    with pytest.raises(Timeout):
        hung[0].as_dict()
    [failed] = views(lambda *_args, **_more: 1 / 0, 1)
    assert "failed: a defect of ours: ZeroDivisionError" in failed.trouble
