"""What changes single logits before a draw: logit_bias, then the penalties for tokens that the text holds already.

The order is that of transformers' logits processors and of vLLM: first the bias, then the repetition penalty over
prompt and answer (Keskar et al. 2019, "CTRL", section 4.1, in transformers' form), then OpenAI's frequency and
presence penalties over the answer alone. Temperature comes afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import UsageError
from edgellm.inference.chat import SamplingOptions

BIAS_LIMIT = 100.0
PENALTY_LIMIT = 2.0


class Penalties:
    """Follows the text of one request. What it costs depends on the tokens in the text, not on the vocabulary."""

    def __init__(self, options: SamplingOptions, prompt: Sequence[int]) -> None:
        """`prompt` holds its token ids; it counts for the repetition penalty alone."""
        self._options = options
        self._counts_tokens = counts_tokens(options)
        prompt_ids = dict.fromkeys(prompt) if options.repetition_penalty != 1.0 else {}
        self._ids = np.fromiter(prompt_ids, np.intp, len(prompt_ids))
        self._counts = np.zeros(len(prompt_ids), np.float32)  # how often the answer holds each of these ids
        self._places = {token: place for place, token in enumerate(prompt_ids)}
        self._biased = np.fromiter(options.logit_bias.keys(), np.intp, len(options.logit_bias))
        self._biases = np.fromiter(options.logit_bias.values(), np.float32, len(options.logit_bias))

    def take(self, token: int) -> None:
        """The answer has got one more token."""
        if not self._counts_tokens:
            return
        place = self._places.setdefault(token, len(self._ids))
        if place == len(self._ids):
            self._ids = np.append(self._ids, token)
            self._counts = np.append(self._counts, np.float32(0.0))
        self._counts[place] += 1

    def applied(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """A changed copy of logits of shape (vocab_tokens,)."""
        changed = logits.copy()
        changed[self._biased] += self._biases
        if len(self._ids):
            options, seen = self._options, changed[self._ids]
            if options.repetition_penalty != 1.0:
                factor = np.float32(options.repetition_penalty)
                seen = np.where(seen < 0, seen * factor, seen / factor)
            seen -= np.float32(options.frequency_penalty) * self._counts
            seen -= np.float32(options.presence_penalty) * (self._counts > 0)
            changed[self._ids] = seen
        return changed


def penalties_of(options: SamplingOptions, prompt: Sequence[int]) -> Penalties | None:
    """None where the options leave every logit as it is."""
    return Penalties(options, prompt) if options.logit_bias or counts_tokens(options) else None


def counts_tokens(options: SamplingOptions) -> bool:
    """Whether it matters which tokens the text holds."""
    return options.repetition_penalty != 1.0 or bool(options.frequency_penalty or options.presence_penalty)


def check_penalties(options: SamplingOptions, vocab_tokens: int | None) -> None:
    """Raises UsageError, naming the setting and its range; with the size of the vocabulary, ids are checked too."""
    if not 0.0 < options.repetition_penalty < math.inf:
        raise UsageError(f"repetition_penalty is {options.repetition_penalty}; it must be above 0 (1 is off)")
    for name in ("frequency_penalty", "presence_penalty"):
        if not -PENALTY_LIMIT <= (value := getattr(options, name)) <= PENALTY_LIMIT:
            raise UsageError(f"{name} is {value}; it must lie between -2 and 2")
    for token, bias in options.logit_bias.items():
        if not -BIAS_LIMIT <= bias <= BIAS_LIMIT:
            raise UsageError(f"logit_bias gives token {token} {bias}; a bias must lie between -100 and 100")
        if token < 0 or (vocab_tokens is not None and token >= vocab_tokens):
            size = "" if vocab_tokens is None else f" of {vocab_tokens}"
            raise UsageError(f"logit_bias names token {token}, which is not in the model's vocabulary{size}")
