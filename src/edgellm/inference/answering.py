"""One request on its way through a scheduler: what it holds, how its tokens are drawn, and where its time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgellm.engines.protocol import Feed, Logits, Wanted
from edgellm.errors import EdgellmError, EngineFailed
from edgellm.inference.chat import TokenLogprob
from edgellm.inference.constraint import Matcher
from edgellm.inference.generation import EndReason, Generation, Request, Timing
from edgellm.inference.sampling import Sampler, token_logprob


@dataclass(eq=False)
class Answering:
    """`ids` is prompt and answer, of which the sequence holds the first `held`."""

    generation: Generation
    sampler: Sampler
    matcher: Matcher | None
    ids: list[int]
    limit: int  # of len(ids)
    came_at: float
    sequence: int = -1  # none yet
    held: int = 0
    admitted_at: float = 0.0
    begun_at: float | None = None  # when the first part of its prompt was read
    first_at: float | None = None  # when its first token came
    last_at: float = 0.0
    cached: int = 0
    drafts: Sequence[int] = field(default=())  # of the step that runs
    drafted: int = 0
    accepted: int = 0

    @property
    def request(self) -> Request:
        return self.generation.request

    @property
    def user(self) -> str:
        return self.generation.request.user

    @property
    def decoding(self) -> bool:
        """Its prompt has been read."""
        return self.first_at is not None

    @property
    def waited_s(self) -> float:
        """For others' prompts, in a place of its own, before its own was begun."""
        return 0.0 if self.begun_at is None else self.begun_at - self.admitted_at

    @property
    def work(self) -> tuple[str, int]:
        """Whose it is, and how many tokens of its prompt are left to read; see `fair_queue.Shares.turn`."""
        return self.user, len(self.ids) - self.held

    def feed(self, ids: Sequence[int], wanted: Wanted) -> Feed:
        return Feed(self.sequence, ids, wanted, self.generation.request.adapter)

    def next_feed(self) -> Feed:
        """Its last token and the drafts after it."""
        if self.drafts:
            return self.feed([self.ids[-1], *self.drafts], "all")
        return self.feed(self.ids[-1:], "last")

    def draw(self, row: Logits) -> int | TokenLogprob:
        """Append the next token, drawn from logits of shape (vocab_tokens,), and give what is delivered of it.

        Raises EngineFailed for logits that are no numbers and for a grammar that fails or allows nothing.
        """
        token = self.sampler.draw(row)
        if self.matcher is not None:
            token = self._matching(self.matcher, token, row)
        self.sampler.take(token)
        self.ids.append(token)
        top = self.generation.request.top_logprobs
        return token if top is None else token_logprob(row, token, top)

    def _matching(self, matcher: Matcher, token: int, row: Logits) -> int:
        """The token, or where the grammar refuses it one drawn from those that it allows.

        That has the same distribution as a draw from these alone: what is refused is shared out among them.
        """
        try:
            if not matcher.allows(token):
                allowed = row.copy()
                matcher.mask(allowed)
                token = self.sampler.draw(allowed)
            matcher.take(token)
        except EdgellmError:
            raise
        except Exception as fault:  # whatever a grammar's library raises ends this answer and no other
            raise EngineFailed(f"the grammar of this answer failed ({fault}); ask with a simpler one") from fault
        return token

    def reason_to_end(self) -> EndReason | None:
        """Whether the answer ends with its latest token."""
        request = self.generation.request
        # A grammar allows a stop token only where the answer is complete, and nothing can follow it then.
        if self.ids[-1] in request.stop_ids and (self.matcher is not None or not request.ignore_eos):
            return "stop"
        return "length" if len(self.ids) >= self.limit else None

    def timing(self, now: float) -> Timing | None:
        if self.begun_at is None:
            return None
        first_at = now if self.first_at is None else self.first_at
        return Timing(
            queue_s=self.begun_at - self.came_at,
            prompt_s=first_at - self.begun_at,
            decode_s=max(0.0, self.last_at - first_at),
            cached_tokens=self.cached,
            drafted_tokens=self.drafted,
            accepted_tokens=self.accepted,
        )
