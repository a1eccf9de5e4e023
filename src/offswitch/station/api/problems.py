"""Errors as problem details (RFC 9457), with our closed kinds; for browsers as a page.

{"type": "about:blank", "title": "Refused", "status": 403, "detail": …, "kind": …, "hint": …}
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from offswitch.errors import NotFound, OffswitchError, Refused, Unreachable, Usage
from offswitch.station.console.render import page
from offswitch.station.people.pauses import Paused
from offswitch.station.people.visitor import Nobody

__all__ = ["Limit", "described", "install", "problem"]

_STATUS = {
    "usage": 400,
    "config": 400,
    "not-found": 404,
    "ambiguous": 409,
    "latched": 409,
    "refused": 403,
    "unreachable": 503,
    "unconfirmed": 409,
    "unsupported": 501,
    "busy": 409,
    "storage": 507,
    "corrupt": 500,
    "timeout": 504,
    "internal": 500,
}
"""The HTTP status of each kind."""
_PROBLEM = "application/problem+json"
_OUR_OWN = (401, 405, 408, 413, 414, 421, 422, 429, 431)
"""Those that no kind stands for: nobody is signed in, and what a request may look like."""


def described() -> dict[int | str, dict[str, Any]]:
    """Describe every error that an operation may answer with, for the schema."""
    fields = ("type", "title", "detail", "kind", "hint")
    schema = {
        "type": "object",
        "required": [*fields, "status"],
        "properties": {
            **{name: {"type": "string"} for name in fields},
            "kind": {"type": "string", "enum": sorted(_STATUS)},
            "status": {"type": "integer"},
        },
    }
    content = {_PROBLEM: {"schema": schema}}
    codes = {*_STATUS.values(), *_OUR_OWN}
    return {
        code: {"description": HTTPStatus(code).phrase, "content": content} for code in sorted(codes)
    }


class Limit(HTTPException):
    """A request is larger or slower than we read; raised from within its body, too."""

    def __init__(self, status: int, error: OffswitchError) -> None:
        """Answer with `status` and `error`."""
        super().__init__(status, error.message)
        self.error = error


def problem(error: OffswitchError, status: int | None = None) -> JSONResponse:
    """Give the answer of the API for an error."""
    code = _STATUS.get(error.kind, 500) if status is None else status
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": type(error).__name__,
        "status": code,
        "detail": error.message,
        "kind": error.kind,
        "hint": error.hint,
    }
    return JSONResponse(body, code, media_type=_PROBLEM)


def wants_page(request: Request) -> bool:
    """Tell whether a person's browser asks, so that the answer is a page."""
    accepts = request.headers.get("accept", "")
    return not request.url.path.startswith("/api/") and "text/html" in accepts


def install(app: FastAPI) -> None:
    """Have every error of a request answered in its way."""

    @app.exception_handler(OffswitchError)
    def ours(request: Request, error: OffswitchError) -> Response:
        status = 429 if isinstance(error, Paused) else _STATUS.get(error.kind, 500)
        if wants_page(request):
            answer: Response = page(request, "error.html", status=status, error=error, code=status)
        else:
            answer = problem(error, status)
        if isinstance(error, Paused):
            answer.headers["retry-after"] = str(error.seconds)
        return answer

    @app.exception_handler(Nobody)
    def nobody(request: Request, _error: Nobody) -> Response:
        if wants_page(request) and request.method == "GET":
            return RedirectResponse(f"/sign-in?to={request.url.path}", 303)
        error = Refused("nobody is signed in", "sign in at /sign-in, or bring a token")
        if wants_page(request):
            return page(request, "error.html", status=401, error=error, code=401)
        return problem(error, 401)

    @app.exception_handler(RequestValidationError)
    def wrong(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0] if error.errors() else {}
        where = ".".join(str(part) for part in first.get("loc", ()))
        usage = Usage(
            f"{where}: {first.get('msg', 'not as it should be')}"[:300], "see /api/v1/openapi.json"
        )
        if wants_page(request):
            return page(request, "error.html", status=422, error=usage, code=422)
        return problem(usage, 422)

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> Response:
        found: OffswitchError
        if isinstance(error, Limit):
            found = error.error
        elif error.status_code == 404:  # noqa: PLR2004 - that is its name
            found = NotFound(f"there is no {request.url.path[:200]}", "begin at /")
        elif error.status_code < 500:  # noqa: PLR2004
            found = Usage(str(error.detail)[:300], "see /api/v1/openapi.json")
        else:
            found = Unreachable(str(error.detail)[:300])
        headers = error.headers or {}  # of 405: which methods there are
        answer: Response
        if wants_page(request):
            code = error.status_code
            answer = page(request, "error.html", status=code, error=found, code=code)
        else:
            answer = problem(found, error.status_code)
        answer.headers.update(headers)
        return answer
