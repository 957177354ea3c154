"""A model's answer as it comes: reasoning, content and tool calls, told apart on token ids.

LLM-jp-4 speaks a dialect of Harmony. A message is a header, `<|message|>` and a body:

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>
    <|start|>assistant<|channel|>commentary to=functions.NAME<|constrain|>json<|message|>{…}<|call|>

The prompt ends with `<|start|>assistant`, so an answer starts inside a header. Parsing text would not do: a
detokenizer may put a space after each special token, and a model may write a special token's name as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from edgellm.language.stream import StreamingDetokenizer

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

FinishReason = Literal["stop", "length", "tool_calls"]
MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
ROLES = ("assistant", "user", "system", "developer", "tool")
HEADER_PIECES = 64  # a header longer than this is a body whose `<|message|>` is missing
RECIPIENT = re.compile(r"\bto=(?:functions\.)?([^\s<]+)")
CHANNEL = re.compile(r"\s*(?P<name>[a-z]+)?(?:\s+to=\S+)?(?:\s+(?:json|code|text)\b)?\s*")
CONTENT_TYPE = re.compile(r"\s*(?:json|code|text)?\s*")


@dataclass(frozen=True)
class Reasoning:
    """What the model thinks, not meant for the reader."""

    text: str


@dataclass(frozen=True)
class Content:
    """What the model says."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A call begins; its arguments follow. `index` counts the calls of one answer from 0."""

    index: int
    name: str


@dataclass(frozen=True)
class ToolArguments:
    """A piece of the JSON text of a call's arguments."""

    index: int
    text: str


@dataclass(frozen=True)
class Ended:
    """The last event of every answer."""

    reason: FinishReason


Event = Reasoning | Content | ToolCall | ToolArguments | Ended


class ReplyParser(Protocol):
    """Token ids of one answer in, events out. After `Ended` further ids give nothing."""

    def feed(self, token: int) -> list[Event]: ...

    def finish(self) -> list[Event]:
        """The answer stopped without a stop token (its length is used up, or it was cancelled)."""
        ...


def is_harmony(tokenizer: Tokenizer) -> bool:
    """Whether the vocabulary has Harmony's marks as special tokens."""
    return all(name in tokenizer.special_ids for name in MARKS)


def parser_for(tokenizer: Tokenizer) -> ReplyParser:
    """A fresh parser of the dialect that the vocabulary is made for."""
    return HarmonyParser(tokenizer) if is_harmony(tokenizer) else PlainParser(tokenizer)


