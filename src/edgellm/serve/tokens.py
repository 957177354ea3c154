"""`/tokenize` and `/detokenize`: the model's exact tokens of a text, and the text of tokens."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from edgellm.errors import EdgellmError
from edgellm.inference.local_chat import LocalChat
from edgellm.records.openai.tokens import Detokenized, DetokenizeRequest, Piece, Tokenized, TokenizeRequest
from edgellm.serve.bodies import read_body
from edgellm.serve.problems import problem_of
from edgellm.serve.service import Service

# llama.cpp's switch for reading special tokens in the text, which is never done here, and vLLM's for what is.
IGNORED = frozenset({"parse_special"})


async def tokenize(request: Request) -> Response:
    service: Service = request.app.state.service
    body = await read_body(request, TokenizeRequest, ignored=IGNORED)
    async with service.using(body.model) as model:
        try:
            answer = await run_in_threadpool(tokenized, model.chat, body)
        except EdgellmError as error:
            raise problem_of(error, "content") from error
    return Response(answer.model_dump_json(), media_type="application/json")


async def detokenize(request: Request) -> Response:
    service: Service = request.app.state.service
    body = await read_body(request, DetokenizeRequest)
    async with service.using(body.model) as model:
        try:
            text = await run_in_threadpool(model.chat.tokenizer.decode, body.tokens, skip_special=False)
        except EdgellmError as error:
            raise problem_of(error, "tokens") from error
    return Response(Detokenized(content=text, prompt=text).model_dump_json(), media_type="application/json")


def tokenized(chat: LocalChat, body: TokenizeRequest) -> Tokenized:
    ids = chat.text_prompt(body.text) if body.add_special else chat.tokenizer.encode(body.text)
    tokens = [Piece(id=each, piece=piece_of(chat, each)) for each in ids] if body.with_pieces else ids
    return Tokenized(tokens=tokens, count=len(ids), max_model_len=chat.scheduler.info.context_tokens)


def piece_of(chat: LocalChat, token: int) -> str | list[int]:
    if chat.tokenizer.is_special(token):
        return chat.tokenizer.token(token)
    data = chat.tokenizer.token_bytes(token)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return list(data)
