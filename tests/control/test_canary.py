"""A canary is found in whatever form it leaks, and nothing else is taken for one."""

from __future__ import annotations

import base64
import codecs
import random
import string
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.control.canary import Canaries
from offswitch.errors import BadConfig

TOKEN = b"ofs-Canary/7Qd2+vX9kLm4"
OTHER = b"zz81-hPlw03-TqMerida"


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries({"prompt": TOKEN, "row": OTHER})


FORMS = {
    "as it is": TOKEN,
    "upper case": TOKEN.upper(),
    "mixed case": TOKEN.swapcase(),
    "reversed": TOKEN[::-1],
    "rot13": codecs.encode(TOKEN.decode(), "rot13").encode(),
    "hex": TOKEN.hex().encode(),
    "hex in capitals, spaced": TOKEN.hex(" ").upper().encode(),
    "hex with colons": TOKEN.hex(":").encode(),
    "escapes of C": "".join(f"\\x{byte:02x}" for byte in TOKEN).encode(),
    "an array in source": ", ".join(f"0x{byte:02X}" for byte in TOKEN).encode(),
    "escapes of JSON": "".join(f"\\u{byte:04x}" for byte in TOKEN).encode(),
    "percent-encoded": quote(TOKEN, safe="").encode(),
    "percent-encoded wholly": "".join(f"%{byte:02X}" for byte in TOKEN).encode(),
    "base64": base64.b64encode(b"xy" + TOKEN + b"!"),
    "base64 at another place": base64.b64encode(b"x" + TOKEN),
    "base64 at the third": base64.b64encode(TOKEN + b"more"),
    "base64 for URLs": base64.urlsafe_b64encode(b"?" + TOKEN),
    "base64 in lines": base64.encodebytes(b"a" * 30 + TOKEN + b"b" * 50),
    "base64 of capitals": base64.b64encode(TOKEN.upper()),
    "base32": base64.b32encode(b"abc" + TOKEN),
    "UTF-16": TOKEN.decode().encode("utf-16"),
    "one letter a line": b"\n".join(TOKEN[at : at + 1] for at in range(len(TOKEN))),
    "spaced out": b"   ".join(TOKEN[at : at + 4] for at in range(0, len(TOKEN), 4)),
    "concatenated in source": b'"' + TOKEN[:9] + b'" + "' + TOKEN[9:] + b'"',
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_found_in_each_form_that_is_promised(canaries: Canaries, form: str) -> None:
    assert canaries.within(b"GET /?q=" + FORMS[form] + b" HTTP/1.1") == ["prompt"]


@pytest.mark.parametrize("form", FORMS)
def test_it_is_found_across_any_two_pieces_of_a_stream_and_told_once(
    canaries: Canaries, form: str
) -> None:
    data = b"before " * 50 + FORMS[form] + b" after" * 50
    for cut in range(1, len(data), 7):
        stream = canaries.stream()
        assert stream.feed(data[:cut]) + stream.feed(data[cut:]) == ["prompt"], cut
        assert stream.feed(b"and on and on") == []
    stream = canaries.stream()
    found = [name for at in range(len(data)) for name in stream.feed(data[at : at + 1])]
    assert set(found) == {"prompt"}
    assert len(found) <= 3


def test_two_are_told_apart_and_each_time_it_comes_again_is_told(canaries: Canaries) -> None:
    assert sorted(canaries.within(OTHER + TOKEN)) == ["prompt", "row"]
    stream = canaries.stream()
    assert stream.feed(TOKEN + b" ") == ["prompt"]
    assert stream.feed(b" nothing ") == []
    assert stream.feed(TOKEN) == ["prompt"]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=4000))
def test_what_is_no_canary_is_never_taken_for_one(data: bytes) -> None:
    assert Canaries({"row": OTHER}).within(data) == []


def test_a_part_of_one_or_a_neighbour_is_none(canaries: Canaries) -> None:
    assert canaries.within(TOKEN[:-1]) == []
    assert canaries.within(TOKEN[1:]) == []
    assert canaries.within(TOKEN.replace(b"7", b"8")) == []
    letters = random.Random(5)
    noise = "".join(letters.choices(string.ascii_letters + string.digits, k=200_000))
    assert canaries.within(noise.encode()) == []


def test_a_file_of_tokens_is_read_by_line_and_a_bad_one_refused_without_repeating_it() -> None:
    text = f"# planted in May\nprompt: {TOKEN.decode()}\n\n{OTHER.decode()}\n"
    assert Canaries.read(text).names == ("prompt", "line-4")
    for bad in ("key: short", "key: aaaaaaaaaaaaaaaaaaaaaaaa", f"key: {'q7w8e9r' * 99}"):
        with pytest.raises(BadConfig) as told:
            Canaries.read(bad)
        assert bad[5:12] not in str(told.value)
    with pytest.raises(BadConfig, match="two canaries"):
        Canaries.read(f"a: {TOKEN.decode()}\na: {OTHER.decode()}")
    with pytest.raises(BadConfig, match="too many"):
        Canaries({str(n): TOKEN for n in range(65)})
    assert TOKEN.decode() not in repr(Canaries({"a": TOKEN}))
