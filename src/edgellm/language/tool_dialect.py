"""How a model calls tools, read from what its own chat template writes for a call; and the reader of tagged calls.

Two conventions are known. Harmony's calls are messages of their own (`language/harmony.py`). In the other one, which
Qwen and Hermes speak, a call is JSON between tags in the text:

    <tool_call>
    {"name": "NAME", "arguments": {…}}
    </tool_call>
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from edgellm.errors import UsageError
from edgellm.language.harmony import Content, Ended, Event, FinishReason, Reading, ToolArguments, ToolCall, is_harmony
from edgellm.language.stream import StreamingDetokenizer

if TYPE_CHECKING:
    from edgellm.language.chat_template import ChatTemplate
    from edgellm.language.tokenizer import Tokenizer

ToolDialect = Literal["harmony", "tags"]
OPEN, CLOSE = "<tool_call>", "</tool_call>"
PROBE = "probe_of_tools"
PROBE_TOOL = {
    "type": "function",
    "function": {"name": PROBE, "description": "", "parameters": {"type": "object", "properties": {}}},
}
PROBE_TALK: list[Mapping[str, Any]] = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": "", "tool_calls": [
        {"id": "call_0", "type": "function", "function": {"name": PROBE, "arguments": {}}}]},
    {"role": "tool", "content": "1", "tool_call_id": "call_0", "name": PROBE},
]  # fmt: skip
WRITTEN: Mapping[ToolDialect, re.Pattern[str]] = {
    "harmony": re.compile(rf"to=functions\.{PROBE}\b"),
    "tags": re.compile(rf'{OPEN}\s*\{{"name":\s*"{PROBE}",\s*"arguments":\s*\{{\}}\}}\s*{CLOSE}'),
}
HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"arguments"\s*:\s*')


def tool_dialect(template: ChatTemplate, tokenizer: Tokenizer) -> ToolDialect:
    """How the model calls tools. Raises UsageError if its template offers none or calls them in no known way."""
    try:
        parts = template.parts(PROBE_TALK, tokenizer.specials, tools=[PROBE_TOOL])
    except UsageError as error:
        raise UsageError(f"tools cannot be given to this model: {error}") from None
    prompt = "".join(part.text for part in parts)
    dialect: ToolDialect = "harmony" if is_harmony(tokenizer) else "tags"
    if prompt.count(PROBE) < 2 or not WRITTEN[dialect].search(prompt):
        raise UsageError(
            "tools cannot be given to this model: its chat template does not know them, or calls them in a way that "
            "edgellm does not read; send the request without tools"
        )
    return dialect


def turns_for_template(messages: Sequence[Mapping[str, Any]], template: ChatTemplate) -> list[Mapping[str, Any]]:
    """Messages as templates take them: arguments of calls as objects, and where a template writes only the first call
    of a message, each further one as a message of its own, followed by its result.

    Raises UsageError, naming the place, for arguments that are no JSON object.
    """
    turns = [_with_objects(message, f"messages[{n}]") for n, message in enumerate(messages)]
    if "tool_calls[0]" not in template.text or "in message.tool_calls" in template.text:
        return turns
    results = {turn["tool_call_id"]: turn for turn in turns if turn.get("role") == "tool" and "tool_call_id" in turn}
    several = {call.get("id") for turn in turns if len(calls := turn.get("tool_calls") or ()) > 1 for call in calls}
    out: list[Mapping[str, Any]] = []
    for turn in turns:
        calls = turn.get("tool_calls") or ()
        if len(calls) < 2:
            if turn.get("tool_call_id") not in several:
                out.append(turn)
            continue
        for number, call in enumerate(calls):
            out.append({**turn, "tool_calls": [call], "content": "" if number else turn.get("content", "")})
            out += [results[call["id"]]] if call.get("id") in results else []
    return out


def _with_objects(message: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The message with the arguments of its calls, which the API writes as JSON text, as objects."""
    calls = []
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except ValueError:
                arguments = None
        if not isinstance(arguments, Mapping):
            raise UsageError(f"{field}.tool_calls[{number}].function.arguments is no JSON object; send the call's own")
        calls.append({**call, "function": {**function, "arguments": arguments}})
    return {**message, "tool_calls": calls} if calls else message


class TaggedParser:
    """A ReplyParser for answers whose calls stand between tags; all other text is content.

    The tags may be tokens or be spelled in pieces. What stands between them and is no call is content, tags and all.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._marks = {i: name for name, i in tokenizer.special_ids.items() if name in (OPEN, CLOSE)}
        self._text = StreamingDetokenizer(tokenizer)
        self._held = ""  # text that may begin a tag, or a call whose head is not complete
        self._scan: _JsonEnd | None = None  # of the arguments that are being read
        self._inside = False  # a call: after its tag
        self._calls = 0
        self._over = False

    @property
    def reading(self) -> Reading:
        return "call" if self._inside else "content"

    def feed(self, token: int) -> list[Event]:
        if self._over:
            return []
        text = self._text.feed(token) + self._marks.get(token, "")
        events = self._take(text)
        return events + self._end("stop") if token in self._tokenizer.stop_ids else events

    def finish(self) -> list[Event]:
        return [] if self._over else self._take(self._text.finish()) + self._end("length")

    def _take(self, text: str) -> list[Event]:
        self._held += text
        events: list[Event] = []
        before = None
        while before != (before := (self._held, self._inside, self._scan)):
            events += self._arguments() if self._scan else self._head() if self._inside else self._content()
        return events

    def _content(self) -> list[Event]:
        text, tag, rest = self._held.partition(OPEN)
        if tag:
            self._inside, self._held = True, rest
            return [Content(text)] if text.strip() else []
        keep = next((n for n in range(len(OPEN) - 1, 0, -1) if text.endswith(OPEN[:n])), 0)
        # Line ends between a text and its first call, or between calls, belong to the calls.
        shown = text[: len(text) - keep].rstrip()
        self._held = text[len(shown) :]
        return [Content(shown)] if shown else []

    def _head(self) -> list[Event]:
        if not (head := HEAD.match(self._held)):
            text, tag, rest = self._held.partition(CLOSE)
            if not tag:
                return []
            self._inside, self._held = False, rest
            return [Content(f"{OPEN}{text}{CLOSE}")]
        self._held, self._scan = self._held[head.end() :], _JsonEnd()
        self._calls += 1
        return [ToolCall(self._calls - 1, head[1])]

    def _arguments(self) -> list[Event]:
        assert self._scan is not None
        if self._scan.over:
            _, tag, rest = self._held.partition(CLOSE)
            if tag:
                self._scan, self._inside, self._held = None, False, rest
            return []
        size = self._scan.size_of(self._held)
        text, self._held = self._held[:size], self._held[size:]
        return [ToolArguments(self._calls - 1, text)] if text else []

    def _end(self, reason: FinishReason) -> list[Event]:
        self._over = True
        rest = f"{OPEN}{self._held}" if self._inside and self._scan is None else self._held
        shown = [] if self._scan or not rest.strip() else [Content(rest)]
        return [*shown, Ended("tool_calls" if reason == "stop" and self._calls else reason)]


class _JsonEnd:
    """Finds where a JSON object ends, as its text comes."""

    def __init__(self) -> None:
        self.over = False
        self._depth = 0
        self._quoted = self._escaped = False

    def size_of(self, text: str) -> int:
        """How many characters of `text` belong to the object."""
        for at, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = character == "\\"
                self._quoted = character != '"'
            elif character == '"':
                self._quoted = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    self.over = True
                    return at + 1
        return len(text)
