"""How each published Japanese MT-Bench asks, judges and counts, as data; and ours.

Facts of the programs, written down from reading them: FastChat with Stability's Japanese settings, llm-jp-judge,
Swallow's two evaluations, Nejumi. Their prompts and questions are not here: a user gives the files.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from edgellm.errors import UsageError
from edgellm.evals.mt_bench_ja.files import JAPANESE

NEEDS_REFERENCE = ("math", "reasoning", "coding")
# Of sampling, by category: lm-sys's MT-Bench, which most follow, and Stability's.
LM_SYS = {
    "writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1,
    "extraction": 0.0, "math": 0.0, "coding": 0.0, "reasoning": 0.0,
}  # fmt: skip
STABILITY = {
    "writing": 0.5, "roleplay": 0.5, "stem": 0.2, "humanities": 0.2,
    "extraction": 0.2, "math": 0.1, "coding": 0.1, "reasoning": 0.1,
}  # fmt: skip
UNKNOWN_CATEGORY_TEMPERATURE = 0.7

# The score that a text holds: which patterns, which of several matches, which values.
FASTCHAT = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))
LLM_JP = (re.compile(r"\[\[(10|[1-9])\]\]"),)
OURS = (re.compile(r"\[\[ *(10|[1-9]) *\]\]"),)

# rows: plain mean over all scores. runs: mean of each of N runs, then of the runs. questions: mean of the N of each
# question and turn, then over these. categories: the same, then over each category, then over the categories.
Counting = Literal["rows", "runs", "questions", "categories"]


@dataclass(frozen=True)
class Protocol:
    name: str
    source: str  # which program it follows
    counting: Counting
    temperatures: Mapping[str, float] = field(default_factory=lambda: LM_SYS)
    max_tokens: int | None = 1024  # of an answer; None: as many as there is room for
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    system_prompt: bool = False  # the published program gives the model one
    turns: int = 2  # that are asked
    repeats: int = 1  # N
    seed: int = 0  # of the first of N
    patterns: tuple[re.Pattern[str], ...] = FASTCHAT
    last_match: bool = False  # else the first
    normalised: bool = False  # full-width digits and brackets of a judgment are read too
    lowest: float | None = None  # a score outside is a failure; None: whatever was matched counts
    highest: float | None = None
    whole_numbers: bool = False  # a score with a fraction is a failure
    again: int = 0  # how often a judgment that holds no score is asked for once more
    judge_max_tokens: int = 2048
    schema: Mapping[str, Any] | None = None  # for a judge that can be held to one
    scale: float = 10.0  # the best mean; 1: means are divided by 10
    lowest_for_empty: bool = False  # an empty answer gets the lowest score without asking the judge
    any_reference: bool = False  # a reference is shown wherever there is one, else in three categories, which need it
    order_check: int = 0  # of so many judgments, one is asked again in another order; 0: none

    def temperature(self, category: str) -> float:
        return self.temperatures.get(category, UNKNOWN_CATEGORY_TEMPERATURE)

    def facts(self) -> dict[str, Any]:
        """All that this protocol says, as JSON holds it: for digests."""
        own = {name: value for name, value in vars(self).items() if name not in ("patterns", "temperatures", "schema")}
        patterns = [pattern.pattern for pattern in self.patterns]
        return own | {"patterns": patterns, "temperatures": dict(self.temperatures), "schema": self.schema}

    def read(self, text: str) -> float | None:
        """The score that a judgment's text holds, or None: that is a failure of the judge."""
        said = unicodedata.normalize("NFKC", text) if self.normalised else text
        for pattern in self.patterns:
            if found := pattern.findall(said):
                return self.valid(float(found[-1 if self.last_match else 0]))
        return None

    def read_structured(self, text: str) -> float | None:
        """The score in a judgment that follows `schema`; None if it does not."""
        try:
            rating = json.loads(text)["rating"]
        except (ValueError, KeyError, TypeError):
            return None
        if isinstance(rating, str):
            return self.read(rating)
        whole = isinstance(rating, int) and not isinstance(rating, bool)
        return self.valid(float(rating)) if whole else None

    def valid(self, score: float) -> float | None:
        """The score, or None where this protocol has no such score."""
        if self.lowest is not None and score < self.lowest:
            return None
        if self.highest is not None and score > self.highest:
            return None
        return None if self.whole_numbers and score != int(score) else score


def rating_schema(rating: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"explanation": {"type": "string"}, "rating": dict(rating)},
        "required": ["explanation", "rating"],
        "additionalProperties": False,
    }


FASTCHAT_JP = Protocol(
    "fastchat-jp", "FastChat with Stability AI's Japanese settings", "rows", STABILITY,
    max_tokens=512, top_p=0.9, repetition_penalty=1.1, turns=1,
)  # fmt: skip
LLM_JP_JUDGE = Protocol(
    "llm-jp-judge", "llm-jp-judge", "rows", system_prompt=True, patterns=LLM_JP, lowest=1, highest=10,
    whole_numbers=True, again=1,
)  # fmt: skip
# Swallow's evaluation on FastChat, before swallow-evaluation-instruct.
SWALLOW = Protocol("swallow", "swallow-evaluation", "runs", repeats=5, seed=14, scale=1.0)
SWALLOW_INSTRUCT = Protocol(
    "swallow-instruct", "swallow-evaluation-instruct", "questions", max_tokens=None, repeats=5, judge_max_tokens=4096,
    scale=1.0,
)  # fmt: skip
NEJUMI = Protocol(
    "nejumi", "Nejumi LLM Leaderboard 4", "categories", lowest=0, highest=10, whole_numbers=True, scale=1.0,
    schema=rating_schema({"type": "string", "enum": [f"[[{score}]]" for score in range(11)]}),
)  # fmt: skip
EDGELLM = Protocol(
    "edgellm", "edgellm", "rows", max_tokens=2048, patterns=OURS, last_match=True, normalised=True, lowest=1,
    highest=10, whole_numbers=True, again=1, lowest_for_empty=True, any_reference=True, order_check=10,
    schema=rating_schema({"type": "integer", "enum": list(range(1, 11))}),
)  # fmt: skip
PROTOCOLS = {p.name: p for p in (EDGELLM, FASTCHAT_JP, LLM_JP_JUDGE, SWALLOW, SWALLOW_INSTRUCT, NEJUMI)}
DEFAULT = EDGELLM.name
CATEGORIES = JAPANESE

# Faults of swallow-evaluation-instruct that are reproduced on request: answers of temperature 0 are made once and
# copied N times; turn 2 of each of the N continues the first one's turn 1; a question's mean takes -1 in, and only a
# mean of -1 is dropped; each turn is cut.
QUIRKY = (SWALLOW_INSTRUCT.name,)
QUIRKY_CUT_CHARACTERS = 8192


def protocol_named(name: str | None, *, repeats: int | None = None, quirks: bool = False) -> Protocol:
    """A protocol, ours where `name` is None; `repeats` in place of its N. Raises UsageError for what there is not."""
    found = PROTOCOLS.get(name or DEFAULT)
    if found is None:
        raise UsageError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    if quirks and found.name not in QUIRKY:
        raise UsageError(f"--quirks means the faults of {', '.join(QUIRKY)}; {found.name} has none to reproduce")
    if repeats is not None and repeats < 1:
        raise UsageError(f"--repeats is {repeats}; ask at least once")
    return found if repeats is None else replace(found, repeats=repeats)
