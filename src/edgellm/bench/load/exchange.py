"""One request and its answer, from bytes with times to the record that a result keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgellm.bench.load.client import REJECTIONS, Client, Raw, refusal
from edgellm.bench.load.stream import Answer, read_answer
from edgellm.records.bench import RequestRecord

Message = dict[str, str]


@dataclass
class Exchange:
    """One request and its answer; times on `perf_counter`."""

    scheduled_s: float
    raw: Raw
    conversation: int
    turn: int
    prompt_characters: int
    answer: Answer | None = None

    @property
    def status(self) -> Literal["ok", "failed", "rejected"]:
        if self.raw.status in REJECTIONS and not self.raw.error:
            return "rejected"
        return "ok" if self.answer is not None and not self.answer.error and not self.raw.error else "failed"

    @property
    def error(self) -> str:
        raw = self.raw
        if raw.error:
            return raw.error
        if raw.status != 200:
            return refusal(raw.status, b"".join(data for _, data in raw.reads))
        return self.answer.error if self.answer is not None else ""


async def read_exchange(exchange: Exchange) -> None:
    """Read what came; its bytes are let go."""
    raw = exchange.raw
    if raw.status == 200:
        exchange.answer, raw.reads = await read_answer(raw.reads), []


class Asker:
    """Puts chat requests to one model."""

    def __init__(self, client: Client, model: str, ignore_eos: bool = False) -> None:
        self._client, self.model = client, model
        self._settings: dict[str, Any] = {
            "model": model, "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        if ignore_eos:  # only then: servers differ in whether they know it
            self._settings["ignore_eos"] = True

    async def send(
        self, messages: Sequence[Message], output_tokens: int, scheduled_s: float, conversation: int = 0, turn: int = 0
    ) -> Exchange:
        """The whole exchange, its bytes not read yet."""
        body = self._settings | {"messages": messages, "max_tokens": output_tokens}
        raw = await self._client.ask(json.dumps(body, ensure_ascii=False).encode())
        characters = sum(len(message["content"]) for message in messages)
        return Exchange(scheduled_s, raw, conversation, turn, characters)


def record_of(exchange: Exchange, start: float) -> RequestRecord:
    """Times since the start, to the microsecond."""

    def since(time_s: float) -> float:
        return round(time_s - start, 6)

    raw, answer, status = exchange.raw, exchange.answer, exchange.status
    events = tuple(since(time_s) for time_s in answer.event_s) if answer is not None else ()
    end_s = answer.end_s if answer is not None and answer.end_s is not None else raw.end_s
    return RequestRecord(
        scheduled_s=since(exchange.scheduled_s), sent_s=since(raw.sent_s), first_s=events[0] if events else None,
        end_s=since(end_s), event_s=events, status=status, error="" if status == "ok" else exchange.error,
        prompt_tokens=answer.prompt_tokens if answer else None,
        output_tokens=answer.output_tokens if answer else None,
        output_characters=len(answer.text) + len(answer.reasoning) if answer else 0,
        prompt_characters=exchange.prompt_characters, conversation=exchange.conversation, turn=exchange.turn,
    )  # fmt: skip
