"""How the two kinds of completions word an answer: whole, or as the events of a stream."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from edgellm.inference.chat import Delta, ToolPiece, Usage
from edgellm.language.tokenizer import Tokenizer
from edgellm.records.openai import chat, completion
from edgellm.records.openai.base import CompletionDetails, PromptDetails, UsageBody
from edgellm.serve.collected import Collected, total
from edgellm.serve.frames import DONE, Frames, event
from edgellm.serve.logprob_shapes import TextLogprobs, chat_logprobs
from edgellm.serve.problems import Problem
from edgellm.serve.stream import Batch


def usage_body(usage: Usage) -> UsageBody:
    return UsageBody(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=CompletionDetails(reasoning_tokens=usage.reasoning_tokens),
    )


class ChatShape:
    def __init__(self, model: str, created: int, tokenizer: Tokenizer, choices: int, *, include_usage: bool) -> None:
        self._model = model
        self._created = created
        self._tokenizer = tokenizer
        self._choices = choices
        self._include_usage = include_usage
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._frames = Frames(self._text_event)

    def whole(self, answers: Sequence[Collected]) -> chat.ChatAnswer:
        choices = [
            chat.ChatChoice(
                index=index,
                message=message_of(answer),
                logprobs=chat_logprobs(self._tokenizer, answer.pieces, answer.logprobs),
                finish_reason=answer.finish_reason,
            )
            for index, answer in enumerate(answers)
        ]
        return chat.ChatAnswer(
            id=self._id, created=self._created, model=self._model, choices=choices, usage=usage_body(total(answers))
        )

    def opening(self) -> bytes:
        role = chat.DeltaBody(role="assistant", content="")
        return b"".join(event(self._chunk(index, role)) for index in range(self._choices))

    def events(self, batch: Batch) -> bytes:
        return b"".join(self._event(index, delta) for index, delta in batch)

    def closing(self, answers: Sequence[Collected]) -> bytes:
        return (event(self._whole_chunk([], usage_body(total(answers)))) if self._include_usage else b"") + DONE

    def failure(self, problem: Problem) -> bytes:
        return event(problem.body)

    def _event(self, index: int, delta: Delta) -> bytes:
        if delta.finish_reason is None and not delta.logprobs:
            if delta.content and not delta.reasoning and not delta.tools:
                return self._frames.event(("content", index, 0), delta.content).encode()
            if delta.reasoning and not delta.content and not delta.tools:
                return self._frames.event(("reasoning", index, 0), delta.reasoning).encode()
            if len(delta.tools) == 1 and not delta.tools[0].name and not delta.content and not delta.reasoning:
                piece = delta.tools[0]
                return self._frames.event(("arguments", index, piece.index), piece.arguments).encode()
        body = chat.DeltaBody(
            content=delta.content or None,
            reasoning_content=delta.reasoning or None,
            tool_calls=[call_delta(piece) for piece in delta.tools] or None,
        )
        logprobs = chat_logprobs(self._tokenizer, [delta.content], [delta.logprobs])
        return event(self._chunk(index, body, delta.finish_reason, logprobs))

    def _text_event(self, kind: tuple[str, int, int], text: str) -> bytes:
        name, index, call = kind
        if name == "content":
            return event(self._chunk(index, chat.DeltaBody(content=text)))
        if name == "reasoning":
            return event(self._chunk(index, chat.DeltaBody(reasoning_content=text)))
        return event(self._chunk(index, chat.DeltaBody(tool_calls=[call_delta(ToolPiece(call, arguments=text))])))

    def _chunk(
        self, index: int, delta: chat.DeltaBody, reason: str | None = None, logprobs: chat.ChatLogprobs | None = None
    ) -> chat.ChatChunk:
        choice = chat.ChatChunkChoice(index=index, delta=delta, logprobs=logprobs, finish_reason=reason)
        return self._whole_chunk([choice], None)

    def _whole_chunk(self, choices: list[chat.ChatChunkChoice], usage: UsageBody | None) -> chat.ChatChunk:
        return chat.ChatChunk(id=self._id, created=self._created, model=self._model, choices=choices, usage=usage)


def message_of(answer: Collected) -> chat.AnswerMessage:
    calls = [
        chat.AnswerCall(id=call.id, function=chat.CalledFunction(name=call.name, arguments=call.arguments))
        for call in answer.calls
    ]
    content = answer.content
    return chat.AnswerMessage(
        content=None if calls and not content else content,
        reasoning_content=answer.reasoning or None,
        tool_calls=calls or None,
    )


def call_delta(piece: ToolPiece) -> chat.CallDelta:
    """The first piece of a call has its name, and an empty text of arguments, which clients add the others to."""
    function = chat.FunctionDelta(name=piece.name or None, arguments=piece.arguments)
    return chat.CallDelta(
        index=piece.index, id=piece.id or None, type="function" if piece.name else None, function=function
    )


class CompletionShape:
    def __init__(
        self, model: str, created: int, tokenizer: Tokenizer, choices: int, *, include_usage: bool, logprobs: bool
    ) -> None:  # fmt: skip
        self._model = model
        self._created = created
        self._include_usage = include_usage
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._logprobs = [TextLogprobs(tokenizer) for _ in range(choices)] if logprobs else None
        self._frames = Frames(lambda kind, text: event(self._chunk(kind[1], Delta(content=text))))

    def whole(self, answers: Sequence[Collected]) -> completion.Completion:
        choices = [
            completion.CompletionChoice(
                index=index,
                text=answer.content,
                logprobs=self._logprobs[index].next(answer.pieces, answer.logprobs) if self._logprobs else None,
                finish_reason=answer.finish_reason,
            )
            for index, answer in enumerate(answers)
        ]
        return self._completion(choices, usage_body(total(answers)))

    def opening(self) -> bytes:
        return b""

    def events(self, batch: Batch) -> bytes:
        return b"".join(self._event(index, delta) for index, delta in batch)

    def closing(self, answers: Sequence[Collected]) -> bytes:
        return (event(self._completion([], usage_body(total(answers)))) if self._include_usage else b"") + DONE

    def failure(self, problem: Problem) -> bytes:
        return event(problem.body)

    def _event(self, index: int, delta: Delta) -> bytes:
        if delta.finish_reason is None and self._logprobs is None:
            return self._frames.event(("text", index, 0), delta.content).encode()
        return event(self._chunk(index, delta))

    def _chunk(self, index: int, delta: Delta) -> completion.Completion:
        choice = completion.CompletionChoice(
            index=index,
            text=delta.content,
            logprobs=self._logprobs[index].next([delta.content], [delta.logprobs]) if self._logprobs else None,
            finish_reason=delta.finish_reason,
        )
        return self._completion([choice], None)

    def _completion(self, choices: list[completion.CompletionChoice], usage: UsageBody | None) -> completion.Completion:
        return completion.Completion(
            id=self._id, created=self._created, model=self._model, choices=choices, usage=usage
        )
