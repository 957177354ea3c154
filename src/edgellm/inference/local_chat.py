"""Chat by a model on this machine: template, exact tokenizer, scheduler, reply parser, detokenizer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.inference.answer import AnswerReader, Continuation
from edgellm.inference.chat import Delta, FinishReason, Message, SamplingOptions
from edgellm.inference.generation import Generations, Request
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.target import Target
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.harmony import parser_for
from edgellm.language.tokenizer import Tokenizer


class LocalChat:
    """Many conversations at once over one scheduler, which `close` ends.

    `stream` is the `Chat` protocol. The other methods are its parts, for a server with an event loop.
    """

    def __init__(
        self, scheduler: Generations, tokenizer: Tokenizer, template: ChatTemplate | None, *,
        adapter: str | None = None,
    ) -> None:  # fmt: skip
        """`adapter` is the one to answer with where a request names none."""
        self.tokenizer = tokenizer
        self.template = template
        self.adapter = adapter
        self.scheduler = scheduler

    def stream(
        self,
        messages: Sequence[Message],
        sampling: SamplingOptions,
        max_tokens: int | None,
        stop: Sequence[str] = (),
    ) -> Generator[Delta, None, None]:
        """As `Chat.stream`. Raises what `prompt` and `Scheduler.submit` raise, later EngineFailed."""
        request = self.request(self.prompt(messages), sampling, max_tokens)
        reader = self.reader(request, stop)
        generation = self.scheduler.submit(request)
        try:
            for token in generation:
                yield from reader.take(token)
                if reader.stopped:
                    break
            yield from reader.finish(cast(FinishReason, generation.finish_reason or "stop"))
        finally:
            generation.cancel()

    def prompt(self, messages: Sequence[Message], **arguments: object) -> list[int]:
        """Prompt ids of a conversation; `arguments` go to the template, such as `reasoning_effort`.

        Raises UsageError for a model without a chat template and for messages that the template refuses.
        """
        if self.template is None:
            raise UsageError(
                "this model has no chat template, so it cannot hold a conversation; ask it for completions"
            )
        turns = [{"role": message.role, "content": message.content, **message.extra} for message in messages]
        return self.template.encode(turns, self.tokenizer, add_generation_prompt=True, **arguments)

    def text_prompt(self, text: str) -> list[int]:
        """Prompt ids of a text to go on from, with BOS where the model was trained with it."""
        bos = self.tokenizer.bos_id
        begin = [bos] if bos is not None and self.tokenizer.specials.adds_bos else []
        return begin + self.tokenizer.encode(text)

    def request(
        self,
        ids: Sequence[int],
        sampling: SamplingOptions,
        max_tokens: int | None,
        *,
        ignore_eos: bool = False,
        adapter: str | None = None,
    ) -> Request:
        return Request(ids, sampling, max_tokens, self.tokenizer.stop_ids, ignore_eos, adapter or self.adapter)

    def reader(self, request: Request, stop: Sequence[str]) -> AnswerReader:
        """Reads the answer to a conversation."""
        return AnswerReader(partial(parser_for, self.tokenizer), request, stop)

    def text_reader(self, request: Request, stop: Sequence[str]) -> AnswerReader:
        """Reads how a text goes on."""
        return AnswerReader(partial(Continuation, self.tokenizer, request.ids), request, stop)

    def close(self, patience_s: float | None = None) -> bool:
        """End the scheduler, as `Scheduler.close`; the runtime is its opener's to close."""
        return self.scheduler.close(patience_s)

    def __enter__(self) -> LocalChat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def open_chat(
    target: Target, options: RuntimeOptions, *, max_waiting: int = 64, adapter: str | None = None
) -> Iterator[LocalChat]:  # fmt: skip
    """Load a model for conversations, and free it at the end."""
    tokenizer, template = target.tokenizer(), target.chat_template()
    runtime = target.open_runtime(options)
    try:
        chat = LocalChat(Scheduler(runtime, max_waiting=max_waiting), tokenizer, template, adapter=adapter)
    except BaseException:
        runtime.close()
        raise
    try:
        yield chat
    finally:
        # Not where an interrupt ends the waiting: a model that still computes must not be freed.
        chat.close()
        runtime.close()
