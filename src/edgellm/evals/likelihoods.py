"""How likely texts are after a prompt, by the runtime itself and the exact tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgellm.engines.protocol import Feed, Logits, Runtime
from edgellm.errors import PromptTooLong, UsageError
from edgellm.evals.model import Likelihood
from edgellm.language.tokenizer import Tokenizer

CONTEXT, TRIED = 0, 1  # sequences: what all continuations share, and the one that is tried
SEQUENCES = 2


class Likelihoods:
    """Of one runtime with at least two sequences, which is nobody else's. Not thread-safe."""

    def __init__(self, runtime: Runtime, tokenizer: Tokenizer) -> None:
        self._runtime = runtime
        self._tokenizer = tokenizer
        self._held: list[int] = []  # by the sequence CONTEXT

    def of(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        """Σ log p of each continuation's tokens after the prompt, in nats; the text is encoded as one.

        Where the end of the prompt and the beginning of a continuation become one token, the tokens that are counted
        begin before it, for every continuation alike: each sum has the same end of the prompt in it, so that they can
        be held against each other. Raises UsageError for a prompt and a continuation without a token, PromptTooLong.
        """
        texts = [self._encoded(prompt + each) for each in continuations]
        shared = common([self._encoded(prompt), *texts])
        if not shared:
            raise UsageError("there is no token before the first that is to be likely; begin the prompt with some text")
        if any(len(ids) == shared for ids in texts):
            raise UsageError(f"a continuation of {prompt[-40:]!r} adds no token to it; give each some text")
        room = self._runtime.info.context_tokens
        if (longest := max(map(len, texts))) > room:
            raise PromptTooLong(f"a prompt has {longest:,} tokens and the context {room:,}; give a larger --context")
        context = texts[0][: shared - 1]  # its last token is fed with each continuation, whose first it predicts
        self._hold(context)
        return [
            Likelihood(self._nats(ids[shared - 1 :]), len(ids) - shared, len(text.encode()))
            for ids, text in zip(texts, continuations, strict=True)
        ]

    def _encoded(self, text: str) -> list[int]:
        bos = self._tokenizer.bos_id
        begin = [bos] if bos is not None and self._tokenizer.specials.adds_bos else []
        return begin + self._tokenizer.encode(text)

    def _hold(self, context: list[int]) -> None:
        """Few-shot prompts begin alike, and what they share is not computed again."""
        if self._runtime.held(CONTEXT) != len(self._held):  # a step that failed may have emptied it
            self._runtime.keep(CONTEXT, 0)
            self._held = []
        same = common([self._held, context]) if self._runtime.info.can_cut else 0
        if not self._runtime.info.can_cut and self._held == context[: len(self._held)]:
            same = len(self._held)
        self._runtime.keep(CONTEXT, same)
        self._held = context[:same]  # right also where the next step fails
        for piece in pieces(context[same:], self._runtime.info.step_tokens):
            self._runtime.step([Feed(CONTEXT, piece, "none")])
            self._held += piece

    def _nats(self, ids: list[int]) -> float:
        """Σ log p of all but the first of `ids`, which follow what CONTEXT holds."""
        self._runtime.keep(TRIED, 0)
        if self._held:
            self._runtime.copy(CONTEXT, TRIED)
        found, at = 0.0, 1
        for piece in pieces(ids[:-1], self._runtime.info.step_tokens):
            (rows,) = self._runtime.step([Feed(TRIED, piece, "all")])
            found += float(log_probabilities(rows, ids[at : at + len(piece)]).sum())
            at += len(piece)
        return found


def log_probabilities(rows: Logits, ids: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """log p of each id by its row of logits: (n, vocab) and n ids in, (n,) out, in nats."""
    exact = rows.astype(np.float64)
    top = exact.max(axis=1)
    total = np.log(np.exp(exact - top[:, None]).sum(axis=1)) + top
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = exact[np.arange(len(ids)), np.asarray(ids)] - total
    return np.minimum(found, 0.0)  # rounding can push a certain token above 1


def common(sequences: Sequence[list[int]]) -> int:
    """How many ids all sequences begin with."""
    least, most = min(sequences), max(sequences)  # in the order of dictionaries: all others lie between these
    return next((i for i, pair in enumerate(zip(least, most, strict=False)) if pair[0] != pair[1]), len(least))


def pieces(ids: list[int], length: int) -> Iterable[list[int]]:
    return (ids[i : i + length] for i in range(0, len(ids), length))
