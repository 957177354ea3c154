"""What an answer must look like, and the test of each token against it.

The grammar is llguidance's, over the bytes of the model's own vocabulary: what its exact tokenizer says that a token
adds to a text. Why this library, and what it costs: docs/design/structured_output.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np

from edgellm.engines.protocol import Logits
from edgellm.errors import GrammarStuck

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from edgellm.language.tokenizer import Tokenizer

MARKER = b"\xff"  # how llguidance marks a special token; no text holds this byte
CALL = "<|call|>"  # ends a tool call, and so stands in grammars; every other stop token follows their end


@dataclass(frozen=True)
class Constraint:
    """A grammar that the ids of an answer follow, as llguidance reads it, up to the stop token."""

    grammar: str


class Matcher(Protocol):
    """Follows one answer through its grammar. A token costs microseconds, a mask of the whole vocabulary more, so
    a token is drawn first and only if it is refused drawn again with `mask`."""

    def allows(self, token: int) -> bool: ...

    def mask(self, logits: Logits) -> None:
        """Put −inf wherever the grammar refuses the token, in logits of shape (vocab_tokens,)."""
        ...

    def take(self, token: int) -> None:
        """The token was drawn; it must be one that `allows`."""
        ...


class GrammarMatcher:
    """A Matcher over llguidance. Each method raises EngineFailed once the grammar cannot be followed any further, so
    that an answer never goes on without it."""

    def __init__(self, matcher: LLMatcher, stop_ids: frozenset[int]) -> None:
        """`stop_ids` are allowed wherever the grammar may end, and nowhere else."""
        self._matcher = matcher
        self._stops = stop_ids
        self._ended = False
        self._check()

    def allows(self, token: int) -> bool:
        if token in self._stops:
            return self._may_end()
        if self._ended:
            return False
        allowed = self._matcher.validate_tokens([token]) == 1
        self._check()
        return allowed

    def mask(self, logits: Logits) -> None:
        # One byte a token; the last is llguidance's own end, which is no token of the model.
        allowed = np.frombuffer(self._matcher.compute_logit_bias(), np.uint8)[:-1].astype(bool)
        self._check()
        allowed[list(self._stops)] = self._may_end()
        logits[len(allowed) :] = -np.inf
        logits[~allowed[: len(logits)]] = -np.inf

    def take(self, token: int) -> None:
        if token in self._stops:
            if not self._may_end():
                self._fail("the answer ended too early")
            self._ended = True
        elif not self._matcher.consume_token(token):
            self._fail(self._matcher.get_error())

    def _may_end(self) -> bool:
        return self._matcher.is_accepting()

    def _check(self) -> None:
        if self._matcher.is_error():
            self._fail(self._matcher.get_error())

    def _fail(self, reason: str) -> NoReturn:
        first = reason.strip().split("\n")[0]
        raise GrammarStuck(f"the answer cannot go on as the request asks ({first}); ask for a simpler schema")


def matchers_of(tokenizer: Tokenizer) -> Callable[[Constraint], GrammarMatcher]:
    """What makes a matcher for a constraint. Reads the vocabulary, which takes a second for 200,000 tokens and lets no
    other thread of Python run for most of it.

    A call compiles the grammar, which takes milliseconds, up to a second for the largest; other threads run meanwhile.
    It raises EngineFailed for one that does not compile.
    """
    from llguidance import LLMatcher, LLParserLimits

    call = tokenizer.special_ids.get(CALL)
    stops = tokenizer.stop_ids - {call}
    vocabulary = _vocabulary(tokenizer)
    limits = LLParserLimits(verbose_errors=False)  # its errors would quote the schema, which is the caller's

    # The choices of one request have the same grammar, and so have most requests of one application.
    @lru_cache(maxsize=1)
    def compiled(grammar: str) -> LLMatcher:
        return LLMatcher(vocabulary, grammar, log_level=0, limits=limits)

    return lambda constraint: GrammarMatcher(compiled(constraint.grammar).deep_copy(), stops)


class _Words:
    """A vocabulary as llguidance wants it: bytes for tokens of text, marked names for special ones.

    It is told of no end token, so that it adds one of its own: models have several, and they are not its business.
    """

    is_tokenizer_wrapper = True
    eos_token_id = None
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        special = {*tokenizer.special_ids.values(), *tokenizer.stop_ids}
        self.tokens = [
            MARKER + tokenizer.token(i).encode() if i in special else tokenizer.token_bytes(i)
            for i in range(tokenizer.vocab_tokens)
        ]
        self.special_token_ids = sorted(special)

    def __call__(self, text: str) -> list[int]:
        """Only asked for to force tokens, which our grammars turn off: what the model prefers among the tokens that
        spell what must come is the model's to say."""
        raise NotImplementedError("grammars are made with no_forcing")


def _vocabulary(tokenizer: Tokenizer) -> LLTokenizer:
    from llguidance import LLTokenizer

    # Slices make masks ten times as fast, and take as long again to make as the vocabulary to read.
    return LLTokenizer(_Words(tokenizer), slices=LLTokenizer.json_slices())  # type: ignore[arg-type]
