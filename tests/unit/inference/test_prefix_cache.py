"""Prefix reuse over a runtime whose logits depend on the whole history to the last bit, so that wrong reuse shows."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.engines.protocol import Feed, Logits, Runtime
from edgellm.errors import NotWritable
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.generation import Generation, Request
from edgellm.inference.prefix_cache import WORTHWHILE, PrefixCache
from edgellm.inference.radix_tree import RadixTree
from edgellm.inference.saved_states import Known, SavedStates
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.state_folder import StateFolder
from fake_runtime import FakeRuntime
from live_server import eventually

GREEDY = SamplingOptions(temperature=0.0)
VOCAB = 64


def ids_of(seed: int, count: int = 40) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCAB, count).tolist()


SYSTEM = ids_of(0)


def ask(ids: Sequence[int], max_tokens: int = 4, **more: object) -> Request:
    return Request(list(ids), GREEDY, max_tokens, **more)  # type: ignore[arg-type]


@contextmanager
def serving(runtime: Runtime, **options: object) -> Iterator[Scheduler]:
    chosen = SchedulerOptions(**options)  # type: ignore[arg-type]
    cache = PrefixCache(runtime, chosen)
    with Scheduler(runtime, chosen, cache=cache) as scheduler:
        yield scheduler
    cache.close()


def fake(**settings: object) -> FakeRuntime:
    settings = {"vocab_tokens": VOCAB, "context_tokens": 256, "sequences": 3, **settings}
    return FakeRuntime(**settings)  # type: ignore[arg-type]


@dataclass
class Held(FakeRuntime):
    """Takes a step only while it may."""

    may_step: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.may_step.set()

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        self.may_step.wait()
        return super().step(feeds)


def finished(generation: Generation) -> tuple[list[int], int]:
    """The answer, and how many tokens of the prompt were not read."""
    answer = list(generation)
    assert generation.end is not None
    assert generation.end.timing is not None
    return answer, generation.end.timing.cached_tokens


def told(scheduler: Scheduler, ids: Sequence[int], max_tokens: int = 4, **more: object) -> tuple[list[int], int]:
    return finished(scheduler.submit(ask(ids, max_tokens, **more)))


def answer_of(ids: Sequence[int], max_tokens: int = 4, adapter: str | None = None) -> list[int]:
    """The answer of an engine that has computed nothing else."""
    with Scheduler(fake(adapters=("a", "b"))) as scheduler:
        return list(scheduler.submit(ask(ids, max_tokens, adapter=adapter)))


# What is reused


def test_a_conversation_goes_on_from_its_earlier_turns() -> None:
    with serving(fake()) as scheduler:
        answer, cached = told(scheduler, SYSTEM)
        assert cached == 0
        longer = [*SYSTEM, *answer, *ids_of(1, 20)]
        # The last token of an answer was drawn but never fed.
        assert told(scheduler, longer) == (answer_of(longer), len(SYSTEM) + 3)


def test_another_conversation_with_the_same_beginning_reuses_that() -> None:
    with serving(fake()) as scheduler:
        for seed in (1, 2, 3):
            prompt = SYSTEM + ids_of(seed, 20)
            answer, cached = told(scheduler, prompt)
            assert answer == answer_of(prompt)
            assert cached == (0 if seed == 1 else len(SYSTEM))


def test_the_same_prompt_again_leaves_two_tokens_to_read() -> None:
    with serving(fake()) as scheduler:
        told(scheduler, SYSTEM)
        assert told(scheduler, SYSTEM) == (answer_of(SYSTEM), len(SYSTEM) - 2)


def test_a_prompt_is_shared_with_answers_that_are_under_way() -> None:
    with serving(fake()) as scheduler:
        prompts = [SYSTEM + ids_of(seed, 20) for seed in (1, 2, 3)]
        generations = [scheduler.submit(ask(prompt, 60)) for prompt in prompts]
        found = [finished(generation) for generation in generations]
        assert [answer for answer, _ in found] == [answer_of(prompt, 60) for prompt in prompts]
        assert [cached for _, cached in found] == [0, len(SYSTEM), len(SYSTEM)]


def test_what_a_sequence_held_is_found_again_after_others_needed_it() -> None:
    with serving(fake(sequences=1)) as scheduler:
        first = told(scheduler, SYSTEM)[0]
        for seed in (1, 2, 3):
            assert told(scheduler, ids_of(seed, 60))[1] < WORTHWHILE
        again = [*SYSTEM, *first, 5, 6, 7]
        assert told(scheduler, again) == (answer_of(again), len(SYSTEM) + 3)


def test_few_tokens_are_not_worth_a_copy() -> None:
    runtime = Held(vocab_tokens=VOCAB, context_tokens=256, sequences=3)
    with serving(runtime) as scheduler:
        told(scheduler, SYSTEM)
        few = SYSTEM[: WORTHWHILE - 1]
        runtime.may_step.clear()  # so that the second comes while the first is under way
        in_place, beside = (scheduler.submit(ask(few + ids_of(seed), 100)) for seed in (1, 2))
        runtime.may_step.set()
        assert finished(in_place) == (answer_of(few + ids_of(1), 100), len(few))
        assert finished(beside) == (answer_of(few + ids_of(2), 100), 0)


def test_without_memory_nothing_is_reused() -> None:
    with serving(fake(), cache_bytes=0) as scheduler:
        assert told(scheduler, SYSTEM)[1] == 0
        assert told(scheduler, SYSTEM) == (answer_of(SYSTEM), 0)


def test_answers_are_read_again_where_they_would_change_what_follows() -> None:
    class Strict(FakeRuntime):
        @property
        def info(self):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return replace(super().info, answers_reusable=False)

    with serving(Strict(vocab_tokens=VOCAB, context_tokens=256)) as scheduler:
        answer, _ = told(scheduler, SYSTEM, 40)
        longer = [*SYSTEM, *answer, 1, 2, 3]
        assert told(scheduler, longer) == (answer_of(longer), len(SYSTEM))


# What is never shared


def test_scopes_share_nothing() -> None:
    with serving(fake()) as scheduler:
        told(scheduler, SYSTEM, cache_scope="one")
        assert told(scheduler, SYSTEM, cache_scope="other") == (answer_of(SYSTEM), 0)
        assert told(scheduler, SYSTEM, cache_scope="one")[1] == len(SYSTEM) - 2


def test_adapters_share_nothing() -> None:
    with serving(fake(adapters=("a", "b"))) as scheduler:
        for adapter in (None, "a", "b"):
            assert told(scheduler, SYSTEM, adapter=adapter) == (answer_of(SYSTEM, adapter=adapter), 0)
        for adapter in (None, "a", "b"):
            assert told(scheduler, SYSTEM, adapter=adapter)[1] == len(SYSTEM) - 2


def test_after_a_failure_of_the_engine_nothing_of_its_sequences_is_reused() -> None:
    runtime = fake(sequences=1)
    with serving(runtime) as scheduler:
        told(scheduler, SYSTEM)
        runtime.failures = 1
        with pytest.raises(Exception, match="told to fail"):
            told(scheduler, [*SYSTEM, 1, 2, 3])
        assert told(scheduler, [*SYSTEM, 1, 2, 3]) == (answer_of([*SYSTEM, 1, 2, 3]), 0)


# Which sequence


def test_sequences_are_given_out_from_the_lowest_as_far_as_they_are_needed() -> None:
    runtime = fake(sequences=8)
    cache = PrefixCache(runtime, SchedulerOptions())

    def read(seed: int, free: Sequence[int]) -> int:
        request = ask(ids_of(seed))
        sequence = cache.acquire(request, free)
        cache.reuse(sequence, request)
        runtime.step([Feed(sequence, request.ids, "none")])
        cache.remember(sequence, request.ids, request)
        return sequence

    assert [read(seed, range(8)) for seed in range(5)] == [0] * 5  # one after the other
    assert [read(seed, range(first, 8)) for first, seed in enumerate((5, 6, 7))] == [0, 1, 2]  # at once
    assert read(8, range(8)) in (0, 1, 2)


def test_what_is_used_often_and_lately_stays_in_memory_longest() -> None:
    runtime = fake(sequences=1)
    request, size = ask(SYSTEM), len(runtime.save(0)) + 8 * len(SYSTEM)
    cache = PrefixCache(runtime, SchedulerOptions(cache_bytes=3 * size))

    def read(ids: list[int]) -> int:
        request = ask(ids)
        cached = cache.reuse(0, request)
        runtime.step([Feed(0, ids[cached:], "none")])
        cache.remember(0, ids, request)
        return cached

    for seed in range(1, 7):
        assert read(ids_of(seed)) < WORTHWHILE
        assert read(SYSTEM) == (0 if seed == 1 else len(request.ids) - 2)
    assert read(ids_of(6)) > 0
    assert read(ids_of(1)) < WORTHWHILE


def test_a_conversation_comes_back_to_the_sequence_that_holds_it() -> None:
    runtime = fake(sequences=4)
    with serving(runtime) as scheduler:
        prompts = [ids_of(seed, 60) for seed in range(3)]
        answers = [list(g) for g in [scheduler.submit(ask(prompt, 30)) for prompt in prompts]]
        read = scheduler.state().prompt_tokens
        longer = [*prompts[2], *answers[2], 1, 2, 3]
        assert told(scheduler, longer)[1] == len(longer) - 4
        assert scheduler.state().prompt_tokens == read + 4
        assert len(longer) + 3 in map(runtime.held, range(4))  # where it was


# Models that cannot be cut


def test_a_hybrid_goes_on_from_where_the_request_says_that_a_turn_ends() -> None:
    with serving(fake(can_cut=False)) as scheduler:
        turn, asking = SYSTEM, [60, 61, 62]  # how a template asks for an answer
        told(scheduler, [*turn, *asking], checkpoints=(len(turn),))
        longer = [*turn, 9, *ids_of(1, 10)]
        assert told(scheduler, longer) == (answer_of(longer), len(turn))


def test_a_hybrid_goes_on_from_the_end_of_its_answer() -> None:
    with serving(fake(can_cut=False)) as scheduler:
        answer, _ = told(scheduler, SYSTEM, 20)
        longer = [*SYSTEM, *answer, 1, 2]
        assert told(scheduler, longer) == (answer_of(longer), len(SYSTEM) + 19)


def test_a_hybrid_keeps_what_several_prompts_begin_with() -> None:
    with serving(fake(can_cut=False)) as scheduler:
        cached = []
        for seed in (1, 2, 3, 4):
            prompt = SYSTEM + ids_of(seed, 20)
            answer, tokens = told(scheduler, prompt)
            assert answer == answer_of(prompt)
            cached.append(tokens)
        assert cached == [0, 0, len(SYSTEM), len(SYSTEM)]  # the second prompt shows where they part


def test_a_hybrid_reuses_the_same_prompt() -> None:
    with serving(fake(can_cut=False)) as scheduler:
        told(scheduler, SYSTEM)
        assert told(scheduler, SYSTEM) == (answer_of(SYSTEM), len(SYSTEM) - 1)


def test_a_hybrids_answer_under_way_is_no_source_for_others() -> None:
    with serving(fake(can_cut=False)) as scheduler:
        longer = [*SYSTEM, 1, 2, 3]
        first, second = scheduler.submit(ask(SYSTEM, 60)), scheduler.submit(ask(longer, 60))
        assert finished(first) == (answer_of(SYSTEM, 60), 0)
        assert finished(second) == (answer_of(longer, 60), len(SYSTEM) - 1)


# Any conversations at all

TURN = st.tuples(
    st.integers(0, 2),  # whose conversation goes on
    st.booleans(),  # or begins again
    st.integers(1, 30),  # tokens of the user
    st.integers(1, 12),  # tokens of the answer
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(TURN, min_size=1, max_size=12),
    st.booleans(),
    st.sampled_from([1, 400, 1500, 10**6]),
    st.integers(1, 3),
)
def test_answers_are_those_of_an_engine_without_a_cache(
    turns: list[tuple[int, bool, int, int]], can_cut: bool, cache_bytes: int, sequences: int
) -> None:
    runtime = fake(can_cut=can_cut, sequences=sequences, adapters=("a", "b"))
    conversations = {0: list(SYSTEM), 1: list(SYSTEM), 2: list(SYSTEM)}
    scopes, adapters = {0: "x", 1: "x", 2: "y"}, {0: None, 1: "a", 2: None}
    with serving(runtime, cache_bytes=cache_bytes) as scheduler:
        pending: list[tuple[int, list[int], int, Generation]] = []
        for number, (who, anew, said, answered) in enumerate(turns):
            history = list(SYSTEM) if anew else conversations[who]
            prompt = [*history, *ids_of(number, said)]
            if len(prompt) + answered > 250:
                continue
            request = ask(prompt, answered, cache_scope=scopes[who], adapter=adapters[who], checkpoints=(len(history),))
            pending.append((who, prompt, answered, scheduler.submit(request)))
            if number % 2 == 0:  # sometimes two at once
                continue
            for owner, ids, count, generation in pending:
                answer = list(generation)
                assert answer == answer_of(ids, count, adapters[owner])
                conversations[owner] = ids + answer
            pending.clear()
        for owner, ids, count, generation in pending:
            assert list(generation) == answer_of(ids, count, adapters[owner])


# On disk


@pytest.mark.parametrize("can_cut", [True, False])
def test_prompts_survive_a_restart_in_a_folder(tmp_path: Path, can_cut: bool) -> None:
    with serving(fake(can_cut=can_cut), cache_folder=tmp_path) as scheduler:
        told(scheduler, SYSTEM)
        told(scheduler, SYSTEM, cache_scope="other")
    longer = [*SYSTEM[:-1], 1, 2, 3]
    with serving(fake(can_cut=can_cut), cache_folder=tmp_path) as scheduler:
        assert told(scheduler, longer, cache_scope="third") == (answer_of(longer), 0)
        assert told(scheduler, longer) == (answer_of(longer), len(SYSTEM) - 1)


def test_files_of_another_model_are_left_alone(tmp_path: Path) -> None:
    class Other(FakeRuntime):
        @property
        def info(self):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return replace(super().info, state_digest="1" * 64)

    with serving(fake(), cache_folder=tmp_path) as scheduler:
        told(scheduler, SYSTEM)
    with serving(Other(vocab_tokens=VOCAB, context_tokens=256), cache_folder=tmp_path) as scheduler:
        assert told(scheduler, SYSTEM)[1] == 0
    with serving(fake(), cache_folder=tmp_path) as scheduler:
        assert told(scheduler, SYSTEM)[1] == len(SYSTEM) - 2


@pytest.mark.parametrize(
    "place", [0, 16, 19, 20, 100, -1, None], ids=["magic", "count", "huge count", "checksum", "ids", "state", "all"]
)
def test_damaged_files_are_ignored_told_of_and_deleted(
    tmp_path: Path, place: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(fake(), cache_folder=tmp_path) as scheduler:
        told(scheduler, SYSTEM)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes() if place is not None else b"")
    if place is not None:
        content[place] ^= 1
    file.write_bytes(content)
    runtime = fake()
    with serving(runtime, cache_folder=tmp_path) as scheduler:
        assert told(scheduler, SYSTEM) == (answer_of(SYSTEM), 0)
        assert not file.exists()
        assert str(file) in caplog.text


def test_a_file_that_another_engine_deleted_is_read_again_from_the_prompt(tmp_path: Path) -> None:
    with serving(fake(), cache_folder=tmp_path) as scheduler:
        told(scheduler, SYSTEM)
    with serving(fake(), cache_folder=tmp_path) as scheduler:
        told(scheduler, ids_of(1))  # the folder is listed
        for file in tmp_path.iterdir():
            file.unlink()
        assert told(scheduler, SYSTEM) == (answer_of(SYSTEM), 0)


def test_a_folder_keeps_within_its_limit_by_deleting_what_was_used_longest_ago(tmp_path: Path) -> None:
    with serving(fake(sequences=1), cache_folder=tmp_path) as scheduler:
        told(scheduler, SYSTEM)
    (oldest,) = tmp_path.iterdir()
    size = oldest.stat().st_size
    os.utime(oldest, (1, 1))
    with serving(fake(sequences=1), cache_folder=tmp_path, cache_folder_bytes=3 * size) as scheduler:
        for seed in range(1, 6):
            told(scheduler, ids_of(seed))
    files = list(tmp_path.iterdir())
    assert 0 < sum(file.stat().st_size for file in files) <= 3 * size
    assert oldest not in files


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="name another one"):
        PrefixCache(fake(), SchedulerOptions(cache_folder=tmp_path / "file"))


def test_what_others_deleted_is_forgotten_although_nobody_asks_for_it(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, 1 << 20)
    tree: RadixTree[Known] = RadixTree()
    saved = SavedStates(100, folder, tree.own_tokens)
    for seed in range(20):
        saved.add(Known(np.asarray(ids_of(seed), np.int32), tree, "group"), bytes(60), wait=True)
        eventually(lambda seed=seed: len(list(tmp_path.glob("group-*"))) == seed + 1)
    assert len(tree) == 20
    for file in tmp_path.iterdir():
        file.unlink()
    for seed in range(20, 50):
        saved.add(Known(np.asarray(ids_of(seed), np.int32), tree, "group"), bytes(60), wait=True)
    saved.close()
    assert len(tree) <= 31  # of these thirty, and one more that is in memory


def test_a_state_larger_than_the_memory_sends_no_others_away(tmp_path: Path) -> None:
    tree: RadixTree[Known] = RadixTree()
    saved = SavedStates(100, None, tree.own_tokens)
    small, large = (Known(np.asarray(ids_of(seed), np.int32), tree, "group") for seed in (1, 2))
    saved.add(small, bytes(60))
    saved.add(large, bytes(101))
    assert [entry in tree for entry in (small, large)] == [True, False]
    assert saved.take(small) == bytes(60)


def test_a_disk_that_takes_nothing_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = StateFolder(tmp_path / "cache", 1 << 20)
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("no folder any more")
    for seed in range(3):
        ids = np.asarray(ids_of(seed), np.int32)
        folder.write(folder.path_of("group", ids), ids, b"state", wait=True)
    folder.close()
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1


def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    with serving(fake(), cache_folder=tmp_path / "cache") as scheduler:
        told(scheduler, SYSTEM)
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
