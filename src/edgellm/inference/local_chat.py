"""Chat by a model on this machine: template, exact tokenizer, scheduler, reply parser, detokenizer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.inference.answer import AnswerReader, Continuation
from edgellm.inference.chat import Delta, FinishReason, Message, SamplingOptions
from edgellm.inference.constraint import Constraint
from edgellm.inference.engine import EngineOrder, open_engine
from edgellm.inference.generation import Generations, Request
from edgellm.inference.structured import constraint_for
from edgellm.inference.target import Target
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.harmony import is_harmony, parser_for
from edgellm.language.tokenizer import Tokenizer
from edgellm.language.tool_dialect import TaggedParser, turns_for_template


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
        *,
        response_format: Mapping[str, Any] | None = None,
    ) -> Generator[Delta, None, None]:
        """As `Chat.stream`; `response_format` is OpenAI's.

        Raises what `prompt`, `constraint_for` and `Scheduler.submit` raise, later EngineFailed.
        """
        ids = self.prompt(messages)
        constraint = constraint_for(self.tokenizer, self.template, response_format) if response_format else None
        checkpoints = self.checkpoints(ids, messages)
        request = self.request(ids, sampling, max_tokens, constraint=constraint, checkpoints=checkpoints)
        reader = self.reader(request, stop)
        generation = self.scheduler.submit(request)
        try:
            for token in generation:
                yield from reader.take(token)
                if reader.stopped:
                    break
            timing = generation.end.timing if generation.end else None
            yield from reader.finish(cast(FinishReason, generation.finish_reason or "stop"), timing)
        finally:
            generation.cancel()

    def prompt(self, messages: Sequence[Message], **arguments: object) -> list[int]:
        """Prompt ids of a conversation; `arguments` go to the template, such as `reasoning_effort`.

        Raises UsageError for a model without a chat template and for messages that the template refuses.
        """
        return self._encoded(messages, asks=True, **arguments)

    def checkpoints(self, ids: Sequence[int], messages: Sequence[Message], **arguments: object) -> tuple[int, ...]:
        """`Request.checkpoints` of the prompt `ids`, which `prompt` made of the same: where the last message ends.

        The next turn begins with the same tokens up to there, whereas templates seldom write an answer into the
        history as they asked for it. A model that can be cut needs none.
        """
        if self.scheduler.info.can_cut:
            return ()
        told = self._encoded(messages, asks=False, **arguments)
        pairs = enumerate(zip(ids, told, strict=False))
        return (next((place for place, (one, other) in pairs if one != other), min(len(ids), len(told))),)

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
        constraint: Constraint | None = None,
        checkpoints: tuple[int, ...] = (),
    ) -> Request:
        """`constraint` is what `structured.constraint_for` makes of a request."""
        stops, adapter = self.tokenizer.stop_ids, adapter or self.adapter
        return Request(
            ids, sampling, max_tokens, stops, ignore_eos, adapter, constraint=constraint, checkpoints=checkpoints
        )

    def reader(self, request: Request, stop: Sequence[str], *, tools: bool = False) -> AnswerReader:
        """Reads the answer to a conversation; `tools` says that the model was offered some."""
        tagged = tools and not is_harmony(self.tokenizer)
        return AnswerReader(partial(TaggedParser if tagged else parser_for, self.tokenizer), request, stop, tools=tools)

    def text_reader(self, request: Request, stop: Sequence[str]) -> AnswerReader:
        """Reads how a text goes on."""
        return AnswerReader(partial(Continuation, self.tokenizer, request.ids), request, stop)

    def _encoded(self, messages: Sequence[Message], *, asks: bool, **arguments: object) -> list[int]:
        """A conversation in the template's words; `asks` for an answer at its end."""
        if self.template is None:
            raise UsageError(
                "this model has no chat template, so it cannot hold a conversation; ask it for completions"
            )
        turns = [{"role": message.role, "content": message.content, **message.extra} for message in messages]
        told = turns_for_template(turns, self.template)
        return self.template.encode(told, self.tokenizer, add_generation_prompt=asks, **arguments)

    def close(self, patience_s: float | None = None) -> bool:
        """End the scheduler, as `Scheduler.close`; the runtime is its opener's to close."""
        return self.scheduler.close(patience_s)

    def __enter__(self) -> LocalChat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def open_chat(
    target: Target, options: RuntimeOptions, *, adapter: str | None = None
) -> Iterator[LocalChat]:  # fmt: skip
    """Load a model into this process for conversations, and free it at the end."""
    tokenizer, template = target.tokenizer(), target.chat_template()
    with open_engine(EngineOrder(target, options)) as scheduler:
        yield LocalChat(scheduler, tokenizer, template, adapter=adapter)
