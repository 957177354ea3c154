"""The HTTP application: its paths, and what turns exceptions into OpenAI's error bodies."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgellm.records.openai import Model, ModelList
from edgellm.serve.completions import chat_completions, completions
from edgellm.serve.keys import KeyGate
from edgellm.serve.problems import Problem, on_fault, on_http_exception, on_problem
from edgellm.serve.service import Service


def create_app(service: Service, keys: Sequence[str] = ()) -> Starlette:
    """The application that serves one model; with `keys`, only to those who send one of them."""
    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
        ],
        middleware=[Middleware(KeyGate, keys=list(keys))] if keys else [],
        exception_handlers={Problem: on_problem, HTTPException: on_http_exception, Exception: on_fault},
    )
    app.state.service = service
    return app


async def health(request: Request) -> Response:
    """200 while the model runs, 503 once it does not, with the scheduler's counters."""
    service: Service = request.app.state.service
    body = service.health()
    return json_response(body.model_dump_json(), 200 if body.status == "ok" else 503)


async def models(request: Request) -> Response:
    service: Service = request.app.state.service
    return json_response(ModelList(data=[shown(service, name) for name in service.models]).model_dump_json())


async def model(request: Request) -> Response:
    service: Service = request.app.state.service
    name = service.model_of(request.path_params["name"])
    return json_response(shown(service, name).model_dump_json())


def shown(service: Service, name: str) -> Model:
    return Model(id=name, created=service.created, context_tokens=service.chat.scheduler.info.context_tokens)


def json_response(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="application/json")
