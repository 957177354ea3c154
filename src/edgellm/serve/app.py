"""The HTTP application: its paths, and what turns exceptions into OpenAI's error bodies."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

import edgellm
from edgellm.records.openai.chat import ChatAnswer, ChatRequest
from edgellm.records.openai.completion import Completion, CompletionRequest
from edgellm.records.openai.embeddings import Embeddings, EmbeddingsRequest
from edgellm.records.openai.listing import Health, Model, ModelList
from edgellm.records.openai.response import Response as ResponseRecord
from edgellm.records.openai.responses import ResponsesRequest
from edgellm.records.openai.tokens import Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest
from edgellm.serve.account import request_id_in
from edgellm.serve.answering import HANG_UP_IN_SCOPE, SEND_IN_SCOPE, Generating, ReaderLimits
from edgellm.serve.chat_page import page_routes
from edgellm.serve.completions import chat_completions, completions
from edgellm.serve.embeddings import embeddings
from edgellm.serve.gennai import GennaiErrors, GennaiOptions, gennai_routes
from edgellm.serve.guards import Guards
from edgellm.serve.metrics import Metrics, metrics
from edgellm.serve.openapi import Operation, document
from edgellm.serve.problems import Problem, on_client_gone, on_fault, on_http_exception, on_problem
from edgellm.serve.responses import responses
from edgellm.serve.service import Service
from edgellm.serve.tokens import detokenize, tokenize


def create_app(
    service: Service, guards: Guards | None = None, *, page: bool = True, readers: ReaderLimits | None = None,
    gennai: GennaiOptions | None = None,
) -> App:  # fmt: skip
    """The application that serves models, behind whatever guards its door.

    `page`: whether there is a page to chat with at `/`, which itself needs no key. `readers`: how slow clients may be.
    `gennai`: whether there is the adapter for 源内, and how it is set.
    """
    guards = guards or Guards()
    measured = Metrics(service.states)
    operations = all_operations()
    described = JSONResponse(document(operations, edgellm.__version__))
    app = App(
        routes=[
            *(page_routes() if page else []),
            *(gennai_routes(gennai) if gennai else []),
            *(operation.route() for operation in operations),
            Route("/openapi.json", lambda _: described),
        ],
        middleware=[*([Middleware(GennaiErrors)] if gennai else []), *guards.middleware()],
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            ClientDisconnect: on_client_gone,
            Exception: on_fault,
        },
    )
    service.observers += [measured.observe, *guards.observers()]
    app.state.service = service
    app.state.metrics = measured
    app.state.max_time_s = guards.max_time_s
    app.state.reader_limits = readers or ReaderLimits()
    return app


def all_operations() -> list[Operation]:
    chat, text = Generating(chat_completions), Generating(completions)
    return [
        Operation("/health", health, "Whether the server answers", Health, public=True),
        Operation("/metrics", metrics, "Counters and histograms for Prometheus", media="text/plain"),
        Operation("/v1/models", models, "The models", ModelList),
        Operation("/v1/models/{name:path}", model, "One model", Model),
        Operation("/v1/chat/completions", chat, "Answer a conversation", ChatAnswer, ChatRequest, streams=True),
        Operation("/v1/completions", text, "Go on with a text", Completion, CompletionRequest, streams=True),
        Operation(
            "/v1/responses", Generating(responses), "Answer a conversation, in items", ResponseRecord,
            ResponsesRequest, streams=True,
        ),
        Operation("/v1/embeddings", Generating(embeddings), "Vectors of texts", Embeddings, EmbeddingsRequest),
        Operation("/tokenize", tokenize, "The model's tokens of a text", Tokenized, TokenizeRequest),
        Operation("/detokenize", detokenize, "The text of tokens", Detokenized, DetokenizeRequest),
    ]  # fmt: skip


class App(Starlette):
    """Starlette, with what needs the connection itself: the id of a request on its answer, and a way to hang up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        tag = (b"x-request-id", request_id_in(scope).encode())
        # uvicorn's `send` belongs to an object that has the transport; other servers have no way to hang up.
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            scope[HANG_UP_IN_SCOPE] = transport.abort
        scope[SEND_IN_SCOPE] = send

        def tagged(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), tag]
            return send(message)

        await super().__call__(scope, receive, tagged)


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
    chat = service.chat_of(name)
    context_tokens = chat.scheduler.info.context_tokens if chat is not None else None
    return Model(id=name, created=service.created, loaded=chat is not None, context_tokens=context_tokens)


def json_response(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="application/json")
