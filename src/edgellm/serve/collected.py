"""One answer as far as it has come, and what several of them cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgellm.inference.chat import Delta, TokenLogprob, Usage


@dataclass
class Call:
    id: str
    name: str
    arguments: str


@dataclass
class Collected:
    """`prompt` is the number of the prompt that it answers."""

    prompt: int = 0
    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    logprobs: list[Sequence[TokenLogprob]] = field(default_factory=list)  # of the tokens of each piece
    finish_reason: str = ""
    usage: Usage = field(default_factory=lambda: Usage(0, 0))

    @property
    def content(self) -> str:
        return "".join(self.pieces)

    @property
    def reasoning(self) -> str:
        return "".join(self.thoughts)

    def add(self, delta: Delta) -> None:
        if delta.content:
            self.pieces.append(delta.content)
            self.logprobs.append(delta.logprobs)
        if delta.reasoning:
            self.thoughts.append(delta.reasoning)
        for piece in delta.tools:
            if piece.index == len(self.calls):
                self.calls.append(Call(piece.id, piece.name, piece.arguments))
            else:
                self.calls[piece.index].arguments += piece.arguments
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage


def total(answers: Sequence[Collected]) -> Usage:
    """A prompt that is answered several times counts once."""
    prompts = {answer.prompt: answer.usage for answer in reversed(answers)}.values()
    return Usage(
        sum(usage.prompt_tokens for usage in prompts),
        sum(answer.usage.completion_tokens for answer in answers),
        sum(usage.cached_tokens for usage in prompts),
        sum(answer.usage.reasoning_tokens for answer in answers),
    )
