"""What holding an answer to a JSON Schema costs: llguidance on the exact vocabulary against llama.cpp's own grammar.

    python benchmarks/constrained_decoding.py MODEL.gguf TOKENIZER_FOLDER [--repeat 5] 2>/dev/null

Both read the same schema and follow the same answer, whose tokens the exact tokenizer gives. Times are of one core;
medians over the tokens of the answer and the repetitions. Then: which schemas each takes, and whether it follows them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_grammar import json_schema_to_gbnf

from edgellm.errors import EdgellmError, UsageError
from edgellm.inference.constraint import matchers_of
from edgellm.inference.structured import constraint_for
from edgellm.language.tokenizer import Tokenizer, load_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "要約": {"type": "string", "maxLength": 60},
        "分類": {"enum": ["苦情", "質問", "要望"]},
        "件数": {"type": "integer"},
    },
    "required": ["要約", "分類", "件数"],
    "additionalProperties": False,
}
ANSWER = '{"要約":"窓口の混雑について、住民から改善を求める声があった。","分類":"要望","件数":12}'
# Name → schema, a value that it allows, one that it forbids.
CASES: dict[str, tuple[Any, str, str]] = {
    "Japanese enum": ({"enum": ["東京", "京都"]}, '"京都"', '"\\u4eac\\u90fd"'),
    "Japanese key": ({"type": "object", "properties": {"名": {"type": "null"}}, "required": ["名"],
                      "additionalProperties": False}, '{"名":null}', '{"\\u540d":null}'),
    "no raw line end in a string": ({"type": "string"}, '"a\\nb"', '"a\nb"'),
    "minimum, maximum": ({"type": "integer", "minimum": 3, "maximum": 12}, "12", "13"),
    "multipleOf": ({"type": "integer", "multipleOf": 7}, "14", "15"),
    "maxLength, in characters": ({"type": "string", "maxLength": 3}, '"東京都"', '"東京都庁"'),
    "maxLength 2000": ({"type": "string", "maxLength": 2000}, '"東"', '"' + "東" * 2001 + '"'),
    "pattern": ({"type": "string", "pattern": "^[0-9]{3}-[0-9]{4}$"}, '"100-0001"', '"100"'),
    "pattern without ^ and $": ({"type": "string", "pattern": "[0-9]町"}, '"1町目"', '"町"'),
    "format date": ({"type": "string", "format": "date"}, '"2026-11-21"', '"2026-13-21"'),
    "format email": ({"type": "string", "format": "email"}, '"a@b.jp"', '"a"'),
    "patternProperties": ({"type": "object", "patternProperties": {"^a$": {"type": "null"}},
                           "additionalProperties": False}, '{"a":null}', '{"b":null}'),
    "maxProperties": ({"type": "object", "maxProperties": 1}, '{"a":1}', '{"a":1,"b":2}'),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, "[1,2]", "[1,1]"),
    "contains": ({"type": "array", "contains": {"const": 1}}, "[1]", "[2]"),
    "not": ({"type": "integer", "not": {"const": 3}}, "4", "3"),
    "if, then": ({"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b"]}}, "{}", '{"a":1}'),
    "dependentRequired": ({"type": "object", "dependentRequired": {"a": ["b"]}}, "{}", '{"a":1}'),
    "allOf of numbers": ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 9}]}, "4", "2"),
    "oneOf, apart": ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "1", '"a"'),
    "oneOf, overlapping": ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "1.5", "1"),
    "$ref with a Japanese name": ({"$ref": "#/$defs/名", "$defs": {"名": {"const": "甲"}}}, '"甲"', '"乙"'),
    "a keyword misspelt": ({"type": "string", "maxlength": 1}, '"a"', '"ab"'),
}  # fmt: skip


class LlamaGrammar:
    """llama.cpp's grammar sampler, with the interface of a Matcher."""

    def __init__(self, vocabulary: Any, schema: Any) -> None:
        self._vocabulary = vocabulary
        text = json_schema_to_gbnf(json.dumps(schema)).encode()
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, text, b"root")
        if not self._sampler:
            raise UsageError("the grammar does not parse; use another schema")
        size = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self._all = (llama_cpp.llama_token_data * size)(*((i, 0.0, 0.0) for i in range(size)))
        self._one = (llama_cpp.llama_token_data * 1)()

    def allows(self, token: int) -> bool:
        self._one[0] = llama_cpp.llama_token_data(token, 0.0, 0.0)
        self._apply(self._one)
        return bool(self._one[0].logit == 0.0)

    def mask(self, _: Any) -> None:
        self._apply(self._all)

    def take(self, token: int) -> None:
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def ends(self) -> bool:
        return self.allows(llama_cpp.llama_vocab_eos(self._vocabulary))

    def _apply(self, tokens: Any) -> None:
        array = llama_cpp.llama_token_data_array(tokens, len(tokens), -1, False)
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))


