"""From the ids of one answer to its deltas: parser, stop strings, counts and the reason why it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from secrets import token_hex

from edgellm.inference.chat import Delta, FinishReason, TokenLogprob, ToolPiece, Usage
from edgellm.inference.generation import Request, Timing
from edgellm.inference.stop_strings import StopStrings
from edgellm.language.harmony import (
    Content,
    Ended,
    Event,
    Reading,
    Reasoning,
    ReplyParser,
    ToolArguments,
    ToolCall,
)
from edgellm.language.stream import StreamingDetokenizer
from edgellm.language.tokenizer import Tokenizer

# Tokens of a prompt that decide how the text after it is spelled: a character may have begun in the last
# three, and the one before them says whether a dummy space is due.
CONTEXT_IDS = 4


class AnswerReader:
    """Takes the ids of one answer in order. Once `stopped` is true the generation may be cancelled.

    Stop strings are looked for in the content, not in the reasoning or in calls. A token counts as generated when it
    was taken here, so what the engine drew after a stop string is not charged.
    """

    def __init__(
        self, make_parser: Callable[[], ReplyParser], request: Request, stop: Sequence[str], *, tools: bool = False
    ) -> None:
        """`tools` says that the request offered some; without it calls are left out, for nobody would answer one."""
        self.stopped = False
        self._make_parser = make_parser
        self._parser = make_parser()
        self._request = request
        self._stops = StopStrings(stop)
        self._tools = tools
        self._called = False  # the answer ended with calls
        self._taken = self._reasoned = 0
        self._spelled = self._shown = 0  # characters of content that came out of the parser, and out of here
        self._unshown: deque[tuple[int, TokenLogprob]] = deque()  # where its text ends, for tokens of the content

    def take(self, item: int | TokenLogprob) -> list[Delta]:
        """The deltas that this token completes; often none."""
        if self.stopped:
            return []
        self._taken += 1
        events = self._parser.feed(item.token if isinstance(item, TokenLogprob) else item)
        self._spelled += sum(len(event.text) for event in events if isinstance(event, Content))
        reading = self._parser.reading
        self._reasoned += reading == "reasoning"
        if isinstance(item, TokenLogprob) and reading == "content":
            self._unshown.append((self._spelled, item))
        return self._deltas(events)

    def finish(self, reason: FinishReason, timing: Timing | None = None) -> list[Delta]:
        """The last deltas, now that no id follows; the very last carries the reason and the usage."""
        if self.stopped:
            reason = "stop"
        deltas = [] if self.stopped else self._deltas(self._parser.finish())
        if tail := self._stops.flush():
            deltas.append(self._content(tail))
        if self._stops.hit:
            reason = "stop"
        cached = timing.cached_tokens if timing else 0
        usage = Usage(len(self._request.ids), self._taken, cached, self._reasoned)
        return [*deltas, Delta(finish_reason="tool_calls" if self._called else reason, usage=usage)]

    def _deltas(self, events: Iterable[Event]) -> list[Delta]:
        deltas: list[Delta] = []
        for event in events:
            if isinstance(event, Reasoning) and event.text:
                deltas.append(Delta(reasoning=event.text))
            elif isinstance(event, Content) and (shown := self._stops.feed(event.text)):
                deltas.append(self._content(shown))
            elif isinstance(event, (ToolCall, ToolArguments)) and self._tools:
                deltas.append(Delta(tools=(_piece(event),)))
            elif isinstance(event, Ended):
                self._end_of_reply(event.reason)
            if self._stops.hit:
                self.stopped = True
                break
        return deltas

    def _content(self, text: str) -> Delta:
        """A piece of content with the tokens that it completes."""
        self._shown += len(text)
        logprobs = []
        while self._unshown and self._unshown[0][0] <= self._shown:
            logprobs.append(self._unshown.popleft()[1])
        return Delta(content=text, logprobs=tuple(logprobs))

    def _end_of_reply(self, reason: FinishReason) -> None:
        if self._request.ignore_eos:
            self._parser = self._make_parser()  # what follows is read as one more answer
        else:
            self.stopped = reason != "length"
            self._called = self._tools and reason == "tool_calls"


def _piece(event: ToolCall | ToolArguments) -> ToolPiece:
    if isinstance(event, ToolCall):
        return ToolPiece(event.index, id=f"call_{token_hex(12)}", name=event.name)
    return ToolPiece(event.index, arguments=event.text)


class Continuation:
    """A ReplyParser for text that goes on from a prompt: all is content, special tokens are no text."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._stops = tokenizer.stop_ids
        self._text = StreamingDetokenizer(tokenizer)
        self._is_special = tokenizer.is_special
        self._at_mark = False
        for token in prompt[-CONTEXT_IDS:]:
            self._text.feed(token)

    @property
    def reading(self) -> Reading:
        return "mark" if self._at_mark else "content"

    def feed(self, token: int) -> list[Event]:
        self._at_mark = self._is_special(token)
        text = self._text.feed(token)
        content: list[Event] = [Content(text)] if text else []
        return [*content, Ended("stop")] if token in self._stops else content

    def finish(self) -> list[Event]:
        text = self._text.finish()
        return [Content(text), Ended("length")] if text else [Ended("length")]
