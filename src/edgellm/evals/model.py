"""The models that an evaluation talks to: the one that answers, and the one that judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgellm.inference.chat import Message, SamplingOptions


@dataclass(frozen=True)
class Reply:
    """One whole answer. `content` is without the model's thinking."""

    content: str
    reasoning: str = ""
    finish_reason: str = "stop"  # `length` where it was cut at max_tokens
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Likelihood:
    """Of one continuation after a prompt."""

    nats: float  # Σ log p of its tokens; at most 0
    tokens: int
    utf8_bytes: int


class Model(Protocol):
    """A model behind a URL or in this process; may be called from several threads at once."""

    name: str

    def reply(self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None) -> Reply:
        """The answer to a conversation. Raises EngineFailed where it breaks off, UsageError where it is refused;
        a full server is asked again after the wait that it names."""
        ...

    def likelihoods(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        """How likely each continuation is after the prompt, as text without a chat template.

        Raises UsageError for a model that gives no likelihoods, as behind a chat URL.
        """
        ...
