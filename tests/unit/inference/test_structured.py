"""Constrained answers: random models against the schemas that they were given, and what is refused before."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.chat import Delta, SamplingOptions
from edgellm.inference.constraint import Constraint, GrammarMatcher, matchers_of
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.structured import constraint_for, offered_tools
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from edgellm.language.tool_dialect import CLOSE, OPEN
from fake_runtime import FakeRuntime
from tiny_checkpoints import TINY_JA

# A template that writes calls as LLM-jp-4's and gpt-oss's do.
HARMONY = ChatTemplate(
    "{{ bos_token }}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}"
    "<|start|>{{ m.role }}{% for c in m.tool_calls or [] %} to=functions.{{ c.function.name }}<|channel|>commentary "
    "json<|message|>{{ c.function.arguments | tojson }}<|call|>{% else %}<|message|>{{ m.content }}<|end|>{% endfor %}"
    "{% endfor %}<|start|>assistant"
)
# And one that writes them as Qwen's and Hermes's do.
TAGS = ChatTemplate(
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.role }}: {{ m.content }}"
    '{% for c in m.tool_calls or [] %}<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
    "{{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}{% endfor %}"
)
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "名前": {"type": "string", "minLength": 1, "maxLength": 8},
        "都道府県": {"enum": ["東京都", "北海道", "京都府\n", '引用"符']},
        "年齢": {"type": "integer", "minimum": 0, "maximum": 130},
        "電話": {"type": "string", "pattern": "^0[0-9]{2}-[0-9]{4}$"},
        "家族": {"type": "array", "items": {"$ref": "#/$defs/続柄"}, "maxItems": 3},
        "生年月日": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
    },
    "required": ["名前", "都道府県", "年齢", "電話", "家族", "生年月日"],
    "additionalProperties": False,
    "$defs": {"続柄": {"enum": ["父", "母"]}},
}
# The reference implementation takes no Japanese in a $ref, as the standard has it; requests hold it nevertheless.
ORACLE = {"$defs": {"続柄": PERSON["$defs"]["続柄"]}, "properties": {
    **PERSON["properties"], "家族": {"type": "array", "items": {"enum": ["父", "母"]}, "maxItems": 3}}}  # fmt: skip
OTHERS: list[dict[str, Any]] = [
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"const": "甲"}], "items": False, "minItems": 2},
    {"type": "object", "patternProperties": {"^第[0-9]条$": {"type": "boolean"}}, "additionalProperties": False,
     "maxProperties": 2},
    {"oneOf": [{"type": "string", "maxLength": 4}, {"type": "integer", "multipleOf": 7, "maximum": 700, "minimum": 0}]},
    {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 9}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    """The same vocabulary without channels: with other names for Harmony's marks."""
    found = load_tokenizer(TINY_JA)
    found.special_ids = {name.replace("message", "said"): i for name, i in found.special_ids.items()}
    return found


@pytest.fixture(scope="module")
def make(tokenizer: Tokenizer) -> Callable[[Constraint], GrammarMatcher]:
    return matchers_of(tokenizer)


@pytest.fixture(scope="module")
def scheduler(tokenizer: Tokenizer) -> Iterator[Scheduler]:
    """A model without any sense: every token is equally strange to it."""
    runtime = FakeRuntime(tokenizer.vocab_tokens, context_tokens=1024)
    with Scheduler(runtime, matchers=matchers_of(tokenizer)) as opened:
        yield opened


def format_of(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "答え", "strict": True, "schema": schema}}


