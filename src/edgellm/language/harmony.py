"""A model's answer as it comes: reasoning, content and tool calls, told apart on token ids.

gpt-oss speaks Harmony, LLM-jp-4 a dialect of it. A message is a header, `<|message|>` and a body:

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>
    <|start|>assistant<|channel|>commentary to=functions.NAME<|constrain|>json<|message|>{…}<|call|>
    <|start|>assistant to=functions.NAME<|channel|>commentary json<|message|>{…}<|call|>

LLM-jp-4 ends each of several calls but the last with `<|end|>`. The prompt ends with `<|start|>assistant`, so an
answer starts inside a header. Parsing text would not do: a detokenizer may put a space after each special token,
and a model may write a special token's name as text.
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
HeaderPart = Literal["role", "channel", "type", "body"]  # of a message
Reading = Literal["mark", "header", "content", "reasoning", "call"]
MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
ROLES = ("assistant", "user", "system", "developer", "tool")
NOBODY = (*ROLES, "all", "")  # recipients that are no tools
HEADER_CHARACTERS = 256  # a header longer than this is a body whose `<|message|>` is missing
RECIPIENT = re.compile(r"(?:^|\s)to=(\S*)")
CHANNEL = re.compile(r"\s*(?P<name>[a-z]+)?(?:\s+to=\S*)?(?:\s+(?:json|code|text)\b)?\s*")
CONTENT_TYPE = re.compile(r"\s*[a-z]*\s*")
BEGUN = re.compile(r"to?|j(?:so?)?|c(?:od?)?|tex?")  # of a word in a header, which the end of the stream cut


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

    @property
    def reading(self) -> Reading:
        """What the last token was part of, even where it gave no event yet (half a character)."""
        ...

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

    @property
    def reading(self) -> Reading:
        return "mark" if self._over else "content"

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
    """For Harmony and its dialects. Pieces that a model leaves out cost no text:

    text without a header is content; an unknown channel is content; a header without `<|message|>` gives what
    follows its channel as body; a channel mark inside a body begins a new message. A message whose header
    names another speaker than the assistant ends the answer, for the model has begun to play somebody else.
    How the text is cut into tokens makes no difference.
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
        self._is_special = tokenizer.is_special
        self._at_mark = False  # whether the last token was special

    @property
    def reading(self) -> Reading:
        if self._at_mark or self._sink is None:
            return "mark" if self._at_mark else "header"
        return "reasoning" if self._sink is Reasoning else "content" if self._sink is Content else "call"

    def feed(self, token: int) -> list[Event]:
        if self._over:
            return []
        self._at_mark = self._is_special(token)
        events = self._take(self._text.feed(token))
        if token in self._stops:
            events += self._end("stop")
        elif token in (self._start, self._close):
            events += self._unmarked_body()
            self._sink, self._header = None, Header(started=token == self._start)
        elif token == self._channel:
            events += self._open_channel()
        elif token == self._constrain and self._sink is None:
            events += self._enter("type")
        elif token == self._message and self._sink is None:
            events += self._enter("body")
        return events

    def finish(self) -> list[Event]:
        if self._over:
            return []
        return self._take(self._text.finish()) + self._end("length")

    def _take(self, text: str) -> list[Event]:
        if self._sink is not None:
            return [self._sink(text)] if text else []
        for at, character in enumerate(text):
            self._header.add(character)
            if self._header.is_body():
                return self._open_body(self._header.surplus() + text[at + 1 :])
        return []

    def _open_channel(self) -> list[Event]:
        events = self._unmarked_body() if self._header.part != "role" else []
        if self._sink is not None:
            self._sink, self._header = None, Header()
        return events + self._enter("channel")

    def _enter(self, part: HeaderPart) -> list[Event]:
        """A mark inside the header: `part` of it begins, or its body."""
        if self._header.is_foreign():
            return self._ended("stop")
        events = _content(self._header.stray())
        self._header.enter(part)
        return events + self._open_body("") if part == "body" else events

    def _open_body(self, text: str) -> list[Event]:
        """The header is complete; `text` is the part of the body that came in with it."""
        name, events = self._header.recipient(), list[Event]()
        if name is not None:
            index = self._calls
            self._calls += 1
            events.append(ToolCall(index, name))
            self._sink = lambda piece: ToolArguments(index, piece)
        else:
            self._sink = Reasoning if self._header.channel_name() == "analysis" else Content
        return [*events, self._sink(text)] if text else events

    def _unmarked_body(self) -> list[Event]:
        """The body inside a header that ends without `<|message|>`."""
        surplus = self._header.surplus() if self._sink is None else ""
        return self._open_body(surplus) if surplus else []

    def _end(self, reason: FinishReason) -> list[Event]:
        cut = reason == "length" and self._header.is_cut()
        return ([] if cut else self._unmarked_body()) + self._ended(reason)

    def _ended(self, reason: FinishReason) -> list[Event]:
        self._over = True
        return [Ended("tool_calls" if reason == "stop" and self._calls else reason)]


