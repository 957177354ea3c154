"""A model in this process answers, follows a schema, and tells how likely texts are; each with a real model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from edgellm.build.opening import open_target
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.evals.likelihoods import log_probabilities
from edgellm.evals.local_model import LocalModel
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.target import Target

GREEDY = SamplingOptions(temperature=0.0)
OPTIONS = RuntimeOptions(context_tokens=256, sequences=2, threads=1, batch_invariant=True)


@pytest.fixture(scope="module")
def target() -> Target:
    return open_target("tiny-ja")


@pytest.fixture(scope="module")
def model(target: Target) -> Iterator[LocalModel]:
    with LocalModel(target, OPTIONS) as opened:
        yield opened


def test_the_same_question_gets_the_same_answer_in_any_company(model: LocalModel) -> None:
    questions = ["富士山の高さは？", "好きな食べ物は？", "今日の天気は？"]
    alone = [model.reply([Message("user", q)], GREEDY, 12) for q in questions]
    with ThreadPoolExecutor(3) as workers:
        together = list(workers.map(lambda q: model.reply([Message("user", q)], GREEDY, 12), questions))
    assert [(r.content, r.reasoning) for r in alone] == [(r.content, r.reasoning) for r in together]
    assert all(r.completion_tokens and r.content + r.reasoning for r in alone)
    assert model.info is not None


def test_an_answer_follows_a_schema(model: LocalModel) -> None:
    schema = {
        "type": "object", "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["score"], "additionalProperties": False,
    }  # fmt: skip
    reply = model.structured_reply([Message("user", "点数は？")], SamplingOptions(temperature=1.0, seed=1), 128, schema)
    assert json.loads(reply.content)["score"] in range(10)


def test_likelihoods_are_those_of_one_pass_over_the_whole_text(model: LocalModel, target: Target) -> None:
    prompt, choices = "日本で一番高い山は、", ["富士山です。", "北岳です。"]
    found = model.likelihoods(prompt, choices)
    tokenizer = target.tokenizer()
    begin = [tokenizer.bos_id] if tokenizer.bos_id is not None and tokenizer.specials.adds_bos else []
    for choice, likelihood in zip(choices, found, strict=True):
        ids = begin + tokenizer.encode(prompt + choice)
        with closing(target.open_runtime(OPTIONS)) as runtime:
            (rows,) = runtime.step([Feed(0, ids, "all")])
            nats = log_probabilities(rows[:-1], ids[1:])[-likelihood.tokens :].sum()
        assert likelihood.nats == pytest.approx(nats, rel=1e-3)
        assert likelihood.utf8_bytes == len(choice.encode())