def tool(name: str, parameters: Any = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def choose(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


TOWN = {"type": "object", "properties": {"町": {"type": "string", "maxLength": 5}}, "required": ["町"],
        "additionalProperties": False}  # fmt: skip
TOOLS = [tool("weather", TOWN), tool("now")]


def answer(
    scheduler: Scheduler, tokenizer: Tokenizer, constraint: Constraint | None, seed: int,
    *, tools: bool = False, bias: dict[int, float] | None = None, max_tokens: int = 900,
) -> tuple[list[int], list[Delta]]:  # fmt: skip
    chat = LocalChat(scheduler, tokenizer, HARMONY)
    sampling = SamplingOptions(temperature=1.0, top_p=1.0, seed=seed, logit_bias=bias or {})
    request = chat.request([1, seed + 20], sampling, max_tokens, constraint=constraint)
    reader, ids, deltas = chat.reader(request, [], tools=tools), [], []
    generation = scheduler.submit(request)
    for token in generation:
        ids.append(token)
        deltas += reader.take(token)
    return ids, deltas + reader.finish("length" if generation.finish_reason == "length" else "stop")


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.content for delta in deltas)


def calls_of(deltas: list[Delta]) -> list[tuple[str, Any]]:
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for piece in (piece for delta in deltas for piece in delta.tools):
        names[piece.index] = names.get(piece.index, "") + piece.name
        arguments[piece.index] = arguments.get(piece.index, "") + piece.arguments
    return [(names[n], json.loads(arguments[n])) for n in names]


def follows(make: Callable[[Constraint], GrammarMatcher], constraint: Constraint | None, ids: list[int]) -> bool:
    """Whether all ids are allowed, the last one being the end; checked with the mask as well."""
    assert constraint is not None
    matcher = make(constraint)
    for token in ids:
        logits = np.zeros(token + 1, np.float32)
        matcher.mask(logits)
        assert matcher.allows(token) == (logits[token] == 0)
        if not matcher.allows(token):
            return False
        matcher.take(token)
    return True


def spelled(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids as they follow the prompt's `<|start|>assistant`."""
    return tokenizer.encode_parts([Part(f"<|start|>assistant{text}", True)])[2:]


def test_random_answers_are_what_the_schema_says(plain: Tokenizer, scheduler: Scheduler) -> None:
    jsonschema = pytest.importorskip("jsonschema_rs")
    for schema in (PERSON, *OTHERS):
        constraint = constraint_for(plain, None, format_of(schema))
        for seed in range(6):
            ids, deltas = answer(scheduler, plain, constraint, seed)
            value = json.loads(text_of(deltas))
            written = {**schema, **ORACLE} if schema is PERSON else schema
            assert jsonschema.is_valid(written, value, validate_formats=True), value
            assert deltas[-1].finish_reason == "stop"
            assert [i for i in ids if plain.is_special(i)] == ids[-1:]


def test_japanese_is_written_as_itself(plain: Tokenizer, make: Callable[[Constraint], GrammarMatcher]) -> None:
    constraint = constraint_for(plain, None, format_of({"type": "object", "properties": {"名": {"type": "string"}}}))
    end = [plain.special_ids["<|return|>"]]
    assert follows(make, constraint, plain.encode('{"名": "山田\\n「太郎」"}') + end)
    for refused in ('{"\\u540d":"山', '{"名":"\\u5c71', '{"名":"山\n', '{"名":"山\\/', '{"名":"\t'):
        assert not follows(make, constraint, plain.encode(refused))


def test_an_answer_under_a_harmony_vocabulary_reasons_and_then_follows_the_schema(
    tokenizer: Tokenizer, scheduler: Scheduler
) -> None:
    constraint = constraint_for(tokenizer, HARMONY, format_of(PERSON))
    marks = {tokenizer.special_ids["<|end|>"]: 6.0, tokenizer.special_ids["<|message|>"]: 6.0}
    reasoned = 0
    for seed in range(6):
        _, deltas = answer(scheduler, tokenizer, constraint, seed, bias=marks)
        reasoned += any(delta.reasoning for delta in deltas)
        assert deltas[-1].usage is not None
        assert (deltas[-1].usage.reasoning_tokens > 0) == any(delta.reasoning for delta in deltas)
        if deltas[-1].finish_reason == "stop":  # it may have reasoned to the end
            assert set(json.loads(text_of(deltas))) == set(PERSON["properties"])
    assert reasoned


def test_a_required_call_has_an_offered_name_and_arguments_of_its_schema(
    tokenizer: Tokenizer, scheduler: Scheduler
) -> None:
    constraint = constraint_for(tokenizer, HARMONY, None, TOOLS, "required", parallel_tool_calls=False)
    marks = {tokenizer.special_ids["<|end|>"]: 6.0, tokenizer.special_ids["<|message|>"]: 6.0}
    ended = 0
    for seed in range(6):
        _, deltas = answer(scheduler, tokenizer, constraint, seed, tools=True, bias=marks)
        if deltas[-1].finish_reason != "tool_calls":
            continue
        ended += 1
        ((name, arguments),) = calls_of(deltas)
        assert list(arguments) == {"weather": ["町"], "now": []}[name]
    assert ended


def test_a_model_that_would_reason_for_ever_comes_to_its_answer(
    tokenizer: Tokenizer, make: Callable[[Constraint], GrammarMatcher]
) -> None:
    constraint = constraint_for(tokenizer, HARMONY, format_of(PERSON))
    assert constraint is not None
    matcher, ids = make(constraint), tokenizer.special_ids
    again = [ids["<|end|>"], ids["<|start|>"], *tokenizer.encode("assistant")]
    note = [ids["<|channel|>"], *tokenizer.encode("analysis"), ids["<|message|>"], *tokenizer.encode("寒い。"), *again]
    for token in note * 4:
        matcher.take(token)
    matcher.take(note[0])
    assert not matcher.allows(note[1])
    assert matcher.allows(tokenizer.encode("final")[0])


def test_choices_of_one_grammar_do_not_disturb_each_other(
    tokenizer: Tokenizer, make: Callable[[Constraint], GrammarMatcher]
) -> None:
    constraint = constraint_for(tokenizer, None, format_of({"enum": ["ab", "cd"]}))
    assert constraint is not None
    quote = tokenizer.encode('\n"')[len(tokenizer.encode("\n")) :]
    one, other = make(constraint), make(constraint)
    for token in quote:
        one.take(token)
    assert not one.allows(quote[0])
    assert other.allows(quote[0])


def test_an_answer_that_does_not_fit_ends_with_length(plain: Tokenizer, scheduler: Scheduler) -> None:
    long = {"type": "string", "minLength": 400}
    _, deltas = answer(scheduler, plain, constraint_for(plain, None, format_of(long)), 1, max_tokens=8)
    assert deltas[-1].finish_reason == "length"


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("<|channel|>analysis<|message|>知る。<|end|><|start|>assistant<|channel|>final<|message|>はい<|return|>",
         "auto"),
        ('<|channel|>commentary to=functions.weather<|constrain|>json<|message|>{"町":"京"}<|call|>',
         "auto required named"),
        (' to=functions.weather<|channel|>commentary json<|message|>{"町": "京"}<|call|>', "auto required named"),
        ("<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>", "auto required"),
        ("<|channel|>commentary to=functions.now<|message|>{}<|end|><|start|>assistant"
         "<|channel|>commentary to=functions.now<|message|>{}<|call|>", "auto"),
        ("<|channel|>commentary<|message|>調べる<|end|><|start|>assistant to=functions.now<|channel|>commentary "
         "json<|message|>{}<|call|>", "auto required"),
        ("<|channel|>commentary to=functions.other<|message|>{}<|call|>", ""),
        ('<|channel|>commentary to=functions.weather<|message|>{"村":"京"}<|call|>', ""),
        ("はい<|return|>", ""),
    ],
)  # fmt: skip
def test_harmony_calls_are_held_to_what_is_offered(
    tokenizer: Tokenizer, make: Callable[[Constraint], GrammarMatcher], text: str, allowed: str
) -> None:
    choices: dict[str, Any] = {"auto": "auto", "required": "required", "named": choose("weather")}
    for name, choice in choices.items():
        constraint = constraint_for(tokenizer, HARMONY, None, TOOLS, choice, parallel_tool_calls=name == "auto")
        assert follows(make, constraint, spelled(tokenizer, text)) == (name in allowed.split())


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("はい <tool>", "auto"),
        ('調べる。\n<tool_call>\n{"name": "weather", "arguments": {"町": "京"}}\n</tool_call>', "auto"),
        ('<tool_call>\n{"name": "weather", "arguments": {"町": "京"}}\n</tool_call>', "auto required named"),
        ('<tool_call>{"name": "now", "arguments": {}}</tool_call>\n<tool_call>\n{"name": "now", "arguments": {}}\n'
         "</tool_call>", "auto required"),
        ('<tool_call>\n{"name": "other"', ""),
    ],
)  # fmt: skip
def test_tagged_calls_are_held_to_what_is_offered(plain: Tokenizer, text: str, allowed: str) -> None:
    make, end = matchers_of(plain), [plain.special_ids["<|return|>"]]
    choices: dict[str, Any] = {"auto": "auto", "required": "required", "named": choose("weather")}
    for name, choice in choices.items():
        constraint = constraint_for(plain, TAGS, None, TOOLS, choice)
        assert follows(make, constraint, plain.encode(text) + end) == (name in allowed.split())


