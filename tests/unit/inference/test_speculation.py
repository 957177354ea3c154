"""Drafts, what becomes of them, and when they pay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgellm.engines.protocol import Feed
from edgellm.errors import EngineFailed
from edgellm.inference.draft_model import DraftModel
from edgellm.inference.drafting_pace import PLAIN_FIRST, RETRY, Pace
from edgellm.inference.prompt_lookup import Index, PromptLookup
from edgellm.inference.speculation import FAILURES_TO_END, LONGEST_DRAFT, Speculation
from fake_runtime import FakeRuntime


def greedy(runtime: FakeRuntime, ids: Sequence[int], count: int) -> list[int]:
    """What the model says after `ids`, each token from a sequence that is read anew."""
    text = list(ids)
    for _ in range(count):
        runtime.keep(0, 0)
        text.append(int(np.argmax(runtime.step([Feed(0, text)])[0][-1])))
    return text[len(ids) :]


# Prompt lookup


def test_what_followed_the_longest_match_is_drafted() -> None:
    text = [1, 2, 3, 4, 5, 9, 3, 4, 6, 7, 9, 2, 3, 4]
    assert Index().following(text, 3) == [5, 9, 3]  # after 2 3 4, though 3 4 came later
    assert Index().following([8, 8, 3, 4], 3) == []


def test_of_equal_matches_the_latest_is_taken() -> None:
    assert Index().following([3, 4, 5, 0, 3, 4, 6, 0, 3, 4], 1) == [6]


def test_a_text_that_repeats_itself_is_gone_on_with_beyond_its_end() -> None:
    assert Index().following([7, 1, 2, 1, 2, 1, 2], 5) == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_text_too_short_for_a_match_gives_no_draft(length: int) -> None:
    assert Index().following([5] * length, 4) == []


def test_an_index_that_grows_knows_what_one_made_at_once_knows() -> None:
    text = np.random.default_rng(1).integers(0, 6, 300).tolist()
    growing = Index()
    for end in range(1, len(text)):
        assert growing.following(text[:end], 8) == Index().following(text[:end], 8)


# Draft model


def test_a_draft_model_says_what_it_would_say_alone_whatever_was_accepted() -> None:
    runtime, reference = FakeRuntime(vocab_tokens=50), FakeRuntime(vocab_tokens=50)
    drafter = DraftModel(runtime)
    texts = {1: [4, 5, 6], 3: [9] * 20}
    rng = np.random.default_rng(0)
    for sequence in texts:
        drafter.begin(sequence)
    for _ in range(12):
        counts = {sequence: int(rng.integers(1, 5)) for sequence in texts}
        drafts = drafter.draft(texts, counts)
        for sequence, ids in texts.items():
            assert drafts[sequence] == greedy(reference, ids, counts[sequence])
            taken = int(rng.integers(0, counts[sequence] + 1))  # and then a token of the larger model's own
            texts[sequence] = [*ids, *drafts[sequence][:taken], int(rng.integers(0, 50))]


def test_a_draft_model_feeds_all_answers_in_one_step() -> None:
    runtime = FakeRuntime()
    steps: list[int] = []
    step = runtime.step
    runtime.step = lambda feeds: (steps.append(len(feeds)), step(feeds))[1]  # type: ignore[method-assign]
    drafter = DraftModel(runtime)
    texts = {sequence: [sequence + 1, 2] for sequence in range(4)}
    drafter.draft(texts, dict.fromkeys(texts, 3))
    assert steps == [4, 4, 4]


def test_a_long_text_is_read_over_several_steps_before_it_gets_drafts() -> None:
    drafter = DraftModel(FakeRuntime(context_tokens=700))
    text = {0: [*range(500), 3]}
    assert drafter.draft(text, {0: 2}) == {}
    assert len(drafter.draft(text, {0: 2})[0]) == 2


def test_a_draft_model_starts_over_with_a_new_text_and_stops_at_its_own_context() -> None:
    drafter, reference = DraftModel(FakeRuntime(context_tokens=40)), FakeRuntime(context_tokens=40)
    drafter.draft({0: [1, 2, 3]}, {0: 4})
    drafter.begin(0)
    assert drafter.draft({0: [1, 2]}, {0: 3})[0] == greedy(reference, [1, 2], 3)
    assert drafter.reach({0: [1] * 37, 1: [1] * 40}, {0: 8, 1: 8}) == {0: 3, 1: 0}


# When it pays


def steps(pace: Pace, answers: int, gains: Sequence[float], cost: dict[int, float], count: int) -> list[int]:
    """How many tokens each of `count` steps fed, where a step with n of them takes cost[n] seconds."""
    fed = []
    for _ in range(count):
        fed.append(pace.tokens(answers, gains))
        pace.observe(answers, fed[-1], cost[fed[-1]])
    return fed


GAINS = [0.8**i for i in range(1, 9)]
CHEAP = {0: 10.0, 1: 11.0, 2: 12.0, 4: 14.0, 8: 18.0}
DEAR = {0: 10.0, 1: 20.0, 2: 30.0, 4: 50.0, 8: 90.0}


def test_drafts_that_cost_little_are_fed_and_their_number_is_the_best_one() -> None:
    fed = steps(Pace(), 1, GAINS, CHEAP, 60)
    assert fed[:PLAIN_FIRST] == [0] * PLAIN_FIRST
    best = max(CHEAP, key=lambda n: (1 + sum(GAINS[:n])) / CHEAP[n])
    assert set(fed[10:]) == {best}


def test_drafts_that_cost_more_than_they_bring_are_given_up_after_few_tries() -> None:
    fed = steps(Pace(), 1, GAINS, DEAR, RETRY)
    assert sum(1 for n in fed if n) <= 3
    assert not any(fed[8:])


def test_what_was_given_up_is_tried_again_and_more_and_more_seldom() -> None:
    fed = steps(Pace(), 1, GAINS, DEAR, 8 * RETRY)
    tries = [place for place, n in enumerate(fed) if n and place > 10]
    assert len(tries) == 3
    assert tries[2] - tries[1] > tries[1] - tries[0] > RETRY


def test_what_was_given_up_comes_back_when_it_has_become_cheap() -> None:
    pace = Pace()
    steps(pace, 1, GAINS, DEAR, 50)
    assert steps(pace, 1, GAINS, CHEAP, 4 * RETRY)[-1] > 0


def test_one_slow_step_turns_nothing_off() -> None:
    pace = Pace()
    steps(pace, 1, GAINS, CHEAP, 40)
    pace.observe(1, 8, 500.0)
    assert pace.tokens(1, GAINS) > 0


def test_many_answers_are_judged_apart_from_one() -> None:
    pace = Pace()
    assert steps(pace, 1, GAINS, CHEAP, 20)[-1] > 0
    assert steps(pace, 8, GAINS, DEAR, 20)[-1] == 0
    assert pace.tokens(1, GAINS) > 0


def test_unlikely_drafts_are_not_fed() -> None:
    assert not any(steps(Pace(), 1, [0.01] * 8, CHEAP, RETRY)[5:])


def test_drafts_that_are_never_right_are_fed_no_more_and_come_back_when_they_would_be() -> None:
    time = [0.0]
    speculation = Speculation(PromptLookup(), clock=lambda: time[0])
    speculation.begin(0)
    fresh = iter(range(1000, 100_000))
    text = [1, 2]

    def step(following: Sequence[int]) -> int:
        """One step in which the model says `following`, one token or as far as the drafts are right."""
        drafts = speculation.propose({0: text}, {0: 100}).get(0, [])
        speculation.observe(1, len(drafts), 1.0 + 0.05 * len(drafts))
        came = [following[0]]
        while len(came) <= len(drafts) and came[-1] == drafts[len(came) - 1] and len(came) < len(following):
            came.append(following[len(came)])
        text.extend(came)
        return len(drafts)

    # A pair that came before, each time with another follower: every guess is wrong.
    wrong = [step([token]) for _ in range(60) for token in (1, 2, next(fresh))]
    assert sum(wrong[60:]) <= sum(wrong[:60])
    assert sum(1 for drafted in wrong[90:] if drafted) < 15
    # And now it says the same ten tokens again and again.
    ten = list(range(500, 510))
    right = []
    for _ in range(60):
        place = text[-1] - 499 if text[-1] in ten else 0
        right.append(step([ten[(place + i) % 10] for i in range(LONGEST_DRAFT + 1)]))
    assert sum(right[30:]) > 5 * 30


def test_a_draft_model_that_keeps_failing_is_given_up_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    runtime = FakeRuntime(vocab_tokens=50)
    speculation = Speculation(DraftModel(runtime))
    runtime.close()  # from here on each step fails
    speculation.begin(0)
    for _ in range(PLAIN_FIRST):
        speculation.observe(1, 0, 1.0)
    for _ in range(FAILURES_TO_END):
        with pytest.raises(EngineFailed):
            speculation.propose({0: [5, 6, 7]}, {0: 4})
    speculation.begin(0)
    assert speculation.propose({0: [5, 6, 7]}, {0: 4}) == {}
    assert len(caplog.records) == 1


def test_no_more_is_drafted_than_an_answer_can_take() -> None:
    speculation = Speculation(PromptLookup())
    speculation.begin(0)
    for _ in range(PLAIN_FIRST):
        speculation.observe(1, 0, 1.0)
    for room in (0, 1, 3):
        drafts = speculation.propose({0: [5, 6, 7, 8] * 5}, {0: room})
        assert len(drafts.get(0, [])) <= room
