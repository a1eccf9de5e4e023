"""A station for a test: a real installation, a real station process, and browsers that visit it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from installation import Installation, until
from offswitch.decide.roles import Role
from offswitch.station.people.accounts import Accounts
from offswitch.station.people.passwords import hashed
from offswitch.station.people.store import Store

People = Mapping[str, Sequence[str]]
"""Who has an account, and with which roles."""
CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""What keeps a Chromium to the pages that it is asked for."""


class House:
    """An installation with a station; `config` is the text of offswitch.toml."""

    def __init__(
        self, installation: Installation, config: str = "", people: People | None = None
    ) -> None:
        self.installation = installation
        self.verify: Any = True
        """What its clients believe of certificates."""
        self.people = people or {}
        self.config = config
        self.station: subprocess.Popen[bytes] | None = None
        self.eyes: subprocess.Popen[bytes] | None = None
        self.clients: list[httpx2.Client] = []
        self._first: tuple[str, str] | None = None

    @property
    def folder(self) -> Path:
        return Path(self.installation.home, "station")

    def start(self) -> House:
        """Start the station, and wait until it answers."""
        if self.people and not self.folder.exists():
            self._move_in()
        home, run = self.installation.home, self.installation.run_folder
        text = self.config if "[station]" in self.config else f"{self.config}\n[station]\n"
        if "listen" not in text:
            text = re.sub(
                r"^\[station\]\n", '[station]\nlisten = "127.0.0.1:0"\n', text, flags=re.MULTILINE
            )
        path = Path(home, "offswitch.toml")
        path.write_text(text)
        path.chmod(0o644)
        (self.folder / "address").unlink(missing_ok=True)
        argv = [sys.executable, "-I", "-m", "offswitch.station", "--home", home, "--run", run]
        with open(f"{home}/station.log", "ab") as log:
            self.station = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, f"the station answers: {self.said()}")
        return self

    def _move_in(self) -> None:
        """Let people have accounts from the first; `safety` is the warden's word alone."""
        self.folder.mkdir(mode=0o700)
        store = Store(str(self.folder))
        accounts = Accounts(store)
        for name, roles in self.people.items():
            known = {Role(role) for role in roles} - {Role.SAFETY}
            accounts.add(name, known, hashed(f"secret of {name}"), time.time_ns() // 1000)
        store.close()

    def _answers(self) -> bool:
        assert self.station is not None
        assert self.station.poll() is None, self.said()
        try:
            with httpx2.Client(base_url=self.url, timeout=1, verify=self.verify) as client:
                return bool(client.get("/healthz").json()["warden"])
        except (OSError, httpx2.HTTPError):
            return False

    def said(self) -> str:
        """Give what the station wrote for people."""
        try:
            return Path(self.installation.home, "station.log").read_text(errors="replace")[-4000:]
        except OSError:
            return ""

    @property
    def url(self) -> str:
        return (self.folder / "address").read_text().strip()

    @property
    def first(self) -> tuple[str, str]:
        """Name and password of the operator that the first start made; gone once used."""
        if self._first is None:
            name, password = (self.folder / "first").read_text().split()
            self._first = name, password
        return self._first

    def client(self, name: str = "", password: str = "") -> httpx2.Client:
        """Give a client of somebody signed in (the first operator), as a browser would be."""
        client = self.stranger()
        name, password = (name, password) if name else self.first
        got = client.post("/sign-in", data={"name": name, "password": password})
        if got.status_code == 429:  # what another test of this house tried wrong
            time.sleep(int(got.headers["retry-after"]))
            got = client.post("/sign-in", data={"name": name, "password": password})
        assert got.status_code == 303, got.text
        client.headers["x-csrf"] = client.get("/api/v1/session").json()["csrf"]
        return client

    def person(self, name: str) -> httpx2.Client:
        """Give a client of one of the `people` of this house."""
        return self.client(name, f"secret of {name}")

    def stranger(self) -> httpx2.Client:
        """Give a client of nobody."""
        client = httpx2.Client(base_url=self.url, timeout=20, verify=self.verify)
        self.clients.append(client)
        return client

    def watch(self) -> None:
        """Start a watch beside it, for the rules of its configuration."""
        place = self.installation.place
        argv = [sys.executable, "-I", "-m", "offswitch.watch", "--home", place.home]
        with open(f"{place.home}/watch.log", "ab") as log:
            self.eyes = subprocess.Popen(
                [*argv, "--run", place.run], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """`kill -9` the station alone."""
        assert self.station is not None
        self.station.kill()
        self.station.wait()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in (self.station, self.eyes):
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def house(
    folder: Path,
    config: str = "",
    people: People | None = None,
    verify: Any = None,  # noqa: ANN401 - as a client takes it
) -> Iterator[House]:
    """Give a house with warden and station; nothing of it is left afterwards.

    `people` are those who have accounts, each with the password `secret of NAME`; without any
    there is the one operator whom the first start makes.
    """
    installation = Installation(folder)
    try:
        installation.start()
        one = House(installation, config, people)
        one.verify = verify or True
        try:
            yield one.start()
        finally:
            one.close()
    finally:
        installation.close()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Give a real Chromium, driven by playwright; each visitor gets a context of its own."""
    if not os.path.exists(CHROMIUM):
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is missing: scripts/test installs it")
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - where it is wanted

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()
