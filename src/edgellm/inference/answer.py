"""From the ids of one answer to its deltas: parser, stop strings, counts and the reason why it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edgellm.inference.chat import Delta, FinishReason, Usage
from edgellm.inference.generation import Request
from edgellm.inference.stop_strings import StopStrings
from edgellm.language.harmony import Content, Ended, Event, Reasoning, ReplyParser
from edgellm.language.stream import StreamingDetokenizer
from edgellm.language.tokenizer import Tokenizer

# Tokens of a prompt that decide how the text after it is spelled: a character may have begun in the last
# three, and the one before them says whether a dummy space is due.
CONTEXT_IDS = 4


class AnswerReader:
    """Takes the ids of one answer in order. Once `stopped` is true the generation may be cancelled.

    Stop strings are looked for in the content, not in the reasoning. A token counts as generated when it was
    taken here, so what the engine drew after a stop string is not charged.
    """

    def __init__(self, make_parser: Callable[[], ReplyParser], request: Request, stop: Sequence[str]) -> None:
        self.stopped = False
        self._make_parser = make_parser
        self._parser = make_parser()
        self._request = request
        self._stops = StopStrings(stop)
        self._taken = 0

    def take(self, token: int) -> list[Delta]:
        """The deltas that this id completes; often none."""
        if self.stopped:
            return []
        self._taken += 1
        return self._deltas(self._parser.feed(token))

    def finish(self, reason: FinishReason) -> list[Delta]:
        """The last deltas, now that no id follows; the very last carries the reason and the usage."""
        if self.stopped:
            reason = "stop"
        deltas = [] if self.stopped else self._deltas(self._parser.finish())
        if tail := self._stops.flush():
            deltas.append(Delta(content=tail))
        if self._stops.hit:
            reason = "stop"
        usage = Usage(len(self._request.ids), self._taken)
        return [*deltas, Delta(finish_reason=reason, usage=usage)]

    def _deltas(self, events: Iterable[Event]) -> list[Delta]:
        deltas: list[Delta] = []
        for event in events:
            if isinstance(event, Reasoning) and event.text:
                deltas.append(Delta(reasoning=event.text))
            elif isinstance(event, Content) and (shown := self._stops.feed(event.text)):
                deltas.append(Delta(content=shown))
            elif isinstance(event, Ended):
                self._end_of_reply()
            if self._stops.hit:
                self.stopped = True
                break
        # Tool calls are left out: no request offers tools, so nobody would answer one.
        return deltas

    def _end_of_reply(self) -> None:
        if self._request.ignore_eos:
            self._parser = self._make_parser()  # what follows is read as one more answer
        else:
            self.stopped = True


class Continuation:
    """A ReplyParser for text that goes on from a prompt: all is content, special tokens are no text."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._stops = tokenizer.stop_ids
        self._text = StreamingDetokenizer(tokenizer)
        for token in prompt[-CONTEXT_IDS:]:
            self._text.feed(token)

    def feed(self, token: int) -> list[Event]:
        text = self._text.feed(token)
        content: list[Event] = [Content(text)] if text else []
        return [*content, Ended("stop")] if token in self._stops else content

    def finish(self) -> list[Event]:
        text = self._text.finish()
        return [Content(text), Ended("length")] if text else [Ended("length")]
