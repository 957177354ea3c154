"""From answers to scores: what is taken off an answer before it is looked at, and means with their intervals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgellm.records.evals import ItemRecord, Score

if TYPE_CHECKING:
    from edgellm.records.statistics import Interval

TAGS = "think|thinking"
THOUGHT = re.compile(rf"<({TAGS})>.*?</\1>", re.DOTALL)
# Templates of some models write the opening tag into the prompt, so that the answer holds the closing one alone.
BEGUN_IN_PROMPT = re.compile(rf"\A(?:(?!<(?:{TAGS})>).)*?</(?:{TAGS})>", re.DOTALL)
# An answer that was cut while the model was thinking. Within a line it is rather a text about such tags.
NEVER_ENDED = re.compile(rf"^[ \t]*<(?:{TAGS})>.*", re.DOTALL | re.MULTILINE)

LONGEST_REFUSAL = 300  # characters; who writes more than that has done at least some of the work
REFUSED_JA = re.compile(
    r"(?:お答え|お応え|回答|返答|お手伝い|お力添え|ご?協力|ご?対応|ご?提供|ご?案内)(?:する|を(?:する|差し上げる))?"
    r"(?:こと)?(?:は|が|には|を|も)?(?:でき(?:ません|かねます|ない)|いた(?:し|せ)(?:かねます|ません)|しかねます|控え|差し控え|お断り)"
)
REFUSED_EN = re.compile(
    r"\bI(?:'m|’m| am)? (?:sorry|afraid)?[,.]? ?(?:but )?(?:I )?(?:cannot|can't|can’t|can not|won't|won’t|"
    r"(?:am )?(?:not able|unable) to|must decline to) "
    r"(?:\w+ )?(?:assist|help|answer|comply|provide|fulfill|fulfil|respond|do that|engage|continue)",
    re.IGNORECASE,
)


def strip_thinking(text: str) -> tuple[str, int]:
    """(the answer without the model's thinking, characters taken off); see `split_thinking`."""
    answer, thought = split_thinking(text)
    return (answer, len(text) - len(answer)) if thought else (text, 0)


def split_thinking(text: str) -> tuple[str, str]:
    """(the answer without the model's thinking, the thinking with its tags).

    Thinking is `<think>…</think>`, what comes before a `</think>` that nothing opened, and what follows a `<think>` at
    the beginning of a line that nothing closes. A text without any comes back as it is.
    """
    thought: list[str] = []

    def take(found: re.Match[str]) -> str:
        thought.append(found[0])
        return ""

    answer = text
    for kind in (THOUGHT, BEGUN_IN_PROMPT, NEVER_ENDED):
        answer = kind.sub(take, answer)
    return (answer.strip(), "".join(thought)) if thought else (text, "")


def is_refusal(text: str) -> bool:
    """Whether a model declined to answer, in Japanese or English.

    Conservative: a short text that says so of the answer itself. Letters of apology that a task asks for, and answers
    that warn first and then help, are none.
    """
    said = text.strip()
    if not said or len(said) > LONGEST_REFUSAL:
        return False
    return bool(REFUSED_JA.search(said) or REFUSED_EN.search(said))


def mean_score(values: Sequence[float], groups: Sequence[str] | None = None) -> Score:
    """Mean of the values with a 95 % percentile bootstrap that resamples items.

    `groups` names the item of each value, so that turns and repeats of one item are drawn together: they resemble each
    other, and as independent values they would make the interval too narrow. Raises ValueError without a value.
    """
    import numpy as np

    from edgellm.measures.statistics import ratio_interval

    if not values:
        raise ValueError("no value to take the mean of")
    names = list(range(len(values))) if groups is None else list(groups)
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    totals, counts = np.zeros(len(places)), np.zeros(len(places))
    for name, value in zip(names, values, strict=True):
        totals[places[name]] += value
        counts[places[name]] += 1
    return as_score(ratio_interval(totals, counts))


def by_category(records: Iterable[ItemRecord]) -> dict[str, Score]:
    """The mean score of each category, over the records that have a score; turns and repeats of an item together."""
    scored: dict[str, list[tuple[float, str]]] = {}
    for record in records:
        if record.score is not None:
            scored.setdefault(record.category, []).append((record.score, record.id))
    return {
        category: mean_score([value for value, _ in own], [item for _, item in own])
        for category, own in scored.items()
    }  # fmt: skip


def as_score(interval: Interval) -> Score:
    return Score(mean=interval.value, low=interval.low, high=interval.high)
