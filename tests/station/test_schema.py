"""The whole API by its own schema: schemathesis sends what the schema allows, and what it forbids.

Every answer bears a status that is documented, in the form that is documented; an error is a
problem with one of our kinds; nothing fails inside (that watch is away, 503, is an answer). A few
examples of each operation every day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from house import House, house
from installation import until
from offswitch.decide.authority import add_person
from scale import LONG

pytestmark = [
    pytest.mark.usefixtures("as_root"),
    pytest.mark.timeout(3600 if LONG else 120),
]

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
PATIENCE_S = 30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house of one who may do everything that one may."""
    roles = ["operator", "auditor", "admin", "safety"]
    with house(tmp_path_factory.mktemp("schema"), people={"ada": roles}) as one:
        add_person(one.installation.home, "ada", uid=None, keys=[], totp="JBSWY3DP" * 4)
        yield one


@pytest.fixture(scope="module")
def ada(place: House) -> httpx2.Client:
    client = place.person("ada")
    until(lambda: "reset" in client.get("/api/v1/session").json()["powers"], "ada is safety")
    return client


def test_every_operation_answers_as_its_schema_says(place: House, ada: httpx2.Client) -> None:
    schema = schemathesis.openapi.from_dict(ada.get("/api/v1/openapi.json").json())
    schema.config.update(base_url=place.url)
    headers = {"x-csrf": ada.headers["x-csrf"]}
    cookies = {cookie.name: cookie.value for cookie in ada.cookies.jar}
    seen: Counter[str] = Counter()

    def ask(case: Any) -> None:  # noqa: ANN401 - schemathesis's
        if isinstance(case.body, dict) and isinstance(case.body.get("wait_s"), int | float):
            case.body["wait_s"] = min(case.body["wait_s"], 0)
        answer = case.call(headers=headers, cookies=cookies, timeout=PATIENCE_S)
        seen[f"{answer.status_code}"] += 1
        assert answer.status_code != 500, (case.operation.label, answer.text)
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400:
            assert answer.json()["status"] == answer.status_code
            assert "Traceback" not in answer.text

    operations = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.label == "DELETE /api/v1/session":
            continue
        operations += 1
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not _can_be_wrong(operation):
                continue
            given_cases(operation.as_strategy(generation_mode=mode), ask)
    assert operations > 20
    assert seen["200"]
    assert seen["422"]
    assert ada.get("/api/v1/session").status_code == 200, "the session was asked for nothing else"


def _can_be_wrong(operation: Any) -> bool:  # noqa: ANN401
    return bool(list(operation.iter_parameters()) or operation.body)


def given_cases(strategy: Any, ask: Callable[[Any], None]) -> None:  # noqa: ANN401
    """Ask with some of what the strategy makes."""

    @settings(
        max_examples=100 if LONG else 1,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def asked(case: Any) -> None:  # noqa: ANN401
        ask(case)

    asked()
