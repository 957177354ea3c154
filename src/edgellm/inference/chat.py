"""Chat: messages in, text and usage out, by a local runtime or by any OpenAI-compatible URL."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. The last one of a stream carries `finish_reason` and `usage`."""

    content: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are drawn. Temperature 0 is greedy."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    seed: int | None = None


class Chat(Protocol):
    def stream(
        self,
        messages: Sequence[Message],
        sampling: SamplingOptions,
        max_tokens: int | None,
        stop: Sequence[str] = (),
    ) -> Generator[Delta, None, None]:
        """Answer in pieces. Closing the iterator early cancels the request."""
        ...
