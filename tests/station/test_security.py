"""Who could do what, tried: one admin, a stolen session, a flood, and the console cut off."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from house import House, house
from installation import until
from offswitch.control.ids import user_of
from offswitch.decide.authority import add_person
from offswitch.decide.totp import code_at
from scale import runs

pytestmark = pytest.mark.usefixtures("as_root")

PASSWORD = "a long enough word"
SECRET = b"of ada, who may reset"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house whose warden knows two people of role safety; one admin who is neither."""
    people = {"eve": ["admin", "operator"], "oz": ["operator", "admin"]}
    with house(tmp_path_factory.mktemp("house"), people=people) as one:
        for name in ("ada", "ben"):
            totp = base64.b32encode(SECRET if name == "ada" else SECRET[::-1]).decode()
            add_person(one.installation.home, name, uid=None, keys=[], totp=totp)
        one.installation.ask({"op": "people"})
        client = one.person("oz")
        until(lambda: client.get("/api/v1/people").json()["mode"] == "people", "people mode")
        yield one


def refused(home: House, what: str) -> None:
    def recorded() -> bool:
        found = [one for one in home.installation.entries() if one["kind"] == "refused"]
        return any(what in f"{one['what']} {one['why']} {one['by']}" for one in found)

    until(recorded, f"a refusal of {what}")


# --- SEC-5 ------------------------------------------------------------------------


