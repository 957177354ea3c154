"""`/v1/responses`: OpenAI's newer interface, without its store: a client sends the whole conversation."""

from __future__ import annotations

import time

from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp

from edgellm.records.openai.responses import REFUSED, ResponsesRequest
from edgellm.records.openai.settings import IGNORED
from edgellm.serve.account import Account
from edgellm.serve.answering import respond
from edgellm.serve.bodies import problem_of_validation, read_body
from edgellm.serve.completions import sharing, submitted
from edgellm.serve.jobs import chat_jobs, prepared
from edgellm.serve.problems import Problem
from edgellm.serve.response_input import chat_request
from edgellm.serve.response_shape import ResponseShape
from edgellm.serve.service import Service

KEPT = IGNORED - {"metadata"}  # which comes back with the response


async def responses(request: Request, account: Account) -> ASGIApp:
    service: Service = request.app.state.service
    body = await read_body(request, ResponsesRequest, ignored=KEPT, refused=REFUSED)
    try:
        asked = chat_request(body)
    except ValidationError as error:  # such as an input of nothing but reasoning
        raise Problem(400, f"input is no conversation: {problem_of_validation(error)}", param="input") from None
    account.prompt = "\n".join(message.text for message in asked.messages)
    async with service.using(body.model) as model:
        account.model = model.name
        jobs = await prepared(lambda: chat_jobs(model, asked, sharing(service, account)), "input")
        answers = submitted(request, model, jobs, account, "input")
    sampling = jobs[0].request.sampling
    shape = ResponseShape(model.name, int(time.time()), model.chat.tokenizer, body, sampling)
    return await respond(answers, [0], body.stream, shape, account)
