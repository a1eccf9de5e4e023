"""That a client's stream was closed is no proof that the model has stopped (VER-6)."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator

import pytest

from gate import upstream_at
from offswitch.control.gauges import sum_of
from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.evidence.found import Found, Said, Standing, judged
from offswitch.gateway.evidence.inquiries import Inquiries, _asked
from offswitch.gateway.evidence.llama_cpp import LlamaCpp
from offswitch.gateway.evidence.ollama import Ollama
from offswitch.gateway.evidence.prometheus import Prometheus
from offswitch.gateway.evidence.sglang import Sglang
from offswitch.gateway.evidence.vllm import Vllm
from offswitch.gateway.plan.front import Front, Listen
from offswitch.gateway.plan.route import Evidence, EvidenceKind, Route
from offswitch.gateway.plan.upstream import Upstream
from offswitch.model.level import Level
from scripted_upstream import ScriptedUpstream, Visit

ONE_OF_TWO_RANKS = (
    b'{"dp_rank_count": 2, "loads": [{"num_running_reqs": 0, "num_waiting_reqs": 0}]}'
)
IDLE_SGLANG = b"sglang:num_running_reqs 0\nsglang:num_queue_reqs 0\n"
LOADS = b'{"loads": [{"num_running_reqs": 2, "num_waiting_reqs": 1}]}'
TARGET, OTHER = "shop/agent", "shop/other"
CUT = ("1" * 32, "2" * 32)


class Model:
    """A model server that works on, or not, and says so as its kind does."""

    def __init__(self) -> None:
        self.server = ScriptedUpstream()
        self.server.script = self._visit
        self.pages: dict[str, Callable[[], bytes]] = {}
        self.said: list[tuple[float, str, bytes]] = []

    def _visit(self, visit: Visit) -> None:
        path = visit.line.split()[1].decode()
        self.said.append((time.monotonic(), path, visit.body))
        page = self.pages.get(path)
        if page is None:
            visit.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        else:
            visit.answer(page())
        visit.end()

    def slots(self, works: Callable[[], int]) -> None:
        def page() -> bytes:
            count = works()
            return json.dumps([{"id": n, "is_processing": n < count} for n in range(4)]).encode()

        self.pages["/slots"] = page

    def paths(self) -> list[str]:
        return [path for _at, path, _body in self.said]

    def bodies(self, path: str) -> list[object]:
        return [json.loads(body) for _at, at, body in self.said if at == path]


@pytest.fixture
def model() -> Iterator[Model]:
    one = Model()
    yield one
    one.server.close()


class Told:
    """What the warden would be told."""

    def __init__(
        self, model: Model, kind: EvidenceKind, *, gauge: str = "", hurry: float = 20.0
    ) -> None:
        upstream = upstream_at(model.server.port)
        evidence = Evidence(kind, f"http://127.0.0.1:{model.server.port}", gauge)
        routes = (
            Route(TARGET, upstream, b"/a/", evidence=evidence),
            Route(OTHER, upstream, b"/b/", evidence=evidence),
        )
        self.front = Front("test", (Listen("127.0.0.1", 1),), routes)
        self.levels: dict[str, Level | None] = {TARGET: None, OTHER: Level.KILL}
        self.found: list[tuple[str, Found]] = []
        self.cut = {TARGET: [*CUT]}
        self.hurry = hurry

    def inquiries(self, *, looks: bool = True) -> Inquiries:
        one = Inquiries(
            self.front,
            self.levels.__getitem__,
            lambda target, _server, found: self.found.append((target, found)),
            answers=lambda target: self.cut.pop(target, []),
            looks=looks,
        )
        for server in one._servers:
            witness = server.witness
            witness.FIRST_S /= self.hurry
            witness.EVERY_S /= self.hurry
        return one

    def of(self, target: str = TARGET) -> list[tuple[Standing, str]]:
        return [(found.standing, found.text) for name, found in self.found if name == target]


async def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)


def run(told: Told, script: Callable[[Inquiries], object], **more: bool) -> None:
    async def whole() -> None:
        one = told.inquiries(**more)
        try:
            await asyncio.wait_for(script(one), 8)  # type: ignore[arg-type]
        finally:
            one.close()

    asyncio.run(whole())


def test_VER_6_a_server_that_goes_on_behind_a_closed_client_is_never_said_to_have_stopped(
    model: Model,
) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP)
    model.slots(lambda: 1)

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: model.paths().count("/slots") >= 3, "it is asked again and again")

    run(told, script)
    assert told.of() == [
        (Standing.BUSY, "still busy: of llama.cpp's 4 slots 1 work, 1 request in work")
    ]


def test_VER_6_a_server_that_ends_is_said_to_be_idle_and_is_asked_no_more(model: Model) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP)
    working = iter([2, 1, 0])
    model.slots(lambda: next(working, 0))

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: told.of()[-1:] and told.of()[-1][0] is Standing.IDLE, "it is idle")
        asked = len(model.said)
        await asyncio.sleep(0.2)
        assert len(model.said) == asked
        told.levels[TARGET] = None  # a person has reset it; then it is stopped anew
        one.look()
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: len(model.said) > asked, "another stop is another question")

    run(told, script)
    assert [standing for standing, _text in told.of()][:4] == ["busy", "busy", "unknown", "idle"]
    assert "nothing in work at one look" in told.of()[2][1]
    assert "nothing in work" in told.of()[3][1]


def test_VER_6_one_look_that_finds_nothing_is_not_idle_and_not_the_last(model: Model) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP)
    working = iter([0, 1, 0, 1])
    model.slots(lambda: next(working, 1))

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: len(told.of()) >= 4, "it is asked again")

    run(told, script)
    assert [standing for standing, _text in told.of()][:4] == ["unknown", "busy"] * 2


def test_VER_6_a_busy_server_that_answers_no_more_is_busy_still_unless_it_has_gone(
    model: Model,
) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP)
    model.slots(lambda: 1)

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: len(told.of()) == 1, "it is busy")
        model.pages["/slots"] = lambda: b"["
        await until(lambda: len(told.of()) == 2, "it says nothing that can be read")
        await asyncio.sleep(0.2)
        model.server.close()
        await until(lambda: len(told.of()) == 3, "it has gone")

    run(told, script)
    assert [standing for standing, _text in told.of()] == ["busy", "busy", "unknown"]
    assert told.of()[1][1].startswith("still busy when it last told")


def test_VER_6_a_warden_that_came_after_is_told_as_well(model: Model) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP)
    model.slots(lambda: 0)

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: len(told.of()) == 2, "it is told")
        one.look()
        one.forget()
        one.look()
        await until(lambda: len(told.of()) == 4, "it is told again")

    run(told, script)


def test_VER_6_llama_cpp_is_given_time_and_then_asked_less_than_once_a_second(
    model: Model,
) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP, hurry=4.0)
    model.slots(lambda: 1)
    assert LlamaCpp.EVERY_S > 1

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        one.look()  # many words change at once
        await asyncio.sleep(0.75)

    begin = time.monotonic()
    run(told, script)
    times = [at - begin for at, _path, _body in model.said]
    assert len(times) == 2
    assert times[0] >= 1.4 / 4
    assert times[1] - times[0] >= 1.0 / 4


def test_VER_6_work_at_a_server_that_others_may_use_proves_nothing(model: Model) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP)
    told.levels[OTHER] = None
    model.slots(lambda: 3)

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(told.of, "it is told")

    run(told, script)
    [(standing, text)] = told.of()
    assert standing is Standing.UNKNOWN
    assert text.startswith("not confirmed: ")
    assert not told.of(OTHER)


def test_VER_6_vllm_is_told_which_answers_to_abort_and_its_stale_gauge_is_not_believed(
    model: Model,
) -> None:
    told = Told(model, EvidenceKind.VLLM)
    model.pages["/abort_requests"] = lambda: b"{}"
    model.pages["/metrics"] = lambda: (
        b'vllm:num_requests_running{engine="0"} 2.0\nvllm:num_requests_waiting{engine="0"} 1.0\n'
        b'vllm:generation_tokens_total{engine="0"} 700\n'
    )

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: len(told.of()) > 1, "two looks")

    run(told, script)
    assert model.bodies("/abort_requests") == [{"request_ids": [*CUT]}]
    assert told.of()[0] == (Standing.BUSY, "still busy: vLLM's gauge, 3 requests in work")
    assert told.of()[1][0] is Standing.UNKNOWN
    assert "no token was written" in told.of()[1][1]


def test_VER_6_nobody_elses_answers_are_aborted(model: Model) -> None:
    told = Told(model, EvidenceKind.VLLM)
    told.cut.clear()
    model.pages["/metrics"] = lambda: b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n"

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: len(told.of()) == 2, "it is told")

    run(told, script)
    assert "/abort_requests" not in model.paths(), "an empty list would be everybody's"
    assert told.of()[1][0] is Standing.IDLE


def test_VER_6_a_client_that_chose_a_short_id_has_nobody_elses_answers_aborted(
    model: Model,
) -> None:
    told = Told(model, EvidenceKind.SGLANG)
    told.cut[TARGET] = ["a", CUT[1]]
    model.pages["/abort_request"] = lambda: b""

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: model.bodies("/abort_request"), "one is aborted")
        await asyncio.sleep(0.1)

    run(told, script, looks=False)
    assert [body["rid"] for body in model.bodies("/abort_request")] == [CUT[1]]  # type: ignore[index]


def test_VER_6_a_second_worker_has_its_answers_aborted_and_asks_nothing(model: Model) -> None:
    told = Told(model, EvidenceKind.SGLANG)
    model.pages["/abort_request"] = lambda: b""

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(lambda: len(model.said) == 2, "both are aborted")
        await asyncio.sleep(0.1)

    run(told, script, looks=False)
    assert model.bodies("/abort_request") == [
        {"rid": CUT[0], "abort_all": False},
        {"rid": CUT[1], "abort_all": False},
    ]
    assert model.paths() == ["/abort_request"] * 2
    assert not told.found


def test_VER_6_of_a_hosted_api_nothing_is_asked(model: Model) -> None:
    told = Told(model, EvidenceKind.NONE)
    one = told.inquiries()
    assert not one.any
    told.levels[TARGET] = Level.KILL
    one.look()
    assert not model.said


def looked(witness: object, model: Model) -> Said:
    ask = Ask(upstream_at(model.server.port))
    return asyncio.run(witness.look(ask))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("witness", "pages", "in_work"),
    [
        (LlamaCpp(), {}, None),
        (LlamaCpp(), {"/slots": b'[{"is_processing": 1}]'}, None),
        (LlamaCpp(), {"/slots": b"[]"}, None),
        (LlamaCpp(), {"/metrics": b"llamacpp:requests_processing 1\n"}, 1),
        (LlamaCpp(), {"/metrics": b"llamacpp:requests_processing 0\n"}, None),
        (Vllm(), {"/metrics": b"python_info 1\n"}, None),
        (Sglang(), {"/v1/loads": LOADS}, 3),
        (Sglang(), {"/get_load": b'[{"num_reqs": 1}, {"num_reqs": 0}]'}, 1),
        (Sglang(), {"/get_load": b"[]", "/metrics": IDLE_SGLANG}, 0),
        (Sglang(), {"/v1/loads": ONE_OF_TWO_RANKS}, None),
        (Vllm(), {"/metrics": b"vllm:num_requests_running 0\n"}, None),
        (Ollama(), {"/api/ps": b'{"models": [{"name": "x"}]}'}, None),
        (Ollama(), {"/api/ps": b'{"models": []}'}, None),
        (Prometheus("busy"), {"/": b"busy 0.4\n"}, 1),
        (Prometheus("busy"), {"/": b"busy 0\n"}, 0),
        (Prometheus('busy{model="m"}'), {"/": b'busy{model="m"} 2\nbusy{model="n"} 9\n'}, 2),
    ],
)
def test_each_kind_of_server_is_read_in_its_own_words(
    model: Model, witness: object, pages: dict[str, bytes], in_work: int | None
) -> None:
    for path, page in pages.items():
        model.pages[path] = lambda page=page: page  # type: ignore[misc]
    assert looked(witness, model).in_work == in_work


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 3000,
        b"",
    ],
)
def test_VER_6_a_server_that_answers_nonsense_confirms_nothing(model: Model, answer: bytes) -> None:
    told = Told(model, EvidenceKind.LLAMA_CPP)

    def nonsense(visit: Visit) -> None:
        visit.send(answer)
        visit.end()

    model.server.script = nonsense

    async def script(one: Inquiries) -> None:
        told.levels[TARGET] = Level.KILL
        one.look()
        await until(told.of, "it is told")

    run(told, script)
    [(standing, text)] = told.of()
    assert standing is Standing.UNKNOWN
    assert re.fullmatch(r"not confirmed: it (does not answer as it should|cannot be asked)", text)


@pytest.mark.parametrize(
    ("url", "asked"),
    [("/v1", "/slots"), ("/llm/v1", "/llm/slots"), ("/llm/", "/llm/slots"), ("", "/slots")],
)
def test_what_is_asked_stands_beside_the_api(model: Model, url: str, asked: str) -> None:
    evidence = Evidence(EvidenceKind.LLAMA_CPP, f"http://127.0.0.1:{model.server.port}{url}")
    route = Route(TARGET, upstream_at(model.server.port), evidence=evidence)
    server = _asked(route)
    assert asyncio.run(Ask(server).get("/slots"))[0] == 404
    assert model.paths() == [asked]


def test_VER_6_the_upstreams_key_goes_to_nobody_else() -> None:
    upstream = Upstream("127.0.0.1", 8000, key=b"secret")
    for url, key in (("http://127.0.0.1:8000/v1", b"secret"), ("http://127.0.0.1:9000", b"")):
        evidence = Evidence(EvidenceKind.PROMETHEUS, url, "busy")
        assert _asked(Route(TARGET, upstream, evidence=evidence)).key == key


def test_a_sum_is_of_one_series_and_of_the_labels_that_were_named() -> None:
    page = b'a{x="1",y="2"} 3\na{x="2"} 4 1700000000\nab 9\na_total 5\n# a 7\nb NaN\n'
    assert sum_of(page, "a") == 7
    assert sum_of(page, 'a{x="1"}') == 3
    assert sum_of(page, 'a{x="3"}') is None
    assert sum_of(page, "b") is None


def test_VER_6_a_page_that_cannot_be_read_to_its_end_sums_up_to_nothing() -> None:
    assert sum_of(b'a{x="1"} 0\na{x="2"} 1 1520879607.789\n', "a") == 1
    assert sum_of(b'a{x="1"} 0\n  a{x="2"} 1\r\n', "a") == 1
    assert sum_of(b'a{x="1"} 0\na{x="2" 1\n', "a") is None
    assert sum_of(b"a 0\n" + b"#\n" * 60_000 + b"a 1\n", "a") is None


def test_SEC_4_a_line_without_end_keeps_nobody_waiting() -> None:
    begin = time.process_time()
    for many in (b"a" * 500_000, b'x="' * 200_000, b"} " * 300_000, b" " * 500_000):
        sum_of(b"a{" + many + b"} 1\n", 'a{x="1"}')
        sum_of(b"a{" + many, 'a{x="1"}')
    assert time.process_time() - begin < 2


def test_no_finding_can_be_read_as_stopped_unless_nothing_is_in_work() -> None:
    for count in (None, 1, 5):
        for shared in (False, True):
            for before in (None, Said(count, "x", 3.0)):
                found = judged(Said(count, "x", 3.0), before, shared=shared)
                assert found.standing is not Standing.IDLE
                assert found.text.startswith(("not confirmed: ", "still busy: "))
    nothing = Said(0, "x")
    assert judged(nothing, nothing, shared=True).standing is Standing.IDLE
    for other in (None, Said(None, "x"), Said(1, "x")):
        assert judged(nothing, other, shared=False).standing is Standing.UNKNOWN
