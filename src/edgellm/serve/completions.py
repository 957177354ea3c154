"""`/v1/chat/completions` and `/v1/completions`: from a request's body to prompts, and on to a response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from edgellm.errors import EdgellmError
from edgellm.inference.answer import AnswerReader
from edgellm.inference.chat import Delta, Message
from edgellm.inference.generation import Request as GenerationRequest
from edgellm.records import openai
from edgellm.serve.bodies import read_body
from edgellm.serve.problems import problem_of
from edgellm.serve.service import Service
from edgellm.serve.shapes import ChatShape, Collected, CompletionShape, Shape, usage_of
from edgellm.serve.stream import Answers, events, first_then_rest

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's own default for /v1/completions
CLIENT_GONE = 499  # nobody reads this status; it is what nginx logs for the case

Pairs = Sequence[tuple[GenerationRequest, AnswerReader]]


async def chat_completions(request: Request) -> Response:
    service: Service = request.app.state.service
    body = await read_body(request, openai.ChatRequest)
    name = service.model_of(body.model)
    pairs = await prepared(lambda: chat_pairs(service, body, service.models[name]), "messages")
    answers = service.answers(request.receive, pairs, "messages")
    return await respond(answers, len(pairs), body, ChatShape(name, service.created))


async def completions(request: Request) -> Response:
    service: Service = request.app.state.service
    body = await read_body(request, openai.CompletionRequest)
    name = service.model_of(body.model)
    pairs = await prepared(lambda: completion_pairs(service, body, service.models[name]), "prompt")
    answers = service.answers(request.receive, pairs, "prompt")
    return await respond(answers, len(pairs), body, CompletionShape(name, service.created))


async def prepared(make: Callable[[], Pairs], param: str) -> Pairs:
    """Run template and tokenizer beside the loop: a long prompt takes them a while."""
    try:
        return await run_in_threadpool(make)
    except EdgellmError as error:
        raise problem_of(error, param) from error


def chat_pairs(service: Service, body: openai.ChatRequest, adapter: str | None) -> Pairs:
    chat = service.chat
    messages = [Message(message.role, message.text) for message in body.messages]
    arguments = {} if body.reasoning_effort is None else {"reasoning_effort": body.reasoning_effort}
    ids = chat.prompt(messages, **arguments)
    max_tokens = body.max_completion_tokens or body.max_tokens
    request = chat.request(ids, service.sampling(body), max_tokens, ignore_eos=body.ignore_eos, adapter=adapter)
    return [(request, chat.reader(request, body.stop_strings))]


def completion_pairs(service: Service, body: openai.CompletionRequest, adapter: str | None) -> Pairs:
    chat = service.chat
    pairs = []
    for prompt in prompts_of(body.prompt):
        ids = chat.text_prompt(prompt) if isinstance(prompt, str) else prompt
        max_tokens = body.max_tokens or DEFAULT_COMPLETION_TOKENS
        request = chat.request(ids, service.sampling(body), max_tokens, ignore_eos=body.ignore_eos, adapter=adapter)
        pairs.append((request, chat.text_reader(request, body.stop_strings)))
    return pairs


def prompts_of(prompt: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """The prompts that the four ways of writing them mean."""
    if isinstance(prompt, str):
        return [prompt]
    numbers = [item for item in prompt if isinstance(item, int)]
    if numbers or not prompt:
        return [numbers]
    return [item for item in prompt if not isinstance(item, int)]


async def respond(answers: Answers, count: int, body: openai.GenerationBody, shape: Shape) -> Response:
    """Stream the answers or wait for them; a failure before the first delta has a status of its own."""
    collected = [Collected() for _ in range(count)]
    streaming = False
    try:
        deltas = await first_then_rest(collecting(answers, collected))
        if deltas is None:
            return Response(status_code=CLIENT_GONE)
        if body.stream:
            streaming = True
            parts = events(answers, deltas, shape.chunk, shape.opening(), closing(body, shape, collected))
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return StreamingResponse(parts, media_type="text/event-stream", headers=headers)
        async for _ in deltas:
            pass
        if answers.abandoned:
            return Response(status_code=CLIENT_GONE)
        return Response(shape.whole(collected).model_dump_json(), media_type="application/json")
    except EdgellmError as error:
        raise problem_of(error) from error
    finally:
        if not streaming:  # a stream closes its answers itself, when it ends
            answers.close()


async def collecting(answers: Answers, collected: list[Collected]) -> AsyncIterator[tuple[int, Delta]]:
    async for index, delta in answers.deltas():
        collected[index].add(delta)
        yield index, delta


def closing(body: openai.GenerationBody, shape: Shape, collected: list[Collected]) -> Callable[[], Sequence[BaseModel]]:
    """The usage chunk, if the client asked for one; counted when the answers are complete."""
    return lambda: [shape.usage(usage_of(collected))] if body.stream_options.include_usage else []
