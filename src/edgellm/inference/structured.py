"""Structured output: from `response_format`, `tools` and `tool_choice` of a request to one grammar for its answer.

A grammar covers every id that the model writes, with reasoning, headers and marks. With Harmony's vocabulary the model
reasons freely; then the body of the final message, or the arguments of a call, must be what the request says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from edgellm.errors import UsageError
from edgellm.inference.constraint import CALL, Constraint
from edgellm.inference.json_schema import LONGEST, as_grammar
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.harmony import is_harmony
from edgellm.language.tokenizer import Tokenizer
from edgellm.language.tool_dialect import CLOSE, OPEN, tool_dialect

NAME = re.compile(r"[\w.-]{1,64}")
NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
# A grammar forces no token: what spells a word that must come is the model's choice.
PREAMBLE = '%llguidance {"no_forcing": true}'
MOST_NOTES = 4  # messages before the answer; a model that went on reasoning for ever would never come to it
MOST_TOOLS = 128  # OpenAI's own limit
LONGEST_GRAMMAR = 2 * LONGEST  # characters, with the schemas of all tools
# Text of any kind holds no special token, for their names are no text to a grammar.
WORDS = [r"TEXT: /(.|\n)*/", 'SPACE: " "', r"BLANK: /[ \n]/"]


@dataclass(frozen=True)
class Offer:
    """What tools a request lets the model call."""

    functions: Mapping[str, Any]  # name → schema of the arguments, as a grammar
    required: bool
    parallel: bool


def constraint_for(
    tokenizer: Tokenizer,
    template: ChatTemplate | None,
    response_format: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: object = None,
    *,
    parallel_tool_calls: bool = True,
) -> Constraint | None:
    """The grammar of an answer; None where the request leaves it free. `template` is None for a text that goes on.

    Raises UsageError, naming the field, for what cannot be enforced.
    """
    named = count(1)
    body = _body(response_format, named)
    offered = offered_tools(tools, tool_choice)
    if not offered and body is None:
        return None
    offer = _offer(offered, tool_choice, parallel_tool_calls, named) if offered else None
    if offer is not None and template is None:
        raise UsageError("tools cannot be given to this model: it has no chat template; send the request without them")
    if offer is not None and template is not None:
        tool_dialect(template, tokenizer)
    if template is not None and is_harmony(tokenizer):
        rules = _harmony(tokenizer, body, offer)
    else:
        rules = _plain(tokenizer, body) if offer is None else _tagged(tokenizer, body, offer)
    grammar = "\n".join([PREAMBLE, *rules, *WORDS, ""])
    _check(grammar, "tools" if body is None else "response_format")
    return Constraint(grammar)


def offered_tools(tools: Sequence[Mapping[str, Any]], tool_choice: object = None) -> list[dict[str, Any]]:
    """What a chat template gets as `tools`: with what templates ask for filled in, and none where `tool_choice` says
    "none". Raises UsageError, naming the field, for a tool that is no function with a name."""
    if not tools and tool_choice not in (None, "none", "auto"):
        raise UsageError("tool_choice asks for a call, and tools offers none; give tools")
    if len(tools) > MOST_TOOLS:
        raise UsageError(f"tools offers {len(tools)} functions, more than {MOST_TOOLS}; offer fewer")
    found: dict[str, dict[str, Any]] = {}
    for number, tool in enumerate(tools):
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, Mapping):
            raise UsageError(f"tools[{number}].type is {tool.get('type')!r}; only functions can be offered")
        name = function.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UsageError(f"tools[{number}].function.name is {name!r}; use up to 64 letters, digits, '_' or '-'")
        if name in found:
            raise UsageError(f"tools[{number}].function.name is {name!r}, as that of a tool before it; rename one")
        parameters = function.get("parameters") or NO_PARAMETERS
        described = {**function, "description": function.get("description") or "", "parameters": parameters}
        found[name] = {**tool, "function": described}
    return [] if tool_choice == "none" else list(found.values())


def _body(response_format: Mapping[str, Any] | None, named: Iterator[int]) -> str | None:
    """The grammar of the final text; None where it is free."""
    kind = "text" if response_format is None else response_format.get("type")
    if kind == "text" or response_format is None:
        return None
    if kind == "json_object":
        return as_grammar({"type": "object"}, "response_format", named)
    described = response_format.get("json_schema")
    if kind != "json_schema" or not isinstance(described, Mapping):
        raise UsageError(
            f"response_format.type is {kind!r}; use text, json_object, or json_schema with json_schema.schema"
        )
    if "schema" not in described:
        raise UsageError("response_format.json_schema.schema is missing; send the schema that answers must follow")
    return as_grammar(described["schema"], "response_format.json_schema.schema", named)


def _offer(tools: Sequence[Mapping[str, Any]], choice: object, parallel: bool, named: Iterator[int]) -> Offer:
    """Raises UsageError for a choice that there is not, and for arguments that cannot be held to their schema."""
    functions = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    places = {name: f"tools[{number}].function.parameters" for number, name in enumerate(functions)}
    if isinstance(choice, Mapping):
        chosen = choice.get("function")
        name = chosen.get("name") if isinstance(chosen, Mapping) else None
        if choice.get("type") != "function" or name not in functions:
            raise UsageError(f"tool_choice names the function {name!r}, which tools does not hold; name one of them")
        functions, parallel = {name: functions[name]}, False
    elif choice not in (None, "auto", "required"):
        raise UsageError(f"tool_choice is {choice!r}; use none, auto, required or a function of tools")
    grammars = {name: as_grammar(schema, places[name], named) for name, schema in functions.items()}
    return Offer(grammars, choice not in (None, "auto"), parallel)


def _space(tokenizer: Tokenizer) -> str:
    """The dummy space with which SentencePiece begins a stretch of text, and which its reader takes off."""
    return "" if tokenizer.prefix == "none" else "SPACE? "


def _plain(tokenizer: Tokenizer, body: str | None) -> list[str]:
    return [f"start: {_space(tokenizer)}body", f"body: {body}"]


def _tagged(tokenizer: Tokenizer, body: str | None, offer: Offer) -> list[str]:
    """Calls between tags; before the first there may be text, unless the request says otherwise."""
    open_id, close_id = tokenizer.special_ids.get(OPEN), tokenizer.special_ids.get(CLOSE)
    opened = _word(OPEN) if open_id is None else f"<[{open_id}]>"
    closed = _word(CLOSE) if close_id is None else f"<[{close_id}]>"
    rules = [f"again: BLANK? {opened} call", f"call: {_any_of(offer.functions)}"]
    for n, (name, grammar) in enumerate(offer.functions.items()):
        head = rf"/\s?\{{\s?\"name\": ?/ {_word(json.dumps(name, ensure_ascii=False))} /,\s?\"arguments\": ?/"
        rules += [f"call_{n}: {head} arguments_{n} /\\s?\\}}\\s?/ {closed}", f"arguments_{n}: {grammar}"]
    calls = "call again*" if offer.parallel else "call"
    first = f"{_space(tokenizer)}{opened} {calls}"
    if offer.required:
        return [f"start: {first}", *rules]
    if body is not None:
        return [f"start: {first} | {_space(tokenizer)}body", f"body: {body}", *rules]
    if open_id is not None:
        return [f"start: TEXT | TEXT {opened} {calls}", *rules]
    # The lexeme ends at the first tag; a text without calls is one that holds no tag.
    free = rf"FREE: /(.|\n)*/ & ~/(.|\n)*{OPEN}(.|\n)*/"
    return [f"start: FREE | opening {calls}", rf"opening[lazy]: /(.|\n)*{OPEN}/", free, *rules]


def _harmony(tokenizer: Tokenizer, body: str | None, offer: Offer | None) -> list[str]:
    """Messages with their headers; an answer begins inside the header of its first one.

    Spaces where this one has optional ones are the dummy spaces of SentencePiece, and gpt-oss's before a mark.
    """
    ids = tokenizer.special_ids
    channel, message, close, start = (f"<[{ids[f'<|{n}|>']}]>" for n in ("channel", "message", "end", "start"))
    notes = f"note{{0,{MOST_NOTES}}}"
    kind = f" (<[{ids['<|constrain|>']}]> JSON)?" if "<|constrain|>" in ids else ""
    rules = [
        f"again: {close} {start} ASSISTANT", r"ASSISTANT: / ?assistant/", "JSON: / ?json/",
        f"note: {channel} NOTE {message} TEXT again",
        f"answer: {channel} FINAL{kind} {message} " + ("TEXT" if body is None else f"{_space(tokenizer)}body"),
        r"FINAL: / ?final( json)? ?/", *([] if body is None else [f"body: {body}"]),
    ]  # fmt: skip
    if offer is None:
        return [f"start: {notes} answer", "NOTE: / ?analysis ?/", *rules]
    call_end = f"<[{ids[CALL]}]>" if CALL in ids else close
    calls = f"calls: call (again call)* {call_end}" if offer.parallel else f"calls: call {call_end}"
    # What a model tells the reader before it calls a tool goes to the channel commentary.
    begin = f"start: {notes} " + ("calls" if offer.required else "(calls | answer)")
    rules = [begin, r"NOTE: / ?(analysis|commentary) ?/", *rules, calls, f"call: {_any_of(offer.functions)}"]
    for n, (name, grammar) in enumerate(offer.functions.items()):
        to = _word(f"to=functions.{name}")
        rules += [
            f"call_{n}: ({channel} FOR_{n} | BY_{n} {channel} COMMENTARY){kind} {message} "
            f"{_space(tokenizer)}arguments_{n}",
            f"FOR_{n}: / ?commentary / {to} / ?(json)? ?/", f"BY_{n}: / ?/ {to} / ?/", f"arguments_{n}: {grammar}",
        ]  # fmt: skip
    return [*rules, r"COMMENTARY: / ?commentary( json)? ?/"]


def _any_of(functions: Mapping[str, Any]) -> str:
    return " | ".join(f"call_{n}" for n in range(len(functions)))


def _word(text: str) -> str:
    """A text as a grammar writes it."""
    return json.dumps(text, ensure_ascii=False)


def _check(grammar: str, field: str) -> None:
    """Raises UsageError, naming the field, if the grammar does not compile."""
    from llguidance import LLMatcher, LLParserLimits

    if len(grammar) > LONGEST_GRAMMAR:
        raise UsageError(f"{field} makes a grammar of more than {LONGEST_GRAMMAR:,} characters; send smaller schemas")
    limits = LLParserLimits(verbose_errors=False)
    failed, reasons = LLMatcher.validate_grammar_with_warnings(grammar, limits=limits)
    if failed:
        reason = reasons[0].split("\n")[0].removeprefix("at ").partition("JSON schema: ")
        raise UsageError(f"{field} cannot be enforced ({reason[2] or reason[0]}); send a simpler schema")
