"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp

from edgellm.errors import EdgellmError
from edgellm.records.openai.chat import ChatRequest
from edgellm.records.openai.completion import CompletionRequest
from edgellm.records.openai.settings import IGNORED, REFUSED
from edgellm.serve.account import Account
from edgellm.serve.answering import respond
from edgellm.serve.bodies import read_body
from edgellm.serve.jobs import Sharing, chat_jobs, completion_jobs, prepared, prompts_of
from edgellm.serve.problems import Problem, problem_of
from edgellm.serve.service import ModelInUse, Service
from edgellm.serve.shapes import ChatShape, CompletionShape
from edgellm.serve.stream import Answers, Job


async def chat_completions(request: Request, account: Account) -> ASGIApp:
    service: Service = request.app.state.service
    body = await read_body(request, ChatRequest, ignored=IGNORED, refused=REFUSED)
    account.prompt = "\n".join(message.text for message in body.messages)
    async with service.using(body.model) as model:
        account.model = model.name
        jobs = await prepared(lambda: chat_jobs(model, body, sharing(service, account)), "messages")
        answers = submitted(request, model, jobs, account, "messages")
    usage = body.stream_options.include_usage
    shape = ChatShape(model.name, model.created, model.chat.tokenizer, len(jobs), include_usage=usage)
    return await respond(answers, [job.prompt for job in jobs], body.stream, shape, account)


async def completions(request: Request, account: Account) -> ASGIApp:
    service: Service = request.app.state.service
    body = await read_body(request, CompletionRequest, ignored=IGNORED, refused=REFUSED)
    account.prompt = "\n".join(map(str, prompts_of(body.prompt)))
    async with service.using(body.model) as model:
        account.model = model.name
        jobs = await prepared(lambda: completion_jobs(model, body, sharing(service, account)), "prompt")
        answers = submitted(request, model, jobs, account, "prompt")
    usage = body.stream_options.include_usage
    shape = CompletionShape(
        model.name, model.created, model.chat.tokenizer, len(jobs), include_usage=usage,
        logprobs=body.logprobs is not None,
    )  # fmt: skip
    return await respond(answers, [job.prompt for job in jobs], body.stream, shape, account)


def sharing(service: Service, account: Account) -> Sharing:
    caller = account.caller
    return Sharing(caller.user, caller.name if service.cache_scope == "key" else "")


def submitted(request: Request, model: ModelInUse, jobs: list[Job], account: Account, param: str) -> Answers:
    """Submit the generations of one HTTP request; raises Problem. `param` is the field of the prompt."""
    scheduler = model.chat.scheduler
    try:
        return Answers(request.receive, scheduler, jobs, account)
    except EdgellmError as error:
        problem = problem_of(error, param)
        if problem.status == 500 and scheduler.failure is not None:
            message = f"the model is no longer running ({error}); restart the server"
            raise Problem(503, message, kind="server_error", code="engine_dead") from error
        raise problem from error
