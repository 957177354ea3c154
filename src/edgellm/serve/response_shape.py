"""How `/v1/responses` words an answer: items of reasoning, text and calls, whole or as they come about."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgellm.inference.chat import Delta, SamplingOptions, ToolPiece, Usage
from edgellm.language.tokenizer import Tokenizer
from edgellm.records.openai import response as shape
from edgellm.records.openai.chat import ContentLogprob
from edgellm.records.openai.responses import ResponsesRequest
from edgellm.serve.collected import Collected, total
from edgellm.serve.frames import Frames, named_event
from edgellm.serve.logprob_shapes import content_logprobs
from edgellm.serve.problems import Problem
from edgellm.serve.stream import Batch


@dataclass
class Item:
    """A part of the output as far as it has come; `kind` says which."""

    kind: str  # "reasoning", "message" or "function_call"
    id: str
    index: int
    call_id: str = ""
    name: str = ""
    text: list[str] = field(default_factory=list)
    logprobs: list[ContentLogprob] = field(default_factory=list)


class ResponseShape:
    """One response. The stream's events are numbered, so it is used for one stream or for one whole answer."""

    def __init__(
        self, model: str, created: int, tokenizer: Tokenizer, body: ResponsesRequest, sampling: SamplingOptions
    ) -> None:  # fmt: skip
        self._model = model
        self._created = created
        self._tokenizer = tokenizer
        self._body = body
        self._sampling = sampling
        self._id = f"resp_{secrets.token_hex(16)}"
        self._items: list[Item] = []
        self._number = 0
        self._frames = Frames(self._text_event)

    def whole(self, answers: Sequence[Collected]) -> shape.Response:
        (answer,) = answers
        if answer.reasoning:
            self._add("reasoning").text = answer.thoughts
        if answer.content or not answer.calls:
            item = self._add("message")
            item.text = answer.pieces
            for piece, tokens in zip(answer.pieces, answer.logprobs, strict=True):
                item.logprobs += content_logprobs(self._tokenizer, piece, tokens)
        for call in answer.calls:
            self._add("function_call", call.id, call.name).text = [call.arguments]
        return self._ended(answers)

    def opening(self) -> bytes:
        begun = self._response("in_progress", None)
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def events(self, batch: Batch) -> bytes:
        return b"".join(self._delta(delta) for _, delta in batch)

    def closing(self, answers: Sequence[Collected]) -> bytes:
        end = self._close_item()
        ended = self._ended(answers)
        return end + self._event(f"response.{ended.status}", response=ended)

    def failure(self, problem: Problem) -> bytes:
        detail = problem.body.error
        error = shape.ResponseError(code=detail.code or "server_error", message=detail.message)
        return self._event("response.failed", response=self._response("failed", None, error))

    def _delta(self, delta: Delta) -> bytes:
        out = b""
        if delta.reasoning:
            out += self._open_item("reasoning") + self._text("reasoning", delta.reasoning)
        if delta.content:
            out += self._open_item("message")
            logprobs = content_logprobs(self._tokenizer, delta.content, delta.logprobs)
            self._items[-1].logprobs += logprobs
            out += self._text("message", delta.content, logprobs)
        for piece in delta.tools:
            if piece.name:
                out += self._open_call(piece)
            if piece.arguments:
                out += self._text("function_call", piece.arguments)
        return out

    def _text(self, kind: str, text: str, logprobs: list[ContentLogprob] | None = None) -> bytes:
        """The event of a piece of text of the item that is open."""
        item = self._items[-1]
        item.text.append(text)
        if logprobs:
            return self._event(
                "response.output_text.delta", item_id=item.id, output_index=item.index, content_index=0, delta=text,
                logprobs=logprobs,
            )  # fmt: skip
        number, self._number = self._number, self._number + 1
        return f'{self._frames.event((kind, item.index, 0), text)},"sequence_number":{number}}}\n\n'.encode()

    def _text_event(self, kind: tuple[str, int, int], text: str) -> bytes:
        """Up to its number, which is its last field."""
        item = self._items[kind[1]]
        name = {
            "reasoning": "response.reasoning_text.delta",
            "message": "response.output_text.delta",
            "function_call": "response.function_call_arguments.delta",
        }[kind[0]]
        record = shape.ResponseEvent(
            type=name,
            item_id=item.id,
            output_index=item.index,
            content_index=None if kind[0] == "function_call" else 0,
            logprobs=[] if kind[0] == "message" else None,
            delta=text,
            sequence_number=0,
        )
        return named_event(name, record).removesuffix(b',"sequence_number":0}\n\n')

    def _open_item(self, kind: str) -> bytes:
        """Begin an item of text, unless one of this kind is open."""
        if self._items and self._items[-1].kind == kind:
            return b""
        closed = self._close_item()
        item = self._add(kind)
        begun = self._event("response.output_item.added", output_index=item.index, item=self._item(item, "in_progress"))
        part = self._part(item, "")
        return closed + begun + self._event(
            "response.content_part.added", item_id=item.id, output_index=item.index, content_index=0, part=part
        )  # fmt: skip

    def _open_call(self, piece: ToolPiece) -> bytes:
        closed = self._close_item()
        item = self._add("function_call", piece.id, piece.name)
        return closed + self._event(
            "response.output_item.added", output_index=item.index, item=self._item(item, "in_progress")
        )  # fmt: skip

    def _close_item(self) -> bytes:
        if not self._items:
            return b""
        item = self._items[-1]
        text = "".join(item.text)
        where: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
        if item.kind == "function_call":
            out = self._event("response.function_call_arguments.done", **where, name=item.name, arguments=text)
        else:
            kind = "reasoning_text" if item.kind == "reasoning" else "output_text"
            logprobs = item.logprobs if item.kind == "message" else None
            out = self._event(f"response.{kind}.done", **where, content_index=0, text=text, logprobs=logprobs)
            out += self._event("response.content_part.done", **where, content_index=0, part=self._part(item, text))
        done = self._item(item, "completed")
        return out + self._event("response.output_item.done", output_index=item.index, item=done)

    def _event(self, type_: str, **fields: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return named_event(type_, shape.ResponseEvent(type=type_, sequence_number=number, **fields))

    def _add(self, kind: str, call_id: str = "", name: str = "") -> Item:
        prefix = {"reasoning": "rs", "message": "msg", "function_call": "fc"}[kind]
        item = Item(kind, f"{prefix}_{secrets.token_hex(12)}", len(self._items), call_id, name)
        self._items.append(item)
        return item

    def _item(self, item: Item, status: shape.Status) -> shape.OutputItem:
        text = "".join(item.text)
        if item.kind == "function_call":
            return shape.CallItem(id=item.id, call_id=item.call_id, name=item.name, arguments=text, status=status)
        if item.kind == "reasoning":
            thoughts = [shape.ReasoningText(text=text)] if text else []
            return shape.ReasoningItem(id=item.id, content=thoughts, status=status)
        parts = [shape.OutputText(text=text, logprobs=item.logprobs)] if text or status != "in_progress" else []
        return shape.MessageItem(id=item.id, content=parts, status=status)

    def _part(self, item: Item, text: str) -> shape.OutputText | shape.ReasoningText:
        if item.kind == "reasoning":
            return shape.ReasoningText(text=text)
        return shape.OutputText(text=text, logprobs=item.logprobs)

    def _ended(self, answers: Sequence[Collected]) -> shape.Response:
        cut = any(answer.finish_reason == "length" for answer in answers)
        return self._response("incomplete" if cut else "completed", total(answers))

    def _response(
        self, status: shape.Status, usage: Usage | None, error: shape.ResponseError | None = None
    ) -> shape.Response:  # fmt: skip
        body = self._body
        last: shape.Status = "incomplete" if status == "incomplete" else "completed"
        items = [self._item(item, last if item is self._items[-1] else "completed") for item in self._items]
        return shape.Response(
            id=self._id,
            created_at=self._created,
            status=status,
            model=self._model,
            output=items,
            usage=response_usage(usage) if usage is not None else None,
            error=error,
            incomplete_details=shape.IncompleteDetails(reason="max_output_tokens") if status == "incomplete" else None,
            instructions=body.instructions,
            max_output_tokens=body.max_output_tokens,
            metadata=body.metadata,
            parallel_tool_calls=body.parallel_tool_calls,
            reasoning=shape.ReasoningOut(effort=body.reasoning.effort),
            temperature=self._sampling.temperature,
            text=shape.TextOut(format=body.text.format),
            tool_choice=body.tool_choice,
            tools=body.tools,
            top_p=self._sampling.top_p,
        )


def response_usage(usage: Usage) -> shape.ResponseUsage:
    return shape.ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=shape.InputDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=shape.OutputDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )
