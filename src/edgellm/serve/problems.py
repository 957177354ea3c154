"""What went wrong with a request, as an HTTP status and OpenAI's error body."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from edgellm.errors import EdgellmError, EngineRestarting, GrammarStuck, PromptTooLong, QueueFull, TimeLimit, UsageError
from edgellm.records.openai.base import ErrorBody, ErrorDetail

INVALID = "invalid_request_error"
CLIENT_GONE = 499  # nobody reads this status; it is what nginx logs for the case


class Problem(Exception):
    """Raised anywhere below an endpoint; becomes the response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(error=ErrorDetail(message=message, type=kind, param=param, code=code))
        self.headers = dict(headers or {})

    def response(self) -> Response:
        return Response(self.body.model_dump_json(), self.status, headers=self.headers, media_type="application/json")


def problem_of(error: EdgellmError, param: str | None = None) -> Problem:
    """The Problem that an exception of ours amounts to; `param` is the field that held the prompt."""
    message = str(error)
    if isinstance(error, QueueFull):
        headers = {"Retry-After": str(error.retry_after_s)}
        return Problem(429, message, kind="rate_limit_error", code="queue_full", headers=headers)
    if isinstance(error, EngineRestarting):
        headers = {"Retry-After": str(error.retry_after_s)}
        return Problem(503, message, kind="server_error", code="engine_restarting", headers=headers)
    if isinstance(error, GrammarStuck):  # a schema that nothing fulfils: it refers to itself alone, say
        return Problem(400, message, code="unsatisfiable_schema")
    if isinstance(error, TimeLimit):
        return Problem(504, message, kind="server_error", code="time_limit_exceeded")
    if isinstance(error, PromptTooLong):
        return Problem(400, message, param=param, code="context_length_exceeded")
    if isinstance(error, UsageError):
        return Problem(400, message, param=param)
    return Problem(500, message, kind="server_error", code="engine_failed")


async def on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def on_client_gone(_: Request, __: Exception) -> Response:
    """The client left before its request had come; nobody reads this."""
    return Response(status_code=CLIENT_GONE)


async def on_fault(_: Request, error: Exception) -> Response:
    """A fault of ours; its traceback goes to the server's stderr."""
    message = f"the server failed on this request ({type(error).__name__}); its log says more"
    return Problem(500, message, kind="server_error", code="internal_error").response()


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        known = ", ".join(route.path for route in request.app.routes)
        return Problem(404, f"there is nothing at {request.url.path}; try one of {known}", code="not_found").response()
    message = f"{request.method} {request.url.path} cannot be answered: {error.detail}"
    return Problem(error.status_code, message, headers=error.headers).response()
