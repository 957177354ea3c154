"""The scheduler over a runtime whose answers are a rule, so that every token can be checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from edgellm.errors import EngineFailed, PromptTooLong, QueueFull, UsageError
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.generation import End, Item, Request
from edgellm.inference.scheduler import Scheduler
from live_server import eventually
from scripted_runtime import ScriptedRuntime, expected

GREEDY = SamplingOptions(temperature=0.0)


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Scheduler, ScriptedRuntime]]]:
    begun: list[tuple[Scheduler, ScriptedRuntime]] = []

    def make(
        *, max_waiting: int = 64, chunk_tokens: int = 512, shared_chunk_tokens: int = 128, **runtime: object
    ) -> tuple[Scheduler, ScriptedRuntime]:
        engine = ScriptedRuntime(**runtime)  # type: ignore[arg-type]
        scheduler = Scheduler(
            engine,
            max_waiting=max_waiting,
            chunk_tokens=chunk_tokens,
            shared_chunk_tokens=shared_chunk_tokens,
        )
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


def test_a_long_prompt_is_read_in_chunks_while_others_get_their_tokens(start: Callable) -> None:
    scheduler, engine = start(held_back=True, context=64, step_tokens=32, shared_chunk_tokens=4)
    first = scheduler.submit(ask([1], 30))
    engine.allow(2)
    eventually(lambda: len(engine.steps) == 2)
    long = list(range(40))
    second = scheduler.submit(ask(long, 2))
    engine.let_go()
    assert list(second) == expected(long, 2)
    assert list(first) == expected([1], 30)
    shared = [step for step in engine.steps if len(step) == 2]
    assert sum(dict(step)[1] for step in shared[:10]) == 40  # ten chunks of four
    assert all(dict(step)[0] == 1 for step in shared)  # and the first request has a token in each


def test_a_prompt_alone_is_read_in_large_chunks(start: Callable) -> None:
    scheduler, engine = start(context=64, step_tokens=32, chunk_tokens=20, shared_chunk_tokens=4)
    assert list(scheduler.submit(ask(list(range(50)), 1))) == expected(list(range(50)), 1)
    assert engine.steps == [[(0, 20)], [(0, 20)], [(0, 10)]]


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
    assert items == [*expected([1], 4), End("length")]

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
