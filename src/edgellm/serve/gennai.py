"""The adapter for 源内: `POST /invoke` answers at once or promises to, `GET /status/<id>` says how far it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgellm.errors import BadInput, EdgellmError
from edgellm.records.gennai import File, GennaiError, Invoked, InvokeRequest, Progress, Tokens, Turn, UsageMetadata
from edgellm.records.openai.chat import ChatMessage, ChatRequest
from edgellm.serve.account import Account
from edgellm.serve.answering import Generating, close, take
from edgellm.serve.bodies import problem_of_validation, read_body
from edgellm.serve.caller import caller_of
from edgellm.serve.collected import Collected
from edgellm.serve.completions import sharing, submitted
from edgellm.serve.documents import text_of_base64
from edgellm.serve.jobs import chat_jobs, prepared
from edgellm.serve.problems import CLIENT_GONE, Problem, on_fault, problem_of
from edgellm.serve.promises import Promise, Promises
from edgellm.serve.service import Service

CUT_SHORT = "\n\n（長さの上限に達したため、回答は途中で終わっています。）"
MOST_FILES = 32
MOST_READ_AT_ONCE = 2  # PDF and Word files; each is a process
LONGEST_USER = 256
TURNS = TypeAdapter(list[Turn])


@dataclass(frozen=True)
class GennaiOptions:
    """The platform gives up after 29 s; answers that were promised are kept for a while after they have come."""

    patience_s: float = 25.0
    kept_s: float = 3600.0
    most_kept: int = 256  # of each key


def gennai_routes(options: GennaiOptions) -> list[Route]:
    desk = Desk(options)
    return [
        Route("/invoke", Generating(desk.invoke), methods=["POST"]),
        Route("/status/{id}", desk.status),
    ]


class Desk:
    def __init__(self, options: GennaiOptions) -> None:
        self.patience_s = options.patience_s
        self.promises = Promises(options.kept_s, options.most_kept)
        self.reading = asyncio.Semaphore(MOST_READ_AT_ONCE)

    async def invoke(self, request: Request, account: Account) -> ASGIApp:
        begun = asyncio.get_running_loop().time()
        account.caller = replace(account.caller, person=person_of(request))
        body = await read_body(request, InvokeRequest)
        return Invocation(self, body, account, begun + self.patience_s)

    async def status(self, request: Request) -> Response:
        promise = self.promises.find(request.path_params["id"], caller_of(request).name)
        if promise is None:
            raise Problem(404, "there is no such request, or its answer is no longer kept; ask again", code="not_found")
        return Response(promise.status().model_dump_json(), media_type="application/json")

    async def texts(self, files: Sequence[File]) -> list[str]:
        """Raises Problem with the name of the file that cannot be read."""
        texts = []
        for file in files:
            try:
                async with self.reading:
                    texts.append(await run_in_threadpool(text_of_base64, file.base64))
            except BadInput as error:
                raise Problem(400, f"the file {file.filename!r} was not read: {error}", code="invalid_file") from None
        return texts


def person_of(request: Request) -> str:
    """`x-user-id`: on whose behalf a key is used."""
    person = request.headers.get("x-user-id", "")
    if len(person) > LONGEST_USER or not person.isprintable():
        raise Problem(400, f"x-user-id is longer than {LONGEST_USER} characters or not printable; shorten it")
    return person


@dataclass
class Invocation:
    """One request. It goes on after its 202, when its connection no longer counts, until its answer has come: its
    place, its key's limits and its account are held as long."""

    desk: Desk
    body: InvokeRequest
    account: Account
    deadline: float  # on the loop's clock: when to promise what has not come
    promised: bool = False
    promise: Promise = field(init=False)

    def __post_init__(self) -> None:
        self.promise = Promise(self.account.caller.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, self._attached(receive))
        work = asyncio.create_task(self._work(request))
        try:
            left_s = self.deadline - asyncio.get_running_loop().time()
            await asyncio.wait({work}, timeout=max(0.0, left_s))
            if not work.done():
                self.promised = True
                self.desk.promises.keep(self.promise)
                accepted = Response(self.promise.accepted().model_dump_json(), 202, media_type="application/json")
                await accepted(scope, receive, send)
            reply = await work
        except Problem:
            if not self.promised:
                raise
        else:
            if not self.promised:
                await reply(scope, receive, send)
        finally:
            work.cancel()

    def _attached(self, receive: Receive) -> Receive:
        """What the connection says, until the answer is promised to whoever asks for it later."""

        async def attached() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and self.promised:
                await asyncio.Event().wait()  # until the answer has come, which ends the waiting
            return message

        return attached

    async def _work(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except Problem as problem:
            self.account.refused(problem)
            self._end("ERROR", problem.body.error.message)
            raise
        except BaseException as error:
            self.account.failed(error)
            self._end("ERROR", f"the server failed on this request ({type(error).__name__})")
            raise

    def _end(self, progress: Progress, error: str = "", usage: list[UsageMetadata] | None = None) -> None:
        """Who finds the answer finds it on record."""
        self.account.close()
        self.promise.end(progress, error=error, usage=usage)

    async def _answer(self, request: Request) -> Response:
        service: Service = request.app.state.service
        account = self.account
        asked = ChatRequest(messages=await self._messages())
        account.prompt = "\n".join(message.text for message in asked.messages)
        async with service.using(None) as model:
            account.model = model.name
            jobs = await prepared(lambda: chat_jobs(model, asked, sharing(service, account)), "inputs")
            answers = submitted(request, model, jobs, account, "inputs")
        collected = [Collected()]
        self.promise.text = lambda: collected[0].content
        try:
            while await take(answers, collected):
                self.promise.grew()
        except EdgellmError as error:
            raise problem_of(error) from error
        finally:
            close(answers, collected, account)
        if answers.abandoned:
            return Response(status_code=CLIENT_GONE)
        if collected[0].finish_reason == "length":
            collected[0].pieces.append(CUT_SHORT)
        reply = Invoked(outputs=collected[0].content, usageMetadata=[self._usage()])
        self._end("COMPLETED", usage=reply.usageMetadata)
        return Response(reply.model_dump_json(), media_type="application/json")

    async def _messages(self) -> list[ChatMessage]:
        """The earlier turns, and the question with the files before it. Raises Problem."""
        inputs = self.body.inputs
        turns = [ChatMessage(role=turn.role, content=turn.content) for turn in turns_of(inputs.conversation_history)]
        files = [file for group in inputs.files for file in group.files]
        if len(files) > MOST_FILES:
            raise Problem(400, f"inputs.files holds {len(files)} files and {MOST_FILES} may be sent; send fewer")
        texts = await self.desk.texts(files)
        parts = [f"【添付ファイル：{file.filename}】\n{text}" for file, text in zip(files, texts, strict=True)]
        question = "\n\n".join([*parts, f"【質問】\n{inputs.question}"]) if parts else inputs.question
        return [*turns, ChatMessage(role="user", content=question)]

    def _usage(self) -> UsageMetadata:
        spent = self.account.usage
        whole = spent.prompt_tokens + spent.completion_tokens
        tokens = Tokens(inputTokens=spent.prompt_tokens, outputTokens=spent.completion_tokens, totalTokens=whole)
        return UsageMetadata(modelVersion=self.account.model, tokens=tokens)


def turns_of(history: list[Turn] | str) -> list[Turn]:
    if not isinstance(history, str):
        return history
    if not history.strip():
        return []
    try:
        return TURNS.validate_python(json.loads(history))
    except ValidationError as error:
        raise problem_of_validation(error) from None
    except (ValueError, RecursionError):
        message = "inputs.conversation_history is text but not JSON; send a list of {role, content}"
        raise Problem(400, message, param="inputs.conversation_history", code="invalid_value") from None


class GennaiErrors:
    """Puts every error of the adapter's paths into its shape, `{"error": "…"}`, whoever found it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (scope["path"] == "/invoke" or scope["path"].startswith("/status/")):
            await self._app(scope, receive, send)
            return
        held: Message | None = None
        begun = False

        async def reworded(message: Message) -> None:
            nonlocal held, begun
            begun = True
            if message["type"] == "http.response.start" and message["status"] >= 400:
                held = message
            elif held is None:
                await send(message)
            else:  # every error of ours comes in one piece
                body = in_its_shape(message["body"])
                kept = [(name, value) for name, value in held["headers"] if name != b"content-length"]
                await send({**held, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
                await send({**message, "body": body})
                held = None

        try:
            await self._app(scope, receive, reworded)
        except Exception as error:
            if not begun:
                await (await on_fault(Request(scope), error))(scope, receive, reworded)
            raise


def in_its_shape(body: bytes) -> bytes:
    return GennaiError(error=json.loads(body)["error"]["message"]).model_dump_json().encode() if body else body
