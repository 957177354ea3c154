"""`/v1/embeddings`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from edgellm.errors import EdgellmError
from edgellm.inference.chat import Usage
from edgellm.records.openai.embeddings import Embedding, Embeddings, EmbeddingsRequest, EmbeddingsUsage
from edgellm.serve.account import Account
from edgellm.serve.bodies import read_body
from edgellm.serve.jobs import prompts_of
from edgellm.serve.problems import Problem, problem_of
from edgellm.serve.service import ModelInUse, Service

if TYPE_CHECKING:
    from edgellm.engines.protocol import Logits

IGNORED = frozenset({"user"})
MOST_INPUTS = 2048  # OpenAI's own limit


async def embeddings(request: Request, account: Account) -> ASGIApp:
    service: Service = request.app.state.service
    body = await read_body(request, EmbeddingsRequest, ignored=IGNORED)
    inputs = prompts_of(body.input)
    if len(inputs) > MOST_INPUTS:
        raise Problem(400, f"input holds more than {MOST_INPUTS} texts; send fewer at once", param="input")
    account.prompt = "\n".join(map(str, inputs))
    async with service.using(body.model) as model:
        account.model = model.name
        check_width(model, body)
        try:
            prompts, vectors = await run_in_threadpool(embedded, model, inputs)
        except EdgellmError as error:
            raise problem_of(error, "input") from error
    count = sum(map(len, prompts))
    account.usage = Usage(count, 0)
    data = [
        Embedding(index=index, embedding=in_base64(row) if body.encoding_format == "base64" else row.tolist())
        for index, row in enumerate(vectors)
    ]
    usage = EmbeddingsUsage(prompt_tokens=count, total_tokens=count)
    answer = Embeddings(model=model.name, data=data, usage=usage)
    return Response(answer.model_dump_json(), media_type="application/json")


def check_width(model: ModelInUse, body: EmbeddingsRequest) -> None:
    width = model.chat.scheduler.info.embedding_width
    if not width:
        message = f"the model {model.name!r} gives no embeddings; ask it for completions"
        raise Problem(400, message, param="model", code="unsupported_model")
    if body.dimensions not in (None, width):
        message = f"the model {model.name!r} gives vectors of {width} numbers and no others; leave dimensions out"
        raise Problem(400, message, param="dimensions", code="unsupported_parameter")


def embedded(model: ModelInUse, inputs: list[str | list[int]]) -> tuple[list[list[int]], Logits]:
    """The prompts as ids, and their vectors."""
    chat = model.chat
    prompts = [chat.text_prompt(each) if isinstance(each, str) else each for each in inputs]
    return prompts, chat.scheduler.embed(prompts)


def in_base64(vector: Logits) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
