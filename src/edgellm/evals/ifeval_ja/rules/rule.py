"""What a rule is, and how an instruction's arguments are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Reader = Callable[[Any], Any]  # from what JSON holds to what the rule takes; raises ValueError with half a sentence

FEWER, AT_LEAST = "未満", "以上"


@dataclass(frozen=True)
class Rule:
    """`holds(text, **arguments)` says whether an answer follows; it is never asked about blank text."""

    id: str
    holds: Callable[..., bool]
    arguments: Mapping[str, Reader] = field(default_factory=dict)
    optional: Mapping[str, Reader] = field(default_factory=dict)
    library: str = ""  # that must be there for it to say anything

    @property
    def group(self) -> str:
        """`letters` of `ja:letters:kanji`."""
        return self.id.split(":")[1]


@dataclass(frozen=True)
class Instruction:
    """A rule with its arguments: one thing that a prompt asks for."""

    rule: Rule
    arguments: Mapping[str, Any]

    def followed(self, text: str) -> bool:
        """Whether the answer follows it; blank text follows nothing."""
        return bool(text.strip()) and self.rule.holds(text, **self.arguments)


def whole_number(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():  # as some writers of JSON have it
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number of 0 or more")
    return value


def positive(value: Any) -> int:
    if whole_number(value) < 1:
        raise ValueError("must be a whole number of 1 or more")
    return int(value)


def phrase(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    return value


def trimmed(value: Any) -> str:
    return phrase(value).strip()


def phrases(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of texts")
    return tuple(phrase(item) for item in value)


def relation(value: Any) -> str:
    if value not in (FEWER, AT_LEAST):
        raise ValueError(f"must be {FEWER} or {AT_LEAST}")
    return str(value)


def one_of(*choices: str) -> Reader:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return read


def related(count: int, relation: str, limit: int) -> bool:
    """`未満` leaves the limit itself out, `以上` takes it in."""
    return count < limit if relation == FEWER else count >= limit
