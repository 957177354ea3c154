from __future__ import annotations

import pytest

from edgellm.errors import BadInput
from edgellm.evals.checkers import check, check_all


def counts(what: str, answer: str) -> int:
    """By trying which count is accepted."""
    return next(n for n in range(100) if check({"kind": "count", "what": what, "min": n, "max": n}, answer).score)


@pytest.mark.parametrize(
    ("what", "answer", "count"),
    [
        ("characters", "あいう えお\n**か**", 6),
        ("characters", "か\u3099", 1),  # written with a mark of its own
        ("lines", "a\n\nb\n", 2),
        ("bullets", "- a\n* b\n・c\n1. d\n① e\nf", 5),
        ("sentences", "今日は晴れ。「本当？」と聞いた。", 2),
        ("sentences", "# 題\n一つ目。\n二つ目", 2),
    ],
)
def test_counted_as_a_reader_does(what: str, answer: str, count: int) -> None:
    assert counts(what, answer) == count


def test_one_end_may_be_open() -> None:
    assert check({"kind": "count", "what": "characters", "max": 3}, "あいう").score == 1
    assert check({"kind": "count", "what": "characters", "min": 4}, "あいう").score == 0


@pytest.mark.parametrize("spec", [{"what": "words", "max": 1}, {"what": "lines"}, {"what": "lines", "max": "3"}])
def test_a_count_that_cannot_be_made_is_an_error(spec: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        check({"kind": "count"} | spec, "a")


def test_several_checks_give_their_mean_and_every_reason() -> None:
    specs = [{"kind": "count", "what": "characters", "max": n} for n in (1, 2, 3, 4)]
    found = check_all(specs, "あいう")
    assert found.score == 0.5
    assert found.reason.count("characters") == 2


def test_no_check_is_no_score() -> None:
    assert (check_all([], "a").score, check_all([], "a").status) == (None, "unscored")
