"""A llama.cpp is asked to say how far it has come, so that it sees soon that it is cut (VER-6)."""

from __future__ import annotations

import pytest

from model_requests import HELLO, admitted, body, route, sent_on
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.exchange import Pass, Rewritten
from offswitch.gateway.plan.route import Evidence, EvidenceKind

OPENAI = OpenAi()
LLAMA = route(evidence=Evidence(EvidenceKind.LLAMA_CPP))


def test_VER_6_a_stream_is_asked_for_with_its_progress_and_passes_unfiltered() -> None:
    verdict = admitted(OPENAI, LLAMA, body(messages=HELLO, stream=True))
    assert sent_on(verdict)["return_progress"] is True
    assert sent_on(verdict)["messages"] == HELLO
    assert isinstance(verdict, Rewritten)
    assert verdict.filter is None


def test_VER_6_an_answer_that_is_put_together_too() -> None:
    verdict = admitted(OPENAI, LLAMA, body(messages=HELLO))
    said = sent_on(verdict)
    assert said["stream"] is True
    assert said["return_progress"] is True
    assert isinstance(verdict, Rewritten)
    assert verdict.filter is not None


def test_what_a_client_says_of_it_stays() -> None:
    said = body(messages=HELLO, stream=True, return_progress=False)
    assert admitted(OPENAI, LLAMA, said) == Pass()


@pytest.mark.parametrize("kind", [kind for kind in EvidenceKind if kind != "llama.cpp"])
def test_no_other_server_is_asked(kind: EvidenceKind) -> None:
    other = route(evidence=Evidence(kind))
    assert admitted(OPENAI, other, body(messages=HELLO, stream=True)) == Pass()


def test_what_comes_whole_is_asked_for_as_it_is() -> None:
    by = route(evidence=Evidence(EvidenceKind.LLAMA_CPP), reassemble=False)
    assert admitted(OPENAI, by, body(messages=HELLO)) == Pass()
    assert admitted(OPENAI, LLAMA, body(input="x"), path="/v1/embeddings") == Pass()
