"""The line by which hands speak HTTP: what it calls its peer, and what it never quotes."""

from __future__ import annotations

import pytest

from actuators.hands.stubs.web import Asked, Said, Stub
from offswitch.actuators.hands.contract import Trouble
from offswitch.actuators.hands.http import Line
from offswitch.actuators.hands.unsaid import unsaid


class _Echo(Stub):
    def answer(self, asked: Asked) -> Said:
        return Said.of(200, asked.headers)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/key?key=a secret", {}),
        ("/", {"authorization": "Bearer a secret\nof two lines"}),
        ("/", {"authorization": "a secret that is no latin-1: ☃"}),
    ],
)
def test_SR_4_what_cannot_be_sent_is_not_quoted(path: str, headers: dict[str, str]) -> None:
    echo = _Echo()
    line = Line(echo.url)
    try:
        with pytest.raises(Trouble) as raised:
            line.ask("GET", path, headers=headers)
        assert "secret" not in str(raised.value)
        assert "cannot be sent" in str(raised.value)
        assert line.ask("GET", "/").ok
    finally:
        line.close()
        echo.close()


def test_a_host_is_named_without_the_port_that_goes_without_saying() -> None:
    echo = _Echo()
    line = Line(echo.url)
    try:
        assert line.ask("GET", "/").json()["host"] == echo.url.removeprefix("http://")
    finally:
        line.close()
        echo.close()
    assert Line("https://api.example.org")._named == "api.example.org"
    assert Line("https://api.example.org:443/v3")._named == "api.example.org"
    assert Line("https://[::1]:8443/")._named == "[::1]:8443"


def test_SR_4_what_others_say_is_told_without_the_secrets_in_it() -> None:
    said = unsaid(
        "no: sk-1234 and a/b+c== or a%2Fb%2Bc%3D%3D \x1b[2J", ["sk-1234", "key = a/b+c==", "ab"]
    )
    assert "sk-1234" not in said
    assert "\x1b" not in said
    assert unsaid("wJalrXUtnFEMI/K7", ["id = AKIA\nsecret = wJalrXUtnFEMI/K7\n"]) == "•••"
    assert unsaid("ab", ["ab", ""]) == "ab"
    assert len(unsaid("x" * 9999, ["secret"])) == 200
