"""How long a text is in a model's tokens, and how much a model can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edgellm.errors import UsageError
from edgellm.evals.long_ja.documents import Measure
from edgellm.evals.model import Model

CHARACTERS_PER_TOKEN = 1.0  # behind a URL: few tokenizers need more tokens than characters for Japanese


@runtime_checkable
class CountsTokens(Protocol):
    """A model in this process."""

    def count_tokens(self, text: str) -> int:
        """By the exact tokenizer, without special tokens."""
        ...

    def context_tokens(self) -> int:
        """The tokens that prompt and answer may have together."""
        ...


@dataclass(frozen=True)
class Yardstick:
    """How lengths are measured, in words too. `context_tokens` is None where nobody tells."""

    measure: Measure
    how: str
    context_tokens: int | None


def yardstick(model: Model) -> Yardstick:
    """The model's own tokenizer where it runs here, else characters."""
    if isinstance(model, CountsTokens):
        return Yardstick(model.count_tokens, "the model's own tokenizer", model.context_tokens())
    ratio = CHARACTERS_PER_TOKEN
    how = f"characters, at {ratio:g} a token: the model does not run in this process, so its own tokens are not known"
    return Yardstick(lambda text: round(len(text) / ratio), how, None)


def check_lengths(lengths: tuple[int, ...], stick: Yardstick) -> None:
    """Raises UsageError for a length beyond the model's context: a text that is cut would be another test."""
    if stick.context_tokens is not None and (long := [n for n in lengths if n > stick.context_tokens]):
        raise UsageError(
            f"the model's context is {stick.context_tokens:,} tokens and {', '.join(f'{n:,}' for n in long)} were "
            "asked for with --lengths; leave these out or give a larger --context"
        )