def test_tagged_calls_are_read(plain: Tokenizer, scheduler: Scheduler) -> None:
    text = (
        f'調べ<tool>る。\n{OPEN}\n{{"name": "weather", "arguments": {{"町": "{CLOSE}}}\\""}}}}\n{CLOSE}\n'
        f'{OPEN}{{"name": "now", "arguments": {{}}}}{CLOSE}'
    )
    chat = LocalChat(scheduler, plain, TAGS)
    reader = chat.reader(chat.request([1], SamplingOptions(), None), [], tools=True)
    end = plain.special_ids["<|return|>"]
    deltas = [d for token in [*plain.encode(text), end] for d in reader.take(token)] + reader.finish("stop")
    assert text_of(deltas) == "調べ<tool>る。"
    assert calls_of(deltas) == [("weather", {"町": CLOSE + '}"'}), ("now", {})]
    assert deltas[-1].finish_reason == "tool_calls"
    ids = [piece.id for delta in deltas for piece in delta.tools if piece.name]
    assert len(set(ids)) == 2
    assert all(each.startswith("call_") for each in ids)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "array", "uniqueItems": True}, "schema.uniqueItems"),
        ({"type": "object", "properties": {"年": {"not": {"const": 3}}}}, "schema.properties.年.not"),
        ({"type": "object", "propertys": {}}, "schema.propertys"),
        ({"type": "object", "if": {}, "then": {}}, "schema.if"),
        ({"anyOf": [{"type": "object", "dependentRequired": {}}]}, r"schema.anyOf\[0\].dependentRequired"),
        ({"type": "string", "contentEncoding": "base64"}, "schema.contentEncoding"),
        ({"type": "object", "x-guidance": {"lenient": True}}, "schema.x-guidance"),
        ({"const": "a\x01"}, "schema.const holds a control character"),
        ({"enum": ["a", "\ud800"]}, "schema.enum holds a control character"),
        ({"const": 12345678901234567890123}, "schema.const holds a number"),
        ({"type": "string", "format": "banana"}, "Unknown format"),
        ({"type": "string", "pattern": "^(?!a)"}, "cannot be enforced"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"$ref": "https://example.com/schema.json"}, "cannot be enforced"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
        ("object", "no JSON Schema"),
        ({"properties": {f"k{n}": {} for n in range(4000)}}, "3,000 parts"),
        ({"required": [f"k{n}" for n in range(4000)]}, "required has 4,000 names"),
        ({"patternProperties": {f"^k{n}$": {} for n in range(200)}}, "patternProperties has 200 patterns"),
        ({"enum": ["値" * 1000] * 1000}, "characters"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused_by_name(tokenizer: Tokenizer, schema: Any, place: str) -> None:
    with pytest.raises(UsageError, match=place) as refusal:
        constraint_for(tokenizer, None, format_of(schema))
    assert str(refusal.value).startswith("response_format")


def test_a_schema_that_nests_without_end_is_refused(tokenizer: Tokenizer) -> None:
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UsageError, match="nests deeper"):
        constraint_for(tokenizer, None, format_of(schema))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"response_format": {"type": "xml"}}, r"response_format\.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"tools": TOOLS, "tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": choose("a")}, "tool_choice"),
        ({"tools": [tool(f"t{n}", {"properties": {f"k{k}": {} for k in range(999)}}) for n in range(9)]}, "tools"),
        ({"tools": [tool(f"t{n}") for n in range(200)]}, "tools"),
        ({"tools": TOOLS, "tool_choice": choose("other")}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, r"tools\[0\]\.type"),
        ({"tools": [tool("a b")]}, r"tools\[0\]\.function\.name"),
        ({"tools": [tool("a"), tool("a")]}, r"tools\[1\]\.function\.name"),
        ({"tools": [tool("a", {"not": {}})]}, r"tools\[0\]\.function\.parameters\.not"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_field(
    tokenizer: Tokenizer, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError, match=f"^{field}"):
        constraint_for(tokenizer, HARMONY, **arguments)


@pytest.mark.parametrize("template", [ChatTemplate("{{ messages[0].content }}"), ChatTemplate.load(TINY_JA), None])
def test_tools_are_refused_where_the_template_knows_none(tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
    with pytest.raises(UsageError, match=r"^tools"):
        constraint_for(tokenizer, template, None, TOOLS)


def test_no_constraint_where_nothing_is_asked(tokenizer: Tokenizer) -> None:
    assert constraint_for(tokenizer, HARMONY, {"type": "text"}, TOOLS, "none") is None
    assert offered_tools(TOOLS, "none") == []
    assert offered_tools(TOOLS)[1]["function"]["description"] == ""


def test_a_constraint_can_be_sent_to_another_process(tokenizer: Tokenizer) -> None:
    constraint = constraint_for(tokenizer, HARMONY, format_of(PERSON), TOOLS)
    assert pickle.loads(pickle.dumps(constraint)) == constraint


def test_a_matcher_that_is_broken_ends_the_answer(make: Callable[[Constraint], GrammarMatcher]) -> None:
    with pytest.raises(EngineFailed, match="cannot go on"):
        make(Constraint("start: nonsense("))
    matcher = make(Constraint('start: "a"'))
    with pytest.raises(EngineFailed, match="too early"):
        matcher.take(2)
    with pytest.raises(EngineFailed, match="cannot go on"):
        matcher.take(3)


def test_llm_jp_s_own_template_calls_tools(shared: Path) -> None:
    folder = shared / "data" / "llm-jp-4-tokenizer"
    tokenizer, template = load_tokenizer(folder), ChatTemplate.load(folder)
    constraint = constraint_for(tokenizer, template, None, TOOLS, "required")
    make = matchers_of(tokenizer)
    call = '<|channel|>commentary to=functions.weather<|constrain|>json<|message|>{"町": "京都"}<|call|>'
    assert follows(make, constraint, spelled(tokenizer, call))
    assert not follows(make, constraint, spelled(tokenizer, "<|channel|>final<|message|>はい<|return|>"))
