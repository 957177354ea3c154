"""How the two interfaces word an answer: whole, or as the chunks of a stream."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel

from edgellm.inference.chat import Delta, Usage
from edgellm.records import openai


@dataclass
class Collected:
    """One answer as far as it has come."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    usage: Usage = field(default_factory=lambda: Usage(0, 0))

    def add(self, delta: Delta) -> None:
        self.content += delta.content
        self.reasoning += delta.reasoning
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage


def usage_of(answers: Sequence[Collected]) -> openai.UsageBody:
    prompt = sum(answer.usage.prompt_tokens for answer in answers)
    completion = sum(answer.usage.completion_tokens for answer in answers)
    return openai.UsageBody(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


class Shape(Protocol):
    """How one of the two interfaces words its answers."""

    def whole(self, answers: Sequence[Collected]) -> BaseModel: ...

    def opening(self) -> Sequence[BaseModel]: ...

    def chunk(self, index: int, delta: Delta) -> BaseModel: ...

    def usage(self, usage: openai.UsageBody) -> BaseModel: ...


@dataclass(frozen=True)
class ChatShape:
    model: str
    created: int
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")

    def whole(self, answers: Sequence[Collected]) -> openai.ChatAnswer:
        choices = [
            openai.ChatChoice(
                index=index,
                message=openai.AnswerMessage(content=answer.content, reasoning_content=answer.reasoning or None),
                finish_reason=answer.finish_reason,
            )
            for index, answer in enumerate(answers)
        ]
        return openai.ChatAnswer(
            id=self.id, created=self.created, model=self.model, choices=choices, usage=usage_of(answers)
        )

    def opening(self) -> Sequence[openai.ChatChunk]:
        return [self._chunk(0, openai.DeltaBody(role="assistant", content=""), None)]

    def chunk(self, index: int, delta: Delta) -> openai.ChatChunk:
        body = openai.DeltaBody(content=delta.content or None, reasoning_content=delta.reasoning or None)
        return self._chunk(index, body, delta.finish_reason)

    def usage(self, usage: openai.UsageBody) -> openai.ChatChunk:
        return openai.ChatChunk(id=self.id, created=self.created, model=self.model, choices=[], usage=usage)

    def _chunk(self, index: int, delta: openai.DeltaBody, finish_reason: str | None) -> openai.ChatChunk:
        choice = openai.ChatChunkChoice(index=index, delta=delta, finish_reason=finish_reason)
        return openai.ChatChunk(id=self.id, created=self.created, model=self.model, choices=[choice])


@dataclass(frozen=True)
class CompletionShape:
    model: str
    created: int
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")

    def whole(self, answers: Sequence[Collected]) -> openai.Completion:
        choices = [
            openai.CompletionChoice(index=index, text=answer.content, finish_reason=answer.finish_reason)
            for index, answer in enumerate(answers)
        ]
        return self._completion(choices, usage_of(answers))

    def opening(self) -> Sequence[openai.Completion]:
        return []

    def chunk(self, index: int, delta: Delta) -> openai.Completion:
        choice = openai.CompletionChoice(index=index, text=delta.content, finish_reason=delta.finish_reason)
        return self._completion([choice], None)

    def usage(self, usage: openai.UsageBody) -> openai.Completion:
        return self._completion([], usage)

    def _completion(self, choices: list[openai.CompletionChoice], usage: openai.UsageBody | None) -> openai.Completion:
        return openai.Completion(id=self.id, created=self.created, model=self.model, choices=choices, usage=usage)
