"""A model of an evaluation that says what a test wants to hear, without a server or weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgellm.evals.model import Likelihood, Reply
from edgellm.inference.chat import Message, SamplingOptions


@dataclass(frozen=True)
class Heard:
    """One request. `schema` is what the answer was held to."""

    messages: tuple[Message, ...]
    sampling: SamplingOptions
    max_tokens: int | None
    schema: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        return self.messages[-1].content


@dataclass
class ScriptedModel:
    """`say` gives the answer to a request, or raises what the model raises."""

    say: Callable[[Heard], str | Reply]
    name: str = "scripted"
    heard: list[Heard] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None) -> Reply:
        return self._told(Heard(tuple(messages), sampling, max_tokens))

    def likelihoods(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        raise NotImplementedError

    def _told(self, heard: Heard) -> Reply:
        with self.lock:
            self.heard.append(heard)
        said = self.say(heard)
        return said if isinstance(said, Reply) else Reply(said, seconds=0.5)


@dataclass
class ScriptedStructuredModel(ScriptedModel):
    """One that takes schemas."""

    def structured_reply(
        self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None, schema: Mapping[str, Any]
    ) -> Reply:
        return self._told(Heard(tuple(messages), sampling, max_tokens, schema))
