"""Server-sent events of a chat completion, from bytes with the times at which they arrived."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Reads = Sequence[tuple[float, bytes]]  # when bytes arrived, and the bytes: cut anywhere, several events in one or none
DONE = b"[DONE]"
SLICE_EVENTS = 32  # read between two looks at the network
SHOWN = 120  # characters of what a server sent that an error message shows


@dataclass
class Answer:
    """What a stream amounts to. Times are those of the reads; `error` says why it is no whole answer."""

    event_s: list[float] = field(default_factory=list)  # each event with text
    end_s: float | None = None  # `[DONE]`
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    error: str = ""

    def take(self, time_s: float, data: bytes) -> None:
        """One event's data."""
        if data == DONE:
            self.end_s = time_s
            return
        try:
            event = json.loads(data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self.fail(f"an event that is no JSON object: {shown(data)}")
        elif event.get("error"):
            self.fail(f"an error in the stream: {message_of(event['error'])}")
        else:
            try:
                self._take_chunk(time_s, event)
            except (TypeError, AttributeError, KeyError, ValueError):
                self.fail(f"an event that is no chunk of a chat completion: {shown(data)}")

    def _take_chunk(self, time_s: float, chunk: dict[str, Any]) -> None:
        if usage := chunk.get("usage"):
            self.prompt_tokens = int(usage["prompt_tokens"])
            self.output_tokens = int(usage["completion_tokens"])
        for choice in (chunk.get("choices") or [])[:1]:
            delta = choice.get("delta") or {}
            content = delta.get("content") or ""
            reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""
            if content or reasoning:
                self.event_s.append(time_s)
                self.text += content
                self.reasoning += reasoning
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def fail(self, why: str) -> None:
        self.error = self.error or why

    def close(self) -> None:
        """The stream has ended."""
        if self.finish_reason is None:
            self.fail("the stream ended before the answer was complete")
        if not self.event_s:
            self.fail("the answer has no text")


def data_lines(reads: Reads) -> Iterator[tuple[float, bytes]]:
    """The data of each event, with the time of the read that its line ended in.

    Lines are cut at line feeds alone: U+2028 and U+0085 may stand in JSON, and their bytes hold no line feed.
    """
    rest: list[bytes] = []
    for time_s, data in reads:
        *lines, last = data.split(b"\n")
        for line in lines:
            if rest:
                line, rest = b"".join([*rest, line]), []
            if line.startswith(b"data:"):
                yield time_s, line[len(b"data:") :].strip()
        if last:
            rest.append(last)
    if rest and (line := b"".join(rest)).startswith(b"data:"):  # the last line may lack its end
        yield reads[-1][0], line[len(b"data:") :].strip()


async def read_answer(reads: Reads) -> Answer:
    """What a whole stream says; in slices, so that a long one does not hold up the times of others."""
    answer = Answer()
    for number, (time_s, data) in enumerate(data_lines(reads), start=1):
        answer.take(time_s, data)
        if number % SLICE_EVENTS == 0:
            await asyncio.sleep(0)
    answer.close()
    return answer


def message_of(error: object) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)[:SHOWN]


def shown(data: bytes) -> str:
    return repr(data.decode("utf-8", "replace")[:SHOWN])