class PlainParser:
    """For models without channels: all text is content until a stop token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._stops = tokenizer.stop_ids
        self._text = StreamingDetokenizer(tokenizer)
        self._over = False

    def feed(self, token: int) -> list[Event]:
        if self._over:
            return []
        if token in self._stops:
            return self._end("stop")
        return _content(self._text.feed(token))

    def finish(self) -> list[Event]:
        return [] if self._over else self._end("length")

    def _end(self, reason: FinishReason) -> list[Event]:
        self._over = True
        return [*_content(self._text.finish()), Ended(reason)]


class HarmonyParser:
    """For the Harmony dialect. Pieces that a model leaves out cost no text:

    text without a header is content; an unknown channel is content; a header without `<|message|>` gives what
    follows its channel as body; a channel mark inside a body begins a new message. A message whose header
    names another speaker than the assistant ends the answer, for the model has begun to play somebody else.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = tokenizer.special_ids
        self._start, self._channel, self._message, self._close = (ids[n] for n in MARKS)
        self._constrain = ids.get("<|constrain|>")
        self._stops = tokenizer.stop_ids - {self._close}
        self._text = StreamingDetokenizer(tokenizer)
        self._header = Header()
        self._sink: Callable[[str], Event] | None = None  # what a body's text becomes; None inside a header
        self._calls = 0
        self._over = False

    def feed(self, token: int) -> list[Event]:
        if self._over:
            return []
        events = self._take(self._text.feed(token))
        if token in self._stops:
            return events + self._end("stop")
        if token == self._message:
            return events + (self._open_body("") if self._sink is None else [])
        if token == self._constrain:
            self._header.part = "type"
        elif token == self._channel:
            return events + self._open_channel()
        elif token in (self._start, self._close):
            events += self._unmarked_body()
            self._sink, self._header = None, Header()
        return events

    def finish(self) -> list[Event]:
        if self._over:
            return []
        return self._take(self._text.finish()) + self._end("length")

    def _take(self, text: str) -> list[Event]:
        if not text:
            return []
        if self._sink is not None:
            return [self._sink(text)]
        self._header.add(text)
        return self._open_body(self._header.surplus()) if self._header.is_body() else []

    def _open_channel(self) -> list[Event]:
        if self._sink is not None:
            self._sink, self._header = None, Header()
        if self._header.is_foreign():
            return self._end("stop")
        self._header.part = "channel"
        return []

    def _open_body(self, text: str) -> list[Event]:
        """The header is complete; `text` is the part of the body that came in with it."""
        header, events = self._header, list[Event]()
        if header.is_foreign():
            return self._end("stop")
        name = header.recipient()
        if name is not None:
            index = self._calls
            self._calls += 1
            events.append(ToolCall(index, name))
            self._sink = lambda piece: ToolArguments(index, piece)
        else:
            self._sink = Reasoning if header.channel_name() == "analysis" else Content
        return [*events, self._sink(text)] if text else events

    def _unmarked_body(self) -> list[Event]:
        """The body inside a header that ends without `<|message|>`."""
        surplus = self._header.surplus() if self._sink is None else ""
        return self._open_body(surplus) if surplus else []

    def _end(self, reason: FinishReason) -> list[Event]:
        events = self._unmarked_body() if not self._header.is_foreign() else []
        self._over = True
        return [*events, Ended("tool_calls" if reason == "stop" and self._calls else reason)]


class Header:
    """What stands between `<|start|>` and `<|message|>`: speaker, channel, content type, or none of them."""

    def __init__(self) -> None:
        self.part: Literal["role", "channel", "type"] = "role"
        self._text = {"role": "", "channel": "", "type": ""}
        self._pieces = 0

    def add(self, text: str) -> None:
        self._text[self.part] += text
        self._pieces += 1

    def recipient(self) -> str | None:
        """The tool that the message is for; it may be named beside the role or beside the channel."""
        found = RECIPIENT.search(f"{self._text['role']} {self._text['channel']}")
        return found[1] if found else None

    def channel_name(self) -> str:
        found = CHANNEL.match(self._text["channel"])
        return (found["name"] or "") if found else ""

    def is_foreign(self) -> bool:
        """Whether somebody else than the assistant speaks."""
        words = self._text["role"].split()
        return bool(words) and (words[0] in ROLES[1:] or words[0].startswith("functions."))

    def is_body(self) -> bool:
        """Whether the text so far can be no header: it says what headers never say, or does not end."""
        if self._pieces > HEADER_PIECES:
            return True
        if self.part == "role":
            return not all(_may_become_header_word(w) for w in self._text["role"].split())
        return not self.surplus().isascii()

    def surplus(self) -> str:
        """The text that is left when everything is taken away that belongs in a header."""
        if self.part == "role":
            words = self._text["role"].split()
            whole = all(w in ROLES or w.startswith(("to=", "functions.")) for w in words)
            return "" if whole else self._text["role"]
        rest = CHANNEL.sub("", self._text["channel"], count=1)
        return rest + CONTENT_TYPE.sub("", self._text["type"], count=1)


def _content(text: str) -> list[Event]:
    return [Content(text)] if text else []


def _may_become_header_word(word: str) -> bool:
    known = (*ROLES, "to=", "functions.")
    return any(w.startswith(word) for w in known) or word.startswith(("to=", "functions."))
