"""Any chat as the model of an evaluation: asked again where it is full or breaks off, its thinking taken off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgellm.errors import EdgellmError, EngineFailed, EngineRestarting, GrammarStuck, QueueFull, UsageError
from edgellm.evals.model import Likelihood, Reply
from edgellm.evals.scoring import split_thinking
from edgellm.inference.chat import Delta, Message, SamplingOptions, Usage

LONGEST_WAIT_S = 60.0  # between two attempts, whatever a server asks for


class FormattedChat(Protocol):
    """A Chat whose answers can be held to a format, as OpenAI's `response_format` describes it."""

    def stream(
        self,
        messages: Sequence[Message],
        sampling: SamplingOptions,
        max_tokens: int | None,
        stop: Sequence[str] = (),
        *,
        response_format: Mapping[str, Any] | None = None,
    ) -> Generator[Delta, None, None]: ...


@dataclass(frozen=True)
class Patience:
    """How often and how long one request is tried again."""

    breaks: int = 5  # answers that broke off, or servers that were not there; waits of first_wait_s, twice that, …
    first_wait_s: float = 1.0
    full_s: float = 1800.0  # in all, for a server that has no room, which says itself when to come again


class ChatModel:
    """A model behind a Chat. May be called from several threads at once; `close` wakes those that wait."""

    def __init__(
        self, name: str, chat: FormattedChat, patience: Patience = Patience(), tell: Callable[[str], None] | None = None
    ) -> None:
        """`tell` hears, in a sentence, of each wait."""
        self.name = name
        self._chat = chat
        self._patience = patience
        self._tell = tell
        self._closed = threading.Event()

    def reply(self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None) -> Reply:
        """As `Model.reply`."""
        return self._tried(lambda: self._once(messages, sampling, max_tokens, None))

    def structured_reply(
        self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None, schema: Mapping[str, Any]
    ) -> Reply:
        """The same, where `content` is JSON that follows `schema`.

        Raises UsageError where the model or its server refuses that; some servers pass over it in silence.
        """
        described = {"name": "answer", "strict": True, "schema": schema}
        asked_for = {"type": "json_schema", "json_schema": described}
        return self._tried(lambda: self._once(messages, sampling, max_tokens, asked_for))

    def likelihoods(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        """Raises UsageError: a chat tells words, not how likely others would have been."""
        raise UsageError(
            f"{self.name} is asked by chat, which gives no likelihoods; take --mode generation, or name the model "
            "itself as TARGET"
        )

    def close(self) -> None:
        self._closed.set()

    def _once(
        self,
        messages: Sequence[Message],
        sampling: SamplingOptions,
        max_tokens: int | None,
        response_format: Mapping[str, Any] | None,
    ) -> Reply:
        began = time.perf_counter()
        content, reasoning, reason = [], [], "stop"
        usage: Usage | None = None
        for delta in self._chat.stream(messages, sampling, max_tokens, response_format=response_format):
            content.append(delta.content)
            reasoning.append(delta.reasoning)
            reason = delta.finish_reason or reason
            usage = delta.usage or usage
        answer, thought = split_thinking("".join(content))
        return Reply(
            answer, "".join([*reasoning, thought]), reason, usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None, time.perf_counter() - began,
        )  # fmt: skip

    def _tried(self, attempt: Callable[[], Reply]) -> Reply:
        """Raises the last error when patience is at its end."""
        breaks, waited_s = 0, 0.0
        while True:
            try:
                return attempt()
            except (QueueFull, EngineRestarting) as error:
                wait_s = min(max(float(error.retry_after_s), 1.0), LONGEST_WAIT_S)
                waited_s += wait_s
                if waited_s > self._patience.full_s:
                    raise
                self._wait(wait_s, error)
            except GrammarStuck:  # would stick again
                raise
            except EngineFailed as error:
                if breaks >= self._patience.breaks:
                    raise
                self._wait(min(self._patience.first_wait_s * 2**breaks, LONGEST_WAIT_S), error)
                breaks += 1

    def _wait(self, wait_s: float, error: EdgellmError) -> None:
        """Raises the error itself where the model is closed meanwhile: nobody waits for the answer any more."""
        if self._tell:
            self._tell(f"{error}; asking again in {wait_s:g} s")
        if self._closed.wait(wait_s):
            raise error
