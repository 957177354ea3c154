"""Results of `edgellm eval`: how good answers are, with what was asked, by which protocol, and who judged.

What `--json` prints and what result files hold. Two results can be held against each other only where suite, protocol,
items and judge are the same, so each of these is in the result by name and by digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.bench import BenchedModel

# ok: scored as its suite says. failed: no score could be had (the judge gave none, the server broke off).
# empty, refused: the model said nothing, or declined; scored as the protocol says, and counted apart.
# unscored: it cannot be scored here (code, where there is no sandbox); never counted as right or wrong.
ItemStatus = Literal["ok", "failed", "empty", "refused", "unscored"]


class Score(Record):
    """A mean over items and the ends of its 95 % interval over items."""

    mean: float
    low: float
    high: float


def with_ends(measures: Mapping[str, float]) -> list[tuple[str, float, tuple[float, float] | None]]:
    """(name, value, ends of its interval) of each measure, where `NAME_low` and `NAME_high` are the ends of `NAME`."""
    ends = {name: (measures.get(f"{name}_low"), measures.get(f"{name}_high")) for name in measures}
    known = {name: (low, high) for name, (low, high) in ends.items() if low is not None and high is not None}
    used = {f"{name}{end}" for name in known for end in ("_low", "_high")}
    return [(name, value, known.get(name)) for name, value in measures.items() if name not in used]


class Accuracy(Record):
    """Shares of 1: of prompts with every instruction followed, and of instructions."""

    prompt: float
    instruction: float


class JudgeFingerprint(Record):
    """Who judged, so that judgments of different judges are never mixed."""

    name: str  # as the server or the bundle calls the model
    model_sha256: str | None = None  # of the artifact; None behind a URL that does not tell
    prompts: str  # whose prompts: `edgellm`, or the name of the published file
    prompts_sha256: str
    temperature: float
    structured: bool = False  # the judge was held to a JSON schema


class ItemRecord(Record):
    """One thing that was scored: an item, or one turn of one repeat of it."""

    id: str
    category: str = ""
    repeat: int = 0
    turn: int = 0  # 1 or 2 of a conversation; 0: the item as a whole
    prompt: str = ""  # the last user message
    prompt_tokens: int | None = None
    prompt_ids: tuple[int, ...] = ()  # where the model ran in this process
    answer: str = ""
    answer_ids: tuple[int, ...] = ()
    reasoning_characters: int = 0  # thinking that was taken off before scoring
    seconds: float = 0.0
    score: float | None = None
    status: ItemStatus = "ok"
    reason: str = ""  # why it has this status
    detail: dict[str, Any] = Field(default_factory=dict)  # what else the suite found: a judgment, verdicts by rule


class EvalResult(Record):
    schema_version: Literal[1] = 1
    kind: Literal["eval"] = "eval"
    suite: str
    protocol: str
    target: str  # the TARGET or the URL
    model: BenchedModel | None = None  # None behind a URL
    model_name: str = ""  # as the server calls it
    score: Score | None  # None where nothing could be scored
    scale: float = 1.0  # the best score that there is: 1 or 10
    categories: dict[str, Score]
    items: int  # that were asked
    failed: int
    empty: int = 0
    refused: int = 0
    unscored: int = 0
    strict: Accuracy | None = None  # ifeval-ja
    loose: Accuracy | None = None
    measures: dict[str, float] = Field(default_factory=dict)  # further figures of the suite, units in the names
    judge: JudgeFingerprint | None = None
    items_sha256: str
    protocol_sha256: str
    settings: dict[str, Any] = Field(default_factory=dict)  # limit, seed, repeats, concurrency, sampling
    notes: tuple[str, ...] = ()  # what a reader must know: prompts of ours in a published protocol, say
    records: tuple[ItemRecord, ...] = ()
    seconds: float = 0.0
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    created: str = ""  # UTC, ISO 8601
