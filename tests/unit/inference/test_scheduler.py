"""The scheduler over a runtime whose answers are a rule, so that every token can be checked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from edgellm.engines.protocol import Feed, Logits
from edgellm.errors import EngineFailed, PromptTooLong, QueueFull, UsageError
from edgellm.inference.chat import SamplingOptions, TokenLogprob
from edgellm.inference.constraint import Constraint
from edgellm.inference.embedding_jobs import EmbeddingJobs
from edgellm.inference.generation import End, Generation, Item, Request
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from live_server import eventually
from scripted_runtime import ScriptedRuntime, expected

GREEDY = SamplingOptions(temperature=0.0)


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Scheduler, ScriptedRuntime]]]:
    begun: list[tuple[Scheduler, ScriptedRuntime]] = []

    def make(
        *, engine: ScriptedRuntime | None = None, max_waiting: int = 64, cache: object = None,
        clock: Callable[[], float] = time.monotonic, matchers: object = None, **runtime: object,
    ) -> tuple[Scheduler, ScriptedRuntime]:  # fmt: skip
        engine = engine or ScriptedRuntime(**runtime)  # type: ignore[arg-type]
        if isinstance(cache, type):
            cache = cache(engine)
        options = SchedulerOptions(max_waiting=max_waiting, stall_ms=60)
        scheduler = Scheduler(engine, options, matchers=matchers, cache=cache, clock=clock)  # type: ignore[arg-type]
        begun.append((scheduler, engine))
        return scheduler, engine

    yield make
    for scheduler, engine in begun:
        engine.let_go()
        scheduler.close()


def ask(ids: list[int], max_tokens: int | None = 5, **more: object) -> Request:
    return Request(ids, GREEDY, max_tokens, **more)  # type: ignore[arg-type]


def test_an_answer_is_the_models_and_its_counts_are_true(start: Callable) -> None:
    scheduler, _ = start()
    generation = scheduler.submit(ask([5, 6, 7], 9))
    assert list(generation) == expected([5, 6, 7], 9)
    assert (generation.prompt_tokens, generation.completion_tokens) == (3, 9)
    assert generation.finish_reason == "length"


def test_many_requests_through_few_places_each_get_their_own_answer(start: Callable) -> None:
    scheduler, engine = start(sequences=3, step_tokens=7)
    prompts = [[n % 90, (n * 7) % 90, *range(n % 20)] for n in range(40)]
    generations = [scheduler.submit(ask(prompt, 1 + n % 13)) for n, prompt in enumerate(prompts)]
    for n, (prompt, generation) in enumerate(zip(prompts, generations, strict=True)):
        assert list(generation) == expected(prompt, 1 + n % 13)
    assert max(len(step) for step in engine.steps) == 3
    state = scheduler.state()
    assert state.prompt_tokens == sum(len(prompt) for prompt in prompts)
    assert state.completion_tokens == sum(1 + n % 13 for n in range(40))


def test_a_request_joins_steps_that_are_under_way(start: Callable) -> None:
    scheduler, engine = start(held_back=True)
    first = scheduler.submit(ask([1], 20))
    engine.allow(3)
    eventually(lambda: len(engine.steps) == 3)
    second = scheduler.submit(ask([2], 3))
    engine.let_go()
    assert list(second) == expected([2], 3)
    assert list(first) == expected([1], 20)
    assert scheduler.state().widest_step == 2


def test_between_two_pieces_of_a_prompt_every_answer_gets_its_token(start: Callable) -> None:
    scheduler, engine = start(held_back=True, context=64, step_tokens=10)
    first = scheduler.submit(ask([1], 30))
    engine.allow(2)
    eventually(lambda: len(engine.steps) == 2)
    long = list(range(40))
    second = scheduler.submit(ask(long, 2))
    engine.let_go()
    assert list(second) == expected(long, 2)
    assert list(first) == expected([1], 30)
    pieces = [n for n, step in enumerate(engine.steps) if step[0][0] == 1 and step[0][1] > 1]
    assert sum(engine.steps[n][0][1] for n in pieces) == 40
    assert all(engine.steps[n + 1] == [(0, 1)] for n in pieces[:-1])  # no step holds a piece and an answer
    assert engine.steps[pieces[-1] + 1] == [(0, 1), (1, 1)]


def test_a_prompt_alone_is_read_in_pieces_as_long_as_a_step_takes(start: Callable) -> None:
    scheduler, engine = start(context=64, step_tokens=20)
    assert list(scheduler.submit(ask(list(range(50)), 1))) == expected(list(range(50)), 1)
    assert engine.steps == [[(0, 20)], [(0, 20)], [(0, 10)]]


def test_a_long_prompt_is_cut_into_equal_pieces_so_that_none_is_short(start: Callable) -> None:
    scheduler, engine = start(context=600, step_tokens=200)
    assert list(scheduler.submit(ask([1] * 410, 1))) == expected([1] * 410, 1)
    assert engine.steps == [[(0, 137)], [(0, 137)], [(0, 136)]]


def test_prompts_are_read_one_after_the_other_so_that_the_first_token_comes_early(start: Callable) -> None:
    scheduler, engine = start(held_back=True, step_tokens=8)
    both = [scheduler.submit(ask([n] * 14, 2)) for n in (1, 2)]
    engine.let_go()
    assert [list(generation) for generation in both] == [expected([1] * 14, 2), expected([2] * 14, 2)]
    assert engine.steps[:3] == [[(0, 8)], [(0, 6)], [(0, 1)]]


def test_requests_are_served_first_come_first_served(start: Callable) -> None:
    scheduler, engine = start(sequences=1, held_back=True)
    order: list[int] = []
    generations = [
        scheduler.submit(ask([n], 2), lambda item, n=n: order.append(n) if isinstance(item, End) else None)
        for n in range(6)
    ]
    engine.let_go()
    eventually(lambda: all(generation.end for generation in generations))
    assert order == [0, 1, 2, 3, 4, 5]


def test_a_stop_id_ends_the_answer_as_its_last_token(start: Callable) -> None:
    scheduler, _ = start()
    full = expected([3, 4], 10)
    generation = scheduler.submit(ask([3, 4], 10, stop_ids=frozenset({full[4]})))
    assert list(generation) == full[: full.index(full[4]) + 1]
    assert generation.finish_reason == "stop"


def test_ignore_eos_goes_on_past_stop_ids(start: Callable) -> None:
    scheduler, _ = start()
    full = expected([3, 4], 10)
    generation = scheduler.submit(ask([3, 4], 10, stop_ids=frozenset(full), ignore_eos=True))
    assert list(generation) == full
    assert generation.finish_reason == "length"


def test_an_answer_without_a_limit_ends_when_the_context_is_full(start: Callable) -> None:
    scheduler, _ = start(context=16)
    for max_tokens in (None, 1000):
        generation = scheduler.submit(ask([1] * 10, max_tokens))
        assert list(generation) == expected([1] * 10, 6)
        assert generation.finish_reason == "length"


def test_a_cancelled_request_frees_its_place(start: Callable) -> None:
    scheduler, engine = start(sequences=1, held_back=True)
    first = scheduler.submit(ask([1], 50))
    engine.allow(2)
    eventually(lambda: len(engine.steps) == 2)
    second = scheduler.submit(ask([2], 3))
    first.cancel()
    engine.let_go()
    assert list(second) == expected([2], 3)
    assert len(list(first)) < 50
    assert first.finish_reason == "cancelled"


def test_a_waiting_request_can_be_cancelled_while_all_places_are_taken(start: Callable) -> None:
    scheduler, engine = start(sequences=1, held_back=True)
    first = scheduler.submit(ask([1], 6))
    waiting = scheduler.submit(ask([2], 3))
    waiting.cancel()
    engine.allow(1)
    eventually(lambda: waiting.end is not None)
    assert first.end is None
    assert list(waiting) == []


def test_a_full_queue_refuses_and_says_when_to_come_back(start: Callable) -> None:
    scheduler, engine = start(sequences=1, max_waiting=1, held_back=True)
    first = scheduler.submit(ask([1], 2))
    eventually(lambda: scheduler.state().running == 1)
    second = scheduler.submit(ask([2], 2))
    with pytest.raises(QueueFull, match="try again later") as caught:
        scheduler.submit(ask([3], 2))
    assert caught.value.retry_after_s >= 1
    engine.let_go()
    assert list(first) == expected([1], 2)
    assert list(second) == expected([2], 2)


def test_free_places_can_be_taken_with_no_room_to_wait(start: Callable) -> None:
    scheduler, engine = start(sequences=2, max_waiting=0, held_back=True)
    both = [scheduler.submit(ask([n], 2)) for n in range(2)]
    with pytest.raises(QueueFull):
        scheduler.submit(ask([3], 2))
    engine.let_go()
    assert [list(generation) for generation in both] == [expected([0], 2), expected([1], 2)]


def test_a_failed_step_ends_its_requests_and_the_next_ones_are_served(start: Callable) -> None:
    scheduler, engine = start(held_back=True)
    both = [scheduler.submit(ask([n], 5)) for n in (1, 2)]
    engine.failures = 1
    engine.let_go()
    ended = 0
    for generation in both:
        try:
            list(generation)
        except EngineFailed:
            ended += 1
    assert ended >= 1
    assert scheduler.failure is None
    assert list(scheduler.submit(ask([9], 4))) == expected([9], 4)


def test_an_engine_that_keeps_failing_is_declared_dead_and_nobody_waits(start: Callable) -> None:
    scheduler, engine = start(sequences=1, held_back=True)
    engine.failures = 1000
    generations = [scheduler.submit(ask([n], 5)) for n in range(6)]
    engine.let_go()
    for generation in generations:
        with pytest.raises(EngineFailed):
            list(generation)
    assert scheduler.failure is not None
    with pytest.raises(EngineFailed, match="in a row"):
        scheduler.submit(ask([1], 1))


def test_an_error_that_many_get_is_a_copy_for_each(start: Callable) -> None:
    scheduler, engine = start(sequences=1, held_back=True)
    engine.failures = 1000
    generations = [scheduler.submit(ask([n], 5)) for n in range(6)]
    engine.let_go()
    errors = []
    asking = partial(scheduler.submit, ask([1]))
    for attempt in [*(partial(list, generation) for generation in generations[-2:]), asking, asking]:
        with pytest.raises(EngineFailed, match="in a row") as caught:
            attempt()
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == len(errors)
    assert scheduler.failure is not None
    assert scheduler.failure.__traceback__ is None


def test_an_error_that_nobody_expects_still_ends_every_request(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, engine = start(sequences=1, held_back=True)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(engine, "_row", lambda feed: 1 / 0)
    generations = [scheduler.submit(ask([n], 5)) for n in range(3)]
    engine.let_go()
    for generation in generations:
        with pytest.raises(EngineFailed, match="ZeroDivisionError"):
            list(generation)
    with pytest.raises(EngineFailed):
        scheduler.submit(ask([1], 1))


def test_logits_that_are_no_numbers_end_only_the_request_they_belong_to(start: Callable) -> None:
    scheduler, engine = start()
    engine.broken_logits = True
    with pytest.raises(EngineFailed, match="not a number"):
        list(scheduler.submit(ask([1], 5)))
    engine.broken_logits = False
    assert list(scheduler.submit(ask([1], 5))) == expected([1], 5)


def test_a_listener_gets_every_item_and_one_that_raises_cancels(start: Callable) -> None:
    scheduler, _ = start()
    items: list[Item] = []
    generation = scheduler.submit(ask([1], 4), items.append)
    eventually(lambda: generation.end is not None and len(items) == 5)
    *tokens, end = items
    assert tokens == expected([1], 4)
    assert isinstance(end, End)
    assert end.reason == "length"

    def refuse(item: Item) -> None:
        raise RuntimeError("no longer interested")

    deaf = scheduler.submit(ask([1], 40), refuse)
    eventually(lambda: deaf.end is not None)
    assert deaf.finish_reason == "cancelled"


def test_closing_ends_what_runs_and_joins_the_thread(start: Callable) -> None:
    scheduler, engine = start(sequences=1, held_back=True, context=10_000)
    generations = [scheduler.submit(ask([n], None)) for n in range(3)]
    engine.allow(1)
    closer = threading.Thread(target=scheduler.close)
    closer.start()
    engine.let_go()
    closer.join(20)
    assert not closer.is_alive()
    for generation in generations:
        with pytest.raises(EngineFailed, match="closed"):
            list(generation)
    with pytest.raises(EngineFailed, match="closed"):
        scheduler.submit(ask([1]))


def test_closing_says_when_a_step_does_not_end_in_time(start: Callable) -> None:
    scheduler, engine = start(held_back=True)
    scheduler.submit(ask([1]))
    eventually(lambda: scheduler.state().running == 1)
    assert scheduler.close(patience_s=0.05) is False
    engine.let_go()
    assert scheduler.close() is True


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (Request([]), UsageError, "empty"),
        (Request([1] * 64), PromptTooLong, "64"),
        (Request([97]), UsageError, "vocabulary"),
        (Request([-1]), UsageError, "vocabulary"),
        (Request([1], max_tokens=0), UsageError, "max_tokens"),
        (Request([1], SamplingOptions(top_p=2)), UsageError, "top_p"),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(
    start: Callable, request_: Request, error: type[Exception], words: str
) -> None:
    scheduler, _ = start()
    with pytest.raises(error, match=words):
        scheduler.submit(request_)


def test_a_place_for_more_sequences_than_a_step_takes_tokens_is_refused() -> None:
    with pytest.raises(UsageError, match="ask for fewer"):
        Scheduler(ScriptedRuntime(sequences=8, step_tokens=4))


# Fairness and pace


def test_a_user_with_many_requests_does_not_delay_another_users_first(start: Callable) -> None:
    scheduler, engine = start(sequences=1, held_back=True)
    order: list[str] = []

    def submit(name: str) -> Generation:
        return scheduler.submit(
            ask([1, 2, 3], 2, user=name[0]), lambda item: order.append(name) if isinstance(item, End) else None
        )

    many = [submit(f"a{n}") for n in range(5)]
    eventually(lambda: scheduler.state().running == 1)
    other = [submit(f"b{n}") for n in range(2)]
    engine.let_go()
    eventually(lambda: all(generation.end for generation in (*many, *other)))
    assert order == ["a0", "b0", "a1", "b1", "a2", "a3", "a4"]


class Clock:
    """Time that passes only when something is computed."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class CostlyRuntime(ScriptedRuntime):
    """An answer's token takes 5 ms, a prompt's 1 ms and more the deeper it stands."""

    def __init__(self, clock: Clock, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self._clock = clock

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        costs_s = [
            5e-3 if len(feed.ids) == 1 else len(feed.ids) * 1e-3 * (1 + self.held(feed.sequence) / 4000)
            for feed in feeds
        ]
        rows = super().step(feeds)
        self._clock.now_s += sum(costs_s)
        return rows


def test_a_long_prompt_never_holds_up_the_tokens_of_answers_for_longer_than_the_bound(start: Callable) -> None:
    clock = Clock()
    engine = CostlyRuntime(clock, sequences=5, context=5000, step_tokens=512, held_back=True)
    scheduler, _ = start(engine=engine, clock=clock)
    times: list[list[float]] = [[] for _ in range(4)]
    answers = [scheduler.submit(ask([n, n], 200), lambda _, n=n: times[n].append(clock())) for n in range(4)]
    engine.allow(10)
    eventually(lambda: len(engine.steps) == 10)
    long = scheduler.submit(ask([7] * 4000, 1))
    engine.let_go()
    eventually(lambda: long.end is not None and all(answer.end for answer in answers))
    gaps = np.concatenate([np.diff(each) for each in times])
    decode_s = 4 * 5e-3
    assert gaps.max() - decode_s <= 0.060 + 1e-9
    assert long.end is not None
    assert long.end.timing is not None
    idle_s = sum(1e-3 * (1 + depth / 4000) for depth in range(4000))
    assert idle_s < long.end.timing.prompt_s <= 1.6 * idle_s  # most of what the bound allows is used


def test_timings_say_how_long_a_request_waited_was_read_and_was_answered(start: Callable) -> None:
    clock = Clock()
    engine = CostlyRuntime(clock, sequences=1, held_back=True)
    scheduler, _ = start(engine=engine, clock=clock)
    generations = [scheduler.submit(ask([1] * 10, 5)) for _ in range(2)]
    engine.let_go()
    for generation in generations:
        list(generation)
    first, second = (generation.end.timing for generation in generations if generation.end)
    assert first is not None
    assert second is not None
    assert first.queue_s == 0.0
    assert first.prompt_s == pytest.approx(10e-3)
    assert first.decode_s == pytest.approx(4 * 5e-3)
    assert second.queue_s == pytest.approx(30e-3)


# Constraints


class OnlyMultiples:
    """Allows multiples of `factor` until `count` of them have come, then `stop` alone."""

    def __init__(self, factor: int, count: int, stop: int) -> None:
        self._factor, self._left, self._stop = factor, count, stop

    def allows(self, token: int) -> bool:
        return token % self._factor == 0 and token != self._stop if self._left else token == self._stop

    def mask(self, logits: Logits) -> None:
        logits[[token for token in range(len(logits)) if not self.allows(token)]] = -np.inf

    def take(self, token: int) -> None:
        assert self.allows(token)
        self._left -= 1


def constrained(count: int = 6, **more: object) -> Request:
    sampling = SamplingOptions(temperature=1.0, top_p=1.0, seed=5)
    return Request([1, 2], sampling, 20, frozenset({90}), constraint=Constraint(f"7 {count}"), **more)  # type: ignore[arg-type]


def multiples(constraint: Constraint) -> OnlyMultiples:
    factor, count = map(int, constraint.grammar.split())
    return OnlyMultiples(factor, count, stop=90)


def test_a_constrained_answer_holds_only_what_its_grammar_allows_and_ends_with_it(start: Callable) -> None:
    scheduler, _ = start(matchers=multiples)
    both = [scheduler.submit(constrained()), scheduler.submit(ask([3], 5))]
    *tokens, stop = both[0]
    assert len(tokens) == 6
    assert all(token % 7 == 0 for token in tokens)
    assert stop == 90
    assert both[0].finish_reason == "stop"
    assert list(both[1]) == expected([3], 5)


def test_a_complete_grammar_ends_an_answer_that_would_ignore_the_end(start: Callable) -> None:
    scheduler, _ = start(matchers=multiples)
    generation = scheduler.submit(constrained(ignore_eos=True))
    assert len(list(generation)) == 7
    assert generation.finish_reason == "stop"


def test_a_grammar_that_fails_ends_its_request_alone(start: Callable) -> None:
    class Failing(OnlyMultiples):
        def take(self, token: int) -> None:
            raise ValueError("a fault in the parser")

    scheduler, engine = start(matchers=lambda _: Failing(7, 6, 90), held_back=True)
    both = [scheduler.submit(constrained()), scheduler.submit(ask([3], 5))]
    engine.let_go()
    with pytest.raises(EngineFailed, match="grammar of this answer failed"):
        list(both[0])
    assert list(both[1]) == expected([3], 5)
    assert scheduler.state().failed_steps == 0


def test_no_answer_goes_on_unconstrained(start: Callable) -> None:
    scheduler, _ = start()
    with pytest.raises(UsageError, match="grammar"):
        scheduler.submit(constrained())

    def refuse(_: Constraint) -> OnlyMultiples:
        raise UsageError("such a grammar is not supported")

    scheduler, _ = start(matchers=refuse)
    with pytest.raises(UsageError, match="not supported"):
        scheduler.submit(constrained())
    assert scheduler.state().waiting == 0


# Prefix cache


class RememberingCache:
    """Copies from any sequence that it knows, and checks what the scheduler tells it against the runtime."""

    def __init__(self, engine: ScriptedRuntime) -> None:
        self._engine = engine
        self.known: dict[int, list[int]] = {}
        self._asked = 0
        self.forgotten: list[int] = []

    def acquire(self, request: Request, free: Sequence[int]) -> int:
        assert list(free) == sorted(free)
        return min(free, key=lambda sequence: len(self.known.get(sequence, ())))

    def reuse(self, sequence: int, request: Request) -> int:
        self._asked = len(request.ids)
        longest, source = max((self._shared(ids, request.ids), held) for held, ids in {**self.known, -1: []}.items())
        self.known.pop(sequence, None)
        if source not in (-1, sequence):
            self._engine.copy(source, sequence)
        self._engine.keep(sequence, longest)
        return longest

    def pause(self, sequence: int, held: int) -> int | None:
        return 8 if held < 8 < self._asked else None

    def remember(self, sequence: int, ids: Sequence[int], request: Request) -> None:
        assert self._engine.held(sequence) == len(ids)
        self.known[sequence] = list(ids)

    def forget(self, sequence: int) -> None:
        self.known.pop(sequence, None)
        self.forgotten.append(sequence)

    def _shared(self, known: Sequence[int], asked: Sequence[int]) -> int:
        most = min(len(known), len(asked) - 2)
        return next((n for n in range(most) if known[n] != asked[n]), max(0, most))


def test_of_two_prompts_that_come_together_the_second_reuses_what_the_first_reads(start: Callable) -> None:
    scheduler, engine = start(cache=RememberingCache, held_back=True)
    prompts = [[*range(20), 30, 31], [*range(20), 40, 41, 42]]
    both = [scheduler.submit(ask(prompt, 3)) for prompt in prompts]
    engine.let_go()
    assert [list(generation) for generation in both] == [expected(prompt, 3) for prompt in prompts]
    cached = [generation.end.timing.cached_tokens for generation in both if generation.end and generation.end.timing]
    assert cached == [0, 20]
    state = scheduler.state()
    assert (state.cached_tokens, state.prompt_tokens) == (20, 22 + 3)


def test_the_next_turn_of_a_conversation_reads_only_what_is_new(start: Callable) -> None:
    scheduler, _ = start(cache=RememberingCache)
    prompt = list(range(12))
    answer = list(scheduler.submit(ask(prompt, 6)))
    turn = [*prompt, *answer, 50, 51]
    generation = scheduler.submit(ask(turn, 4))
    assert list(generation) == expected(turn, 4)
    assert generation.end is not None
    assert generation.end.timing is not None
    # The last token of an answer is drawn, not fed.
    assert generation.end.timing.cached_tokens == len(prompt) + len(answer) - 1


def test_a_prompt_is_read_up_to_where_the_cache_wants_to_take_a_state(start: Callable) -> None:
    scheduler, engine = start(cache=RememberingCache)
    assert list(scheduler.submit(ask([5] * 20, 2))) == expected([5] * 20, 2)
    assert [dict(step)[0] for step in engine.steps] == [8, 12, 1]


def test_after_a_failure_of_the_engine_what_its_sequences_hold_is_forgotten(start: Callable) -> None:
    engine = ScriptedRuntime(sequences=1)
    cache = RememberingCache(engine)
    scheduler, _ = start(engine=engine, cache=cache)
    assert list(scheduler.submit(ask([1, 2, 3, 4], 2))) == expected([1, 2, 3, 4], 2)
    assert list(cache.known) == [0]
    engine.failures = 1
    with pytest.raises(EngineFailed):
        list(scheduler.submit(ask([1, 2, 3, 4, 5, 6], 2)))
    assert (cache.known, cache.forgotten, engine.held(0)) == ({}, [0], 0)
    assert list(scheduler.submit(ask([1, 2, 3, 4], 2))) == expected([1, 2, 3, 4], 2)


def test_a_failure_over_one_prompt_leaves_the_answers_beside_it_alone(start: Callable) -> None:
    scheduler, engine = start(held_back=True)
    first = scheduler.submit(ask([1], 8))
    engine.allow(2)
    eventually(lambda: len(engine.steps) == 2)
    step = engine.step

    def failing(feeds: Sequence[Feed]) -> list[Logits]:
        if feeds[0].sequence == 1:
            raise EngineFailed("no room")
        return step(feeds)

    engine.step = failing  # type: ignore[method-assign]
    second = scheduler.submit(ask([2, 3, 4], 8))
    engine.let_go()
    with pytest.raises(EngineFailed, match="no room"):
        list(second)
    assert list(first) == expected([1], 8)
    assert scheduler.failure is None


# Log probabilities and embeddings


def test_tokens_come_with_log_probabilities_where_they_were_asked_for(start: Callable) -> None:
    scheduler, _ = start()
    items: list[Item] = []
    generation = scheduler.submit(ask([5, 6], 3, top_logprobs=2), items.append)
    eventually(lambda: generation.end is not None)
    tokens = [item for item in items if isinstance(item, TokenLogprob)]
    assert [each.token for each in tokens] == expected([5, 6], 3)
    assert all(each.logprob == pytest.approx(0.0, abs=1e-4) and len(each.top) == 2 for each in tokens)
    assert list(scheduler.submit(ask([5, 6], 3, top_logprobs=0))) == expected([5, 6], 3)


class EmbeddingRuntime(ScriptedRuntime):
    """Embeds a text as its length; notes on which thread, and how many texts at a time."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self.calls: list[tuple[str, int]] = []

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        self.calls.append((threading.current_thread().name, len(prompts)))
        if any(not prompt for prompt in prompts):
            raise UsageError("a text is empty")
        return np.array([[len(prompt)] for prompt in prompts], np.float32)


def test_a_short_job_does_not_wait_for_all_of_a_long_one() -> None:
    engine, jobs = EmbeddingRuntime(), EmbeddingJobs()
    long, short = jobs.add([[1]] * 5), jobs.add([[1]])
    jobs.work(engine)
    jobs.work(engine)
    assert short.done()
    assert not long.done()


def test_texts_are_embedded_one_between_two_steps_on_the_thread_of_the_engine(start: Callable) -> None:
    engine = EmbeddingRuntime(held_back=True)
    scheduler, _ = start(engine=engine)
    with ThreadPoolExecutor(1) as pool:
        answer = scheduler.submit(ask([1], 8))
        vectors = pool.submit(scheduler.embed, [[1], [1, 2], [3, 4, 5]])
        engine.let_go()
        assert vectors.result(20).tolist() == [[1.0], [2.0], [3.0]]
    assert list(answer) == expected([1], 8)
    with pytest.raises(UsageError, match="empty"):
        scheduler.embed([[1], []])
    assert set(engine.calls) == {("edgellm-decode", 1)}
    scheduler.close()
    with pytest.raises(EngineFailed, match="closed"):
        scheduler.embed([[1]])