def timed(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return (perf_counter() - begin) * 1e6


def measured(
    make: Callable[[], Any], ids: list[int], size: int, repeat: int, forget: Callable[[], object] = lambda: None
) -> Iterator[tuple[str, list[float]]]:
    """Microseconds of each kind of work; `forget` lets the next matcher be compiled anew."""
    compiling, checking, masking, taking = [], [], [], []
    for _ in range(repeat):
        forget()
        begin = perf_counter()
        matcher = make()
        compiling.append((perf_counter() - begin) * 1e6)
        for token in ids:
            logits = np.zeros(size, np.float32)
            checking.append(timed(lambda t=token, m=matcher: m.allows(t)))
            masking.append(timed(lambda m=matcher, row=logits: m.mask(row)))
            taking.append(timed(lambda t=token, m=matcher: m.take(t)))
    yield from (("compile", compiling), ("check one token", checking), ("mask all", masking), ("take", taking))


def verdict(make: Callable[[Any], Any], ends: Callable[[Any], bool], tokenizer: Tokenizer, case: Any) -> str:
    schema, good, bad = case

    def follows(text: str) -> bool:
        matcher = make(schema)
        for token in inside(tokenizer, text):
            if not matcher.allows(token):
                return False
            matcher.take(token)
        return ends(matcher)

    try:
        accepted, leaked = follows(good), follows(bad)
    except (EdgellmError, AssertionError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError):
        return "refused"
    return "ignored" if leaked else "followed" if accepted else "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(arguments.model).encode(), parameters)
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    tokenizer = load_tokenizer(arguments.tokenizer)
    stop = tokenizer.eos_id
    assert stop is not None

    def exact(schema: Any) -> Any:
        asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        constraint = constraint_for(tokenizer, None, asked)
        assert constraint is not None
        return matchers(constraint)

    begin = perf_counter()
    matchers = matchers_of(tokenizer)
    first = (perf_counter() - begin) * 1e6
    print(f"llguidance reads {tokenizer.vocab_tokens} tokens in {first / 1e6:.2f} s, once")
    print(f"{'us':16} {'llguidance':>22} {'llama.cpp':>22}   (median, largest)")
    asked = inside(tokenizer, ANSWER), tokenizer.vocab_tokens, arguments.repeat
    ours = measured(lambda: exact(SCHEMA), *asked, forget=lambda: exact({"type": "null"}))
    theirs = measured(lambda: LlamaGrammar(vocabulary, SCHEMA), *asked)
    for (name, a), (_, b) in zip(ours, theirs, strict=True):
        print(f"{name:16} {statistics.median(a):12.1f} {max(a):9.0f} {statistics.median(b):12.1f} {max(b):9.0f}")
    for name, case in CASES.items():
        own = verdict(exact, lambda m: m.allows(stop), tokenizer, case)
        other = verdict(lambda s: LlamaGrammar(vocabulary, s), LlamaGrammar.ends, tokenizer, case)
        print(f"{name:28} {own:>10} {other:>10}")
    llama_cpp.llama_model_free(model)


def inside(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text that does not begin a stretch: without SentencePiece's dummy space."""
    line = tokenizer.encode("\n")
    return tokenizer.encode("\n" + text)[len(line) :]


QUIET = llama_cpp.llama_log_callback(lambda level, text, data: None)

if __name__ == "__main__":
    main()
