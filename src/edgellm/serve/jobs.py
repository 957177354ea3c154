"""From the body of a request to generations: prompt, settings, and what reads the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from edgellm.errors import EdgellmError
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.constraint import Constraint
from edgellm.inference.generation import Request
from edgellm.inference.structured import constraint_for, offered_tools
from edgellm.records.openai.chat import ChatMessage, ChatRequest
from edgellm.records.openai.completion import CompletionRequest
from edgellm.records.openai.settings import GenerationBody, SamplingBody
from edgellm.serve.bodies import too_deep
from edgellm.serve.problems import Problem, problem_of
from edgellm.serve.service import ModelInUse
from edgellm.serve.stream import Job

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's own default for /v1/completions
STOP_STRINGS_LIMIT = 16
# How errors that are about another field than the prompt begin.
FIELD = re.compile(r"(?:tools|tool_choice|response_format)\b[\w.\[\]]*")
SEED_STEP = 2**32  # between the seeds of one prompt's answers, so that neighbouring seeds share none


@dataclass(frozen=True)
class Sharing:
    """For whom a request computes: whose turn it takes, and with whom it shares computed prompts."""

    user: str
    cache_scope: str


async def prepared(make: Callable[[], list[Job]], param: str) -> list[Job]:
    """Run template and tokenizer beside the loop: a long prompt takes them a while. Raises Problem."""
    try:
        return await run_in_threadpool(make)
    except EdgellmError as error:
        named = FIELD.match(str(error))
        raise problem_of(error, named[0] if named else param) from error
    except RecursionError:
        raise too_deep() from None


def chat_jobs(model: ModelInUse, body: ChatRequest, sharing: Sharing) -> list[Job]:
    """Raises EdgellmError and Problem."""
    chat, stop = model.chat, checked_stop(body)
    messages = [message_of(message) for message in body.messages]
    tools = offered_tools([tool.model_dump(exclude_none=True) for tool in body.tools], choice_of(body))
    arguments = template_arguments(body, tools)
    ids = chat.prompt(messages, **arguments)
    request = replace(
        chat.request(
            ids,
            sampling_of(body, model),
            body.max_completion_tokens or body.max_tokens,
            ignore_eos=body.ignore_eos,
            adapter=model.adapter,
            constraint=constraint_of(model, body),
            checkpoints=chat.checkpoints(ids, messages, **arguments),
        ),
        top_logprobs=top_logprobs_of(body),
        user=sharing.user,
        cache_scope=sharing.cache_scope,
    )
    return [Job(each, chat.reader(each, stop, tools=bool(tools))) for each in choices(request, body.n)]


def completion_jobs(model: ModelInUse, body: CompletionRequest, sharing: Sharing) -> list[Job]:
    """Raises EdgellmError and Problem."""
    chat, stop, sampling = model.chat, checked_stop(body), sampling_of(body, model)
    constraint = constraint_for(chat.tokenizer, None, format_of(body))
    jobs = []
    for number, prompt in enumerate(prompts_of(body.prompt)):
        ids = chat.text_prompt(prompt) if isinstance(prompt, str) else prompt
        request = replace(
            chat.request(
                ids,
                sampling,
                body.max_tokens or DEFAULT_COMPLETION_TOKENS,
                ignore_eos=body.ignore_eos,
                adapter=model.adapter,
                constraint=constraint,
            ),
            top_logprobs=body.logprobs,
            user=sharing.user,
            cache_scope=sharing.cache_scope,
        )
        jobs += [Job(each, chat.text_reader(each, stop), number) for each in choices(request, body.n)]
    return jobs


def constraint_of(model: ModelInUse, body: ChatRequest) -> Constraint | None:
    """Raises Problem with the field that cannot be enforced."""
    tools = [tool.model_dump(exclude_none=True) for tool in body.tools]
    chat = model.chat
    return constraint_for(
        chat.tokenizer, chat.template, format_of(body), tools, choice_of(body),
        parallel_tool_calls=body.parallel_tool_calls,
    )  # fmt: skip


def format_of(body: ChatRequest | CompletionRequest) -> dict[str, Any] | None:
    return None if body.response_format is None else body.response_format.model_dump(by_alias=True, exclude_none=True)


def top_logprobs_of(body: ChatRequest) -> int | None:
    """Raises Problem for tokens that would be left out of the answer."""
    if body.top_logprobs and not body.logprobs:
        raise Problem(400, "top_logprobs needs logprobs to be true", param="top_logprobs", code="invalid_value")
    return (body.top_logprobs or 0) if body.logprobs else None


def choice_of(body: ChatRequest) -> Any:
    """`tool_choice` as JSON."""
    return body.tool_choice if isinstance(body.tool_choice, str) else body.tool_choice.model_dump()


def choices(request: Request, count: int) -> list[Request]:
    """The same request several times; with a seed, each but the first has one of its own that follows from it."""
    seed = request.sampling.seed
    if seed is None:
        return [request] * count
    seeds = [seed + SEED_STEP * number for number in range(count)]
    return [replace(request, sampling=replace(request.sampling, seed=each)) for each in seeds]


def message_of(message: ChatMessage) -> Message:
    extra: dict[str, Any] = {}
    if message.name is not None:
        extra["name"] = message.name
    if message.tool_call_id is not None:
        extra["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        extra["tool_calls"] = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls]
    return Message(message.role, message.text, extra)


def template_arguments(body: ChatRequest, tools: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    arguments: dict[str, Any] = {}
    if body.reasoning_effort is not None:
        arguments["reasoning_effort"] = body.reasoning_effort
    if tools:
        arguments["tools"] = tools
    return arguments


def sampling_of(body: SamplingBody, model: ModelInUse) -> SamplingOptions:
    """What the request asks for, and the model's own settings for the rest. Raises Problem for ids that are none."""
    asked: dict[str, Any] = {
        "temperature": body.temperature, "top_p": body.top_p, "top_k": body.top_k, "min_p": body.min_p,
        "seed": body.seed, "frequency_penalty": body.frequency_penalty, "presence_penalty": body.presence_penalty,
        "repetition_penalty": body.repetition_penalty or body.repeat_penalty,
    }  # fmt: skip
    bias = {int(token): added for token, added in body.logit_bias.items()}
    vocabulary = model.chat.tokenizer.vocab_tokens
    if bias and max(bias) >= vocabulary:
        message = f"logit_bias names token {max(bias)}, and the model has {vocabulary}; use the model's own ids"
        raise Problem(400, message, param="logit_bias", code="invalid_value")
    given = {name: value for name, value in asked.items() if value is not None}
    return replace(model.defaults, **given, logit_bias=bias)


def checked_stop(body: GenerationBody) -> list[str]:
    strings = body.stop_strings
    if len(strings) > STOP_STRINGS_LIMIT:
        raise Problem(400, f"stop holds more than {STOP_STRINGS_LIMIT} strings; give fewer", param="stop")
    if not all(strings):
        raise Problem(400, "stop holds an empty string, which would stop every answer; leave it out", param="stop")
    return strings


def prompts_of(prompt: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """The prompts that the four ways of writing them mean."""
    if isinstance(prompt, str):
        return [prompt]
    numbers = [item for item in prompt if isinstance(item, int)]
    if numbers or not prompt:
        return [numbers]
    return [item for item in prompt if not isinstance(item, int)]