def test_SEC_5_one_admin_can_neither_reset_nor_become_somebody_who_can(home: House) -> None:
    home.installation.press("shop")
    eve = home.person("eve")
    grounds = {"scope": "shop", "reason": "r", "safe": "s", "changed": "c"}
    assert eve.post("/api/v1/resets", json=grounds).status_code == 403
    for name in ("safety", "reset"):
        assert eve.patch("/api/v1/people/eve", json={"roles": ["admin", name]}).status_code == 422
    # An account of a name that the warden knows would be of role safety: she takes it not.
    link = eve.post("/api/v1/people", json={"name": "ada", "roles": []}).json()["link"]
    thief = home.stranger()
    for proof in ("", "code ada 000000", 'passkey {"id": ""}', "code eve 123456"):
        got = thief.post(link, data={"new": PASSWORD, "proof": proof})
        assert got.status_code == 400, got.text
    assert thief.get("/api/v1/session").status_code == 401
    refused(home, "set a password")
    # The one whose name it is does.
    code = code_at(SECRET, int(time.time()) // 30)
    ada = home.stranger()
    assert ada.post(link, data={"new": PASSWORD, "proof": f"code ada {code}"}).status_code == 303
    assert "reset" in ada.get("/api/v1/session").json()["powers"]
    # Nor does a new link for her help.
    link = eve.post("/api/v1/people/ada/invitation").json()["link"]
    assert home.stranger().post(link, data={"new": PASSWORD}).status_code == 400
    assert home.installation.status()["latched"], "what was stopped is stopped"


def test_SEC_5_no_operation_lets_an_admin_change_rules_bypass_one_or_move_the_logs_anchor(
    home: House,
) -> None:
    eve = home.person("eve")
    paths = eve.get("/api/v1/openapi.json").json()["paths"]
    guarded = [
        path
        for path in paths
        if any(
            word in re.sub(r"\{.*?\}", "", path)
            for word in ("reset", "bypass", "rule", "shelve", "config")
        )
    ]
    assert "/api/v1/resets" in guarded
    for path in guarded:
        for method in set(paths[path]) - {"get"}:
            asked = path.replace("{", "").replace("}", "")
            got = eve.request(method.upper(), asked, json={})
            assert got.status_code in {403, 404, 422, 503}, (method, path, got.text)
    for path in ("/api/v1/pin", "/api/v1/ledger/pin", "/api/v1/ledger/key", "/api/v1/authority"):
        assert eve.put(path, json={}).status_code in {404, 405}


def test_SEC_5_the_stations_user_owns_and_writes_none_of_what_decides(home: House) -> None:
    user = user_of("station")
    assert user is not None
    kept = Path(home.installation.home)
    assert (kept / "station").stat().st_uid == user.uid
    for name in (".", "people", "people/ada.json", "authority", "pin", "pin/head", "ledger"):
        facts = (kept / name).stat()
        assert facts.st_uid != user.uid, name
        group = facts.st_mode & 0o020 and facts.st_gid == user.gid
        assert not group, name
        assert not facts.st_mode & 0o002, name


# --- a stolen session -------------------------------------------------------------


def test_a_stolen_session_stops_and_looks_but_keeps_nothing_and_confirms_nothing(
    home: House,
) -> None:
    oz, thief = home.person("oz"), home.stranger()
    thief.cookies.update(oz.cookies)
    thief.headers["x-csrf"] = thief.get("/api/v1/session").json()["csrf"]
    assert thief.post("/stop", data={"scope": "stolen"}).status_code == 303
    new = {"old": "guessed wrong", "new": "mine from now on"}
    assert thief.post("/me/password", data=new).status_code == 400
    assert thief.post("/me/passkeys/ask", json={"password": "guessed"}).status_code == 403
    assert thief.post("/api/v1/resets", json={"scope": "stolen"}).status_code in {403, 422}
    # Its owner sees it and ends it, from anywhere.
    mine = home.person("oz")
    for one in mine.get("/api/v1/sessions").json()["sessions"]:
        if not one["this"]:
            assert mine.delete(f"/api/v1/sessions/{one['id']}").status_code == 204
    assert thief.get("/api/v1/session").status_code == 401
    assert thief.post("/stop", data={"scope": "again"}).status_code == 401
    refused(home, "nobody is signed in")


def test_what_a_stranger_types_is_text_in_the_record_and_the_log(home: House) -> None:
    name = "x\n\x1b[2Jall is well"
    home.stranger().post("/sign-in", data={"name": name, "password": "p"})
    refused(home, "all is well")
    shown = "".join(str(one) for one in home.installation.entries())
    assert "\x1b" not in shown
    assert "\x1b" not in home.said()


# --- SEC-4 ------------------------------------------------------------------------


async def at_once(home: House, count: int, scope: str, session: str) -> list[bytes]:
    """Open `count` connections, then send a stop on all of them at the same moment."""
    parts = urlsplit(home.url)
    body = b'{"scopes": ["%s"]}' % scope.encode()
    head = (
        f"POST /api/v1/stops HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Cookie: offswitch={session}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    ready = asyncio.Event()
    waiting = 0

    async def one() -> bytes:
        nonlocal waiting
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        waiting += 1
        if waiting == count:
            ready.set()
        await ready.wait()
        writer.write(head + body)
        said = await reader.read()
        writer.close()
        return said

    return await asyncio.gather(*(one() for _ in range(count)))


def test_SEC_4_ten_thousand_at_once_are_all_accepted_and_one_stop(home: House) -> None:
    count = runs(10_000)
    client = home.person("oz")
    with ThreadPoolExecutor(1) as thread:  # in this one a browser's loop may be running
        session = client.cookies["offswitch"]
        answers = thread.submit(
            lambda: asyncio.run(at_once(home, count, "flood", session))
        ).result()
    assert [said for said in answers if b" 202 " not in said[:20]] == []
    presses = {json.loads(said.partition(b"\r\n\r\n")[2])["press"] for said in answers}
    for press in presses:  # a few were only commanded when they were answered
        said = client.get(f"/api/v1/stops/{press}").json()
        assert said["accepted_by"] == "warden", said
    live = [one for one in home.installation.status()["latched"] if one["scope"] == "flood"]
    assert len(live) == 1, "they are one stop"
    orders = [
        one
        for one in home.installation.entries()
        if one["kind"] == "order" and one["scope"] == "flood"
    ]
    assert 1 <= len(orders) <= len(presses) < count / 4


def test_SEC_4_a_thousand_stops_of_one_person_are_each_accepted_with_no_limit(home: House) -> None:
    client = home.person("oz")
    for _ in range(runs(1000)):
        said = client.post("/api/v1/stops", json={"scopes": ["often"]})
        assert said.status_code == 202
        assert said.json()["accepted_by"] == "warden"
    live = [one for one in home.installation.status()["latched"] if one["scope"] == "often"]
    assert len(live) == 1


# --- HMI-4, last: these break the house --------------------------------------------


def test_HMI_4_with_the_sockets_gone_the_console_still_stops(home: House) -> None:
    running = home.installation.run("sleep", "1000", target="cut/a")
    client = home.person("oz")
    for path in (home.installation.place.warden_socket, home.installation.place.keeper_socket):
        os.unlink(path)
    assert client.post("/stop", data={"scope": "cut"}).status_code == 303
    until(lambda: ended(running.born["pid"]), "the console's press reached it by the spool")


def test_HMI_4_with_console_and_sockets_gone_a_file_still_stops(home: House) -> None:
    home.kill()
    with pytest.raises(httpx2.HTTPError):
        httpx2.get(home.url, timeout=1)
    pid = next(
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and b"canary-of-hmi-4" in cmdline(path)
    )
    Path(home.installation.place.spool, "hmi").touch()
    until(lambda: ended(pid), "a touched file stopped it")


def cmdline(path: Path) -> bytes:
    try:
        return (path / "cmdline").read_bytes()
    except OSError:
        return b""


def ended(pid: int) -> bool:
    try:
        return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True


@pytest.fixture(scope="module", autouse=True)
def canary(home: House) -> None:
    """Start what the very last test stops, while there is still a socket to start it by."""
    home.installation.run("sh", "-c", "sleep 1000; : canary-of-hmi-4", target="hmi/a")
