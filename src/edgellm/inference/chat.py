"""Chat: messages in, text and usage out, by a local runtime or by any OpenAI-compatible URL."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Message:
    """One turn. `extra` goes to the chat template as it is: `tool_calls` of an assistant, `tool_call_id`, `name`."""

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # of the prompt, not computed again
    reasoning_tokens: int = 0  # of the completion


@dataclass(frozen=True)
class ToolPiece:
    """A piece of a tool call: the first of a call has its `name` and `id`, each has more of the JSON `arguments`."""

    index: int  # counts the calls of one answer from 0
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class TokenLogprob:
    """What the model thought of a token that was drawn: natural logarithms of probabilities before any setting."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()  # the likeliest tokens, best first


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. The last one of a stream carries `finish_reason` and `usage`."""

    content: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    tools: tuple[ToolPiece, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()  # of the tokens of `content`, where the request asked for them


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are drawn. Temperature 0 is greedy."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0  # divides positive logits of tokens seen, and multiplies negative ones; 1: off
    frequency_penalty: float = 0.0  # taken off the logit for each time that the answer holds the token
    presence_penalty: float = 0.0  # taken off once if the answer holds it
    logit_bias: Mapping[int, float] = field(default_factory=dict)  # token id → what is added to its logit


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