class Header:
    """What stands before `<|message|>`: speaker, channel, content type, or none of them.

    `started` says that it follows `<|start|>`; words that do not are a header only if a mark follows them, or if
    the stream was cut there.
    """

    def __init__(self, started: bool = False) -> None:
        self.part: HeaderPart = "role"
        self._started = started
        self._text: dict[HeaderPart, str] = {"role": "", "channel": "", "type": ""}

    def add(self, character: str) -> None:
        self._text[self.part] += character

    def enter(self, part: HeaderPart) -> None:
        self.part = part
        self._text[part] = ""

    def stray(self) -> str:
        """Text in front of a mark that names no speaker; it is taken out of the header."""
        if self.part != "role" or all(map(_is_header_word, self._words())):
            return ""
        text, self._text["role"] = self._text["role"], ""
        return text

    def recipient(self) -> str | None:
        """The tool that the message is for; it may be named beside the role or beside the channel."""
        if self._is_plain():
            return None
        found = RECIPIENT.search(f"{self._text['role']} {self._text['channel']}")
        name = found[1].removeprefix("functions.") if found else ""
        return None if name in NOBODY else name

    def channel_name(self) -> str:
        found = CHANNEL.match(self._text["channel"])
        return (found["name"] or "") if found else ""

    def is_foreign(self) -> bool:
        """Whether somebody else than the assistant speaks."""
        words = self._words()
        speaks = bool(words) and (words[0] in ROLES[1:] or words[0].startswith("functions."))
        return speaks and all(map(_is_header_word, words))

    def is_body(self) -> bool:
        """Whether the text so far can be no header: it says what headers never say, or does not end."""
        if sum(map(len, self._text.values())) > HEADER_CHARACTERS:
            return True
        if self.part == "role":
            return not all(map(_may_become_header_word, self._words()))
        return not self.surplus().isascii()

    def is_cut(self) -> bool:
        """Whether what was read so far could have gone on as a header."""
        return self.part == "role" or BEGUN.fullmatch(self.surplus()) is not None

    def surplus(self) -> str:
        """The text that is left when everything is taken away that belongs in a header."""
        if self.part == "role":
            return self._text["role"] if self._is_plain() else ""
        rest = CHANNEL.sub("", self._text["channel"], count=1)
        return rest + CONTENT_TYPE.sub("", self._text["type"], count=1)

    def _is_plain(self) -> bool:
        """Whether it is no header at all but text."""
        header = self._started and all(map(_is_header_word, self._words()))
        return self.part == "role" and not header

    def _words(self) -> list[str]:
        return self._text["role"].split()


def _content(text: str) -> list[Event]:
    return [Content(text)] if text else []


def _is_header_word(word: str) -> bool:
    return word in ROLES or word.startswith(("to=", "functions."))


def _may_become_header_word(word: str) -> bool:
    return _is_header_word(word) or any(w.startswith(word) for w in (*ROLES, "to=", "functions."))
