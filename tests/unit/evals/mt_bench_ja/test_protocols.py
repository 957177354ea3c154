"""What protocols say, and how they read a score out of a judgment."""

from __future__ import annotations

import json

import pytest

from edgellm.cli.eval_aggregate import PROTOCOLS as OFFERED
from edgellm.errors import UsageError
from edgellm.evals.mt_bench_ja.protocols import PROTOCOLS, protocol_named


def test_the_command_line_offers_every_protocol() -> None:
    assert set(OFFERED) == set(PROTOCOLS)


@pytest.mark.parametrize(
    ("name", "writing", "stem", "math"),
    [
        ("fastchat-jp", 0.5, 0.2, 0.1), ("llm-jp-judge", 0.7, 0.1, 0.0), ("swallow", 0.7, 0.1, 0.0),
        ("swallow-instruct", 0.7, 0.1, 0.0), ("nejumi", 0.7, 0.1, 0.0), ("edgellm", 0.7, 0.1, 0.0),
    ],
)  # fmt: skip
def test_temperatures_by_category(name: str, writing: float, stem: float, math: float) -> None:
    protocol = protocol_named(name)
    assert [protocol.temperature(category) for category in ("writing", "stem", "math")] == [writing, stem, math]


def test_stabilitys_settings() -> None:
    own = protocol_named("fastchat-jp")
    assert (own.max_tokens, own.top_p, own.repetition_penalty, own.turns, own.repeats) == (512, 0.9, 1.1, 1, 1)


def test_swallows_older_settings() -> None:
    own = protocol_named("swallow")
    assert (own.max_tokens, own.repeats, own.seed, own.scale) == (1024, 5, 14, 1.0)


@pytest.mark.parametrize("name", ["fastchat-jp", "swallow", "swallow-instruct"])
@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Rating: [[7]]", 7), ("[[7.5]] and [[3]]", 7.5), ("[8] then [[6]]", 6), ("Rating: [4]", 4), ("[[10.]]", 10),
        ("7/10", None), ("[[seven]]", None), ("$ERROR$", None), ("［［7］］", None),
    ],
)  # fmt: skip
def test_fastchat_reads_double_then_single_brackets(name: str, text: str, score: float | None) -> None:
    assert protocol_named(name).read(text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [("[[10]]", 10), ("[[7]] [[3]]", 7), ("[7]", None), ("[[0]]", None), ("[[11]]", None), ("[[7.5]]", None)],
)
def test_llm_jp_judge_reads_whole_numbers_from_1_to_10_without_a_second_chance(text: str, score: float | None) -> None:
    assert protocol_named("llm-jp-judge").read(text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [("[[5]]ではなく [[8]]", 8), ("［［８］］", 8), ("[[ 9 ]]", 9), ("[[0]]", None), ("[8]", None)],
)
def test_ours_takes_the_last_score_and_reads_full_width(text: str, score: float | None) -> None:
    assert protocol_named("edgellm").read(text) == score


@pytest.mark.parametrize(("rating", "score"), [("[[0]]", 0), ("[[10]]", 10), ("[[11]]", None), (7, 7), (11, None)])
def test_nejumi_reads_ratings_from_0_to_10_out_of_a_schema(rating: object, score: float | None) -> None:
    text = json.dumps({"explanation": "x", "rating": rating})
    assert protocol_named("nejumi").read_structured(text) == score


@pytest.mark.parametrize("text", ["", "[[7]]", "[]", '{"rating": null}', '{"rating": true}', '{"rating": 7.5}'])
def test_what_does_not_follow_the_schema_is_a_failure(text: str) -> None:
    assert protocol_named("edgellm").read_structured(text) is None


def test_quirks_are_refused_where_there_are_none() -> None:
    with pytest.raises(UsageError, match="swallow-instruct"):
        protocol_named("nejumi", quirks=True)


def test_an_unknown_protocol_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="edgellm, fastchat-jp"):
        protocol_named("fastchat")


def test_facts_change_with_what_decides_a_score() -> None:
    assert protocol_named("edgellm").facts() != protocol_named("edgellm", repeats=2).facts()


def test_facts_are_what_json_holds() -> None:
    for protocol in PROTOCOLS.values():
        json.dumps(protocol.facts())
