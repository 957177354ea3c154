"""Result of `edgellm eval ladder`: what each type costs and keeps, and the smallest that is good enough."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.evals import Score
from edgellm.records.recipe import Gate
from edgellm.records.results import Fidelity, KindFidelity
from edgellm.records.statistics import Interval, Spread


class DocumentSums(Record):
    """Sums over the predicted tokens of each document, so that two ladders can be compared document by document."""

    kinds: tuple[str, ...]
    in_whole: tuple[bool, ...]  # whether the figures of the whole, which gates look at, count the document
    tokens: tuple[int, ...]
    utf8_bytes: tuple[int, ...]
    characters: tuple[int, ...]
    kld: tuple[float, ...]  # in nats
    same_top: tuple[int, ...]
    nats: tuple[float, ...]  # −log p of the tokens
    reference_nats: tuple[float, ...]
    delta_p: tuple[float, ...]
    delta_p_squared: tuple[float, ...]


class Flips(Record):
    """Multiple-choice items that the artifact answers otherwise than the base artifact."""

    flips: int
    items: int
    percent: Interval
    to_wrong: int | None = None  # right before, wrong now
    to_right: int | None = None
    accuracy_percent: float | None = None
    reference_accuracy_percent: float | None = None


class LadderScore(Record):
    """What a suite gave a type. `change` is to the base artifact, paired by item."""

    score: Score | None  # None where nothing could be scored
    change: Interval | None = None
    scale: float = 1.0  # the best score that there is
    protocol: str = ""
    items: int = 0
    failed: int = 0
    unscored: int = 0


class LadderRow(Record):
    """One type. Figures of fidelity are those of the whole verification text; `by_kind` has those of each kind."""

    type: str
    rules: dict[str, str] = Field(default_factory=dict)  # pattern → type of single tensors, beside the mixture
    tensors: dict[str, int] = Field(default_factory=dict)  # tensor type → how many tensors have it
    size_bytes: int
    bits_per_weight: float
    mean_kld: Interval
    same_top_percent: Interval
    bits_per_byte: Interval
    bits_per_character: Interval | None = None
    by_kind: dict[str, KindFidelity]
    flips: Flips | None = None
    decode_tokens_per_s: float | None = None  # the median; None where it was not timed
    decode: Spread | None = None
    decode_valid: bool | None = None  # whether the machine was quiet enough for the speed to hold
    scores: dict[str, LadderScore] = Field(default_factory=dict)  # by suite
    passes: bool
    reasons: list[str]  # why it does not pass; empty where it does
    change_to_next: Interval | None = None  # of the mean KLD to the next larger file, paired by document
    change_to_ours: Interval | None = None  # of a stock row: to the same type under our rules
    fidelity: Fidelity
    sums: DocumentSums | None = None


class LadderBase(Record):
    """The base artifact, which all are held against."""

    size_bytes: int
    bits_per_byte: float
    bits_per_character: float | None = None
    scores: dict[str, LadderScore] = Field(default_factory=dict)


class LadderResult(Record):
    schema_version: Literal[1] = 1
    kind: Literal["ladder"] = "ladder"
    target: str
    recipe: str  # whose gate and rules hold
    gate: Gate
    gate_from: str  # in words
    rule: str  # how the recommendation follows, in words
    rows: list[LadderRow]  # from the smallest file to the largest
    recommended: str | None
    monotone: bool  # whether the mean KLD falls from each row to the next
    stock: list[LadderRow] = Field(default_factory=list)  # llama.cpp's own mixtures, in the order of `rows`
    stock_disorder: list[str] = Field(default_factory=list)  # what in them nobody asked for
    base: LadderBase
    reference_sha256: str  # stands for the base artifact
    texts_sha256: str  # stands for the documents
    settings: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    machine: dict[str, Any] = Field(default_factory=dict)
    conditions: dict[str, Any] = Field(default_factory=dict)
    valid: bool = True  # whether the speeds hold
    reasons: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
    created: str = ""  # UTC, ISO 8601
